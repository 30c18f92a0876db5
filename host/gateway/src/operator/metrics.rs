//! `watchgate metrics`: what `/metrics` says, as a table, over a time, or against a threshold.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use regex_lite::Regex;
use watchgate_admin::parse_duration;

use super::Failure;
use super::client::{AdminArguments, AdminClient};
use super::exposition::Scrape;
use super::metrics_view;
use super::printable::duration;
use super::scrapes::{Change, Scrapes};
use super::threshold::Threshold;

/// Without `--window`, `--watch` shows what changed in this time.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// Clears the screen and goes to its beginning.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// What `watchgate metrics` was told.
#[derive(Clone, Debug, clap::Args)]
pub struct MetricsArguments {
    /// Which gateway.
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Only series whose NAME{LABEL="VALUE",...} fits this regular expression.
    #[arg(long, value_name = "REGEX")]
    pub filter: Option<Regex>,
    /// Shows them again and again.
    #[arg(long)]
    pub watch: bool,
    /// How long to pause in between.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "2s", requires = "watch")]
    pub interval: Duration,
    /// What changed in this time, such as 1h. The gateway remembers nothing: it is observed for so long, with --watch over and over.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub window: Option<Duration>,
    /// Exits with 1 when this holds: NAME > NUMBER, NAME{label="value"} > NUMBER, sum(..), rate(..), increase(..), avg(..), p50(..) to p99(..); also < >= <=
    /// == !=. Each series of a gauge is compared by itself, and one that is not there is a failure as well; of anything else all series are taken together.
    /// Without --window, avg and p50 to p99 are of all since the gateway began. With --watch it goes on until it holds.
    #[arg(long, value_name = "EXPR")]
    pub threshold: Option<Threshold>,
    /// Prints JSON, with --watch a document a line.
    #[arg(long)]
    pub json: bool,
}

/// Asks and prints.
pub async fn run(arguments: &MetricsArguments) -> Result<(), Failure> {
    if arguments.threshold.as_ref().is_some_and(Threshold::needs_window) && arguments.window.is_none() && !arguments.watch {
        return Err(Failure::Usage("--threshold: rate() and increase() need --window, for example --window 10s".to_owned()));
    }
    if let Some(threshold) = &arguments.threshold {
        threshold.check_names().map_err(|problem| Failure::Usage(format!("--threshold: {problem}")))?;
    }
    let client = AdminClient::new(&arguments.admin)?;
    let first = scrape(&client).await?;
    let begun = Instant::now();
    let window = match (arguments.window, arguments.watch) {
        (None, false) => return show(arguments, &Change::whole(first)),
        (window, _) => window.unwrap_or(DEFAULT_WINDOW),
    };
    let mut scrapes = Scrapes::new(window);
    scrapes.add(Duration::ZERO, first);
    if !arguments.watch {
        eprintln!("watchgate: observing the gateway at {} for {}", client.address(), duration(window));
        tokio::time::sleep(window).await;
        let text = scrape(&client).await?;
        scrapes.add(begun.elapsed(), text);
        return show(arguments, &scrapes.change());
    }
    let mut is_away = false;
    loop {
        if !is_away {
            show(arguments, &scrapes.change())?;
        }
        tokio::time::sleep(arguments.interval).await;
        match scrape(&client).await {
            Ok(text) => {
                if std::mem::take(&mut is_away) {
                    eprintln!("watchgate: the gateway at {} is there again", client.address());
                }
                scrapes.add(begun.elapsed(), text);
            }
            // Who watches watches on while the gateway is started anew; its counters then begin anew, and are known to.
            Err(Failure::Unreachable(why)) => {
                if !std::mem::replace(&mut is_away, true) {
                    eprintln!("watchgate: {why}; still watching");
                }
            }
            Err(other) => return Err(other),
        }
    }
}

async fn scrape(client: &AdminClient) -> Result<Scrape, Failure> {
    let text = client.text("/metrics").await?;
    let strange =
        || Failure::Unreachable(format!("what listens on {} has no metrics: name the admin address with --admin", client.address()));
    Scrape::parse(&text).ok_or_else(strange)
}

/// Prints one moment, and fails where it is over the threshold.
fn show(arguments: &MetricsArguments, change: &Change) -> Result<(), Failure> {
    let windowed = arguments.watch || arguments.window.is_some();
    let compared = match &arguments.threshold {
        Some(threshold) => Some((threshold, threshold.compare(change).map_err(Failure::NotMet)?)),
        None => None,
    };
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let mut document = metrics_view::document(change, arguments.filter.as_ref(), windowed);
        if let Some((threshold, compared)) = &compared {
            document["threshold"] = metrics_view::threshold(threshold, compared);
        }
        writeln!(out, "{document}")?;
    } else {
        if arguments.watch && out.is_terminal() {
            write!(out, "{CLEAR}")?;
        }
        // Who only wants to know of the threshold has a short answer.
        if arguments.threshold.is_none() || arguments.filter.is_some() {
            out.write_all(metrics_view::table(change, arguments.filter.as_ref(), windowed).as_bytes())?;
        }
        if let Some((threshold, compared)) = &compared
            && !compared.iter().any(|compared| compared.over)
        {
            writeln!(out, "not over the threshold: {threshold}: {}", metrics_view::values(compared))?;
        }
    }
    out.flush()?;
    let Some((threshold, mut compared)) = compared else { return Ok(()) };
    compared.retain(|compared| compared.over);
    if compared.is_empty() {
        return Ok(());
    }
    Err(Failure::NotMet(format!("over the threshold: {threshold}: {}", metrics_view::values(&compared))))
}
