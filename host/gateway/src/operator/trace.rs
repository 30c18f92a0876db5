//! `watchgate trace`: one trace as a waterfall, or a list of the recent ones.

use std::io::Write;
use std::time::Duration;

use super::Failure;
use super::client::{AdminArguments, AdminClient, encoded, with_query};
use super::{trace_list, waterfall};

/// Where the terminal does not tell how wide it is.
const DEFAULT_WIDTH: usize = 110;

/// What `watchgate trace` was told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TraceArguments {
    /// Draws this trace: its id or the first digits of it, an `X-Request-ID`, or the error id that a client got. Without it the recent ones are listed.
    #[arg(value_name = "ID", conflicts_with_all = ["errors", "slow", "server", "tool", "outcome", "since", "request_id", "error_id", "limit"])]
    pub id: Option<String>,
    /// Which gateway.
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Only failed ones.
    #[arg(long)]
    pub errors: bool,
    /// Only those that took at least so long, such as 300ms.
    #[arg(long, value_name = "DURATION")]
    pub slow: Option<String>,
    /// Only of this server.
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// Only of this tool or prompt.
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// Only those that ended so, such as `timeout`.
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// Only since this moment, such as 2026-11-20T12:00:00Z, or for so long, such as 10m.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only with this `X-Request-ID`.
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Only with this error id, which the client got in the gateway's error.
    #[arg(long, value_name = "ID")]
    pub error_id: Option<String>,
    /// At most so many, the latest [default: 20].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// With every attribute of every span.
    #[arg(long, requires = "id")]
    pub attributes: bool,
    /// Prints the gateway's JSON.
    #[arg(long)]
    pub json: bool,
}

/// Asks and prints.
pub async fn run(arguments: &TraceArguments) -> Result<(), Failure> {
    let client = AdminClient::new(&arguments.admin)?;
    let (document, shown) = match &arguments.id {
        Some(id) => {
            let found = client.json(&format!("/api/traces/{}", encoded(id)), Duration::ZERO).await?;
            let missing = || {
                Failure::NotMet(format!(
                    "no trace {id} is kept by the gateway at {}; `watchgate trace` lists those that are: what failed or was slow, and of \
                     the others the share that `traces.ratio` says",
                    client.address()
                ))
            };
            let trace = found.ok_or_else(missing)?;
            let shown = waterfall::draw(&trace, width(), arguments.attributes);
            (trace, shown)
        }
        None => {
            let traces = client.json(&list_path(arguments), Duration::ZERO).await?.unwrap_or_default();
            if traces["traces"].as_array().is_none_or(Vec::is_empty) {
                return Err(Failure::NotMet(format!("no recent trace of the gateway at {} fits", client.address())));
            }
            let shown = trace_list::table(&traces, width());
            (traces, shown)
        }
    };
    let mut out = std::io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{document}")?,
        false => out.write_all(shown.as_bytes())?,
    }
    Ok(out.flush()?)
}

fn list_path(arguments: &TraceArguments) -> String {
    let parameters = [
        ("errors", arguments.errors.then(|| "true".to_owned())),
        ("min_duration", arguments.slow.clone()),
        ("server", arguments.server.clone()),
        ("tool", arguments.tool.clone()),
        ("outcome", arguments.outcome.clone()),
        ("since", arguments.since.clone()),
        ("request_id", arguments.request_id.clone()),
        ("error_id", arguments.error_id.clone()),
        ("limit", Some(arguments.limit.unwrap_or(20).to_string())),
    ];
    with_query("/api/traces", &parameters)
}

/// The columns of the terminal.
fn width() -> usize {
    // SAFETY: the call fills the struct that it is given, whose fields are plain numbers.
    let columns = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        if libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) == 0 { usize::from(size.ws_col) } else { 0 }
    };
    if columns == 0 { DEFAULT_WIDTH } else { columns }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_filters() {
        let arguments =
            TraceArguments { errors: true, slow: Some("300ms".to_owned()), tool: Some("a b".to_owned()), ..TraceArguments::default() };
        assert_eq!(list_path(&arguments), "/api/traces?errors=true&min_duration=300ms&tool=a%20b&limit=20");
    }
}
