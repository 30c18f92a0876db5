//! `watchgate metrics`: what `/metrics` says, as a table, over a time, or against a threshold.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use regex_lite::Regex;
use serde_json::json;
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
    /// Exits with 1 when this holds: NAME > NUMBER, NAME{label="value"} > NUMBER, rate(..), increase(..), avg(..), p50(..) to p99(..); also < >= <= == !=.
    /// Several series are added up. With --watch it goes on until it holds.
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
    let client = AdminClient::new(&arguments.admin)?;
    let mut scrapes = Scrapes::new(arguments.window.unwrap_or(DEFAULT_WINDOW));
    let begun = Instant::now();
    scrapes.add(Duration::ZERO, scrape(&client).await?);
    if let (Some(window), false) = (arguments.window, arguments.watch) {
        eprintln!("watchgate: observing the gateway at {} for {}", client.address(), duration(window));
        tokio::time::sleep(window).await;
        let text = scrape(&client).await?;
        scrapes.add(begun.elapsed(), text);
    }
    loop {
        show(arguments, &scrapes.change())?;
        if !arguments.watch {
            return Ok(());
        }
        tokio::time::sleep(arguments.interval).await;
        let text = scrape(&client).await?;
        scrapes.add(begun.elapsed(), text);
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
        Some(threshold) => Some((threshold, threshold.value(change).map_err(Failure::NotMet)?)),
        None => None,
    };
    let verdict = compared.as_ref().map(|(threshold, value)| (*threshold, *value, value.is_some_and(|value| threshold.is_over(value))));
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let mut document = metrics_view::document(change, arguments.filter.as_ref(), windowed);
        if let Some((threshold, value, over)) = verdict {
            document["threshold"] = json!({ "expression": threshold.to_string(), "value": value, "over": over });
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
        if let Some((threshold, value, false)) = verdict {
            let value = value.map_or_else(|| "nothing was observed".to_owned(), |value| format!("the value is {value}"));
            writeln!(out, "not over the threshold: {threshold}: {value}")?;
        }
    }
    out.flush()?;
    match verdict {
        Some((threshold, Some(value), true)) => Err(Failure::NotMet(format!("over the threshold: {threshold}: the value is {value}"))),
        _ => Ok(()),
    }
}
