//! `watchgate logs`: the last lines of both logs, and the next ones as they come.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::Failure;
use super::client::{AdminArguments, AdminClient, with_query};
use super::printable::printable;

/// How long the gateway waits for a line before it answers that there is none.
const WAIT: Duration = Duration::from_secs(30);
/// A gateway that restarts is back within this; following goes on then.
const PATIENCE: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_millis(500);

/// What `watchgate logs` was told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LogsArguments {
    /// Which gateway.
    #[command(flatten)]
    pub admin: AdminArguments,
    /// Goes on with the next lines as they come.
    #[arg(long, short)]
    pub follow: bool,
    /// Only lines at least as grave: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<String>,
    /// Only lines about this server.
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,
    /// Only lines of this module, such as watchgate_proxy; `access` for access lines.
    #[arg(long, value_name = "MODULE")]
    pub target: Option<String>,
    /// Only lines about this trace; the first digits of its id will do.
    #[arg(long, value_name = "ID")]
    pub trace: Option<String>,
    /// Only lines about exchanges with this `X-Request-ID`.
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Only lines with this error id, which the client got in the gateway's error.
    #[arg(long, value_name = "ID")]
    pub error_id: Option<String>,
    /// Begins with at most so many of the last lines [default: 100].
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Prints lines as the gateway has them, one JSON object each.
    #[arg(long)]
    pub json: bool,
}

/// Asks and prints.
pub async fn run(arguments: &LogsArguments) -> Result<(), Failure> {
    let client = AdminClient::new(&arguments.admin)?;
    let mut page = client.json(&path(arguments, None), Duration::ZERO).await?.unwrap_or_default();
    loop {
        print(&page, arguments.json)?;
        let Some(cursor) = page["cursor"].as_str().map(str::to_owned) else {
            return Err(Failure::Unreachable(format!(
                "what listens on {} has no logs: name the admin address with --admin",
                client.address()
            )));
        };
        if !arguments.follow {
            return Ok(());
        }
        page = next(&client, &path(arguments, Some(&cursor))).await?;
    }
}

/// The next page, from a gateway that may be starting again.
async fn next(client: &AdminClient, path: &str) -> Result<Value, Failure> {
    let mut lost = None;
    loop {
        let failure = match client.json(path, WAIT).await {
            Ok(page) => return Ok(page.unwrap_or_default()),
            Err(failure @ Failure::Unreachable(_)) => failure,
            Err(failure) => return Err(failure),
        };
        let since = *lost.get_or_insert_with(|| {
            eprintln!("watchgate: lost the gateway at {}; trying again for {PATIENCE:?}", client.address());
            Instant::now()
        });
        if since.elapsed() >= PATIENCE {
            return Err(failure);
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn path(arguments: &LogsArguments, after: Option<&str>) -> String {
    let parameters = [
        ("after", after.map(str::to_owned)),
        ("wait", after.map(|_| format!("{}s", WAIT.as_secs()))),
        ("level", arguments.level.clone()),
        ("server", arguments.server.clone()),
        ("target", arguments.target.clone()),
        ("trace_id", arguments.trace.clone()),
        ("request_id", arguments.request_id.clone()),
        ("error_id", arguments.error_id.clone()),
        // Once following, the more lines a page has the better.
        ("limit", if after.is_some() { Some("1000".to_owned()) } else { arguments.limit.map(|limit| limit.to_string()) }),
    ];
    with_query("/api/logs", &parameters)
}

fn print(page: &Value, json: bool) -> Result<(), Failure> {
    let missed = page["missed"].as_u64().unwrap_or(0);
    if missed > 0 {
        eprintln!("watchgate: {missed} lines in between are no longer remembered by the gateway");
    }
    let mut out = std::io::stdout().lock();
    for line in page["lines"].as_array().into_iter().flatten() {
        match (line, json) {
            (Value::Object(line), false) => writeln!(out, "{}", pretty(line))?,
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(out.flush()?)
}

/// For people: time, level, who, what; then the other members.
fn pretty(line: &Map<String, Value>) -> String {
    let text = |name: &str| line.get(name).and_then(Value::as_str).map(printable);
    let (who, what) = match line.get("message") {
        Some(_) => (text("target"), text("message").unwrap_or_default()),
        None => {
            let said = ["http_method", "mcp_method", "name", "outcome"].into_iter().filter_map(text).collect::<Vec<_>>();
            (Some("access".to_owned()), said.join(" "))
        }
    };
    let mut shown =
        format!("{} {:>5} {}: {what}", text("time").unwrap_or_default(), text("level").unwrap_or_default(), who.unwrap_or_default());
    let told = ["time", "level", "type", "target", "message", "http_method", "mcp_method", "name", "outcome"];
    let is_access = !line.contains_key("message");
    let is_told = |name: &str| told[..5].contains(&name) || is_access && told.contains(&name);
    let is_left_out = |name: &str, value: &Value| is_told(name) || value.is_null() || (is_access && says_nothing(name, value));
    let mut members: Vec<_> = line.iter().filter(|(name, value)| !is_left_out(name, value)).collect();
    members.sort_by_key(|(name, _)| place(name));
    for (name, value) in members {
        let value = value.as_str().map_or_else(|| value.to_string(), printable);
        let value = if value.is_empty() || value.contains([' ', '"', '=']) { format!("{value:?}") } else { value };
        shown.push_str(&format!(" {}={value}", printable(name)));
    }
    shown
}

/// What people look for first, and what they only copy, last. All else stands between, by name.
fn place(member: &str) -> usize {
    const FIRST: [&str; 14] = [
        "status",
        "duration_ms",
        "upstream_ms",
        "connect_ms",
        "plugins_ms",
        "slow",
        "server",
        "endpoint",
        "attempts",
        "fault",
        "reason",
        "rpc_error_code",
        "error_id",
        "error",
    ];
    const LAST: [&str; 6] = ["client", "session", "sampled", "request_id", "trace_id", "span_id"];
    let among = |members: &[&str]| members.iter().position(|known| *known == member);
    match (among(&FIRST), among(&LAST)) {
        (Some(first), _) => first,
        (None, Some(last)) => FIRST.len() + 1 + last,
        (None, None) => FIRST.len(),
    }
}

/// What nearly every access line has.
fn says_nothing(member: &str, value: &Value) -> bool {
    value.as_f64() == Some(0.0) || (member == "operations" && *value == 1) || (member == "sampled" && *value == false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_people() {
        let check = |line: &str, expected: &str| assert_eq!(pretty(&serde_json::from_str(line).unwrap()), expected);
        check(
            r#"{"time":"2026-11-20T12:00:00.000Z","type":"log","level":"WARN","target":"watchgate_proxy::tls","message":"it\u001b rains","server":"a","why":"so so","n":3}"#,
            "2026-11-20T12:00:00.000Z  WARN watchgate_proxy::tls: it\\u{1b} rains server=a n=3 why=\"so so\"",
        );
        check(
            r#"{"time":"2026-11-20T12:00:00.000Z","type":"access","level":"INFO","server":"a","http_method":"POST","status":200,"outcome":"ok","mcp_method":"tools/call","name":"t","duration_ms":1.5,"upstream_ms":1.0,"plugins_ms":0.0,"operations":1,"trace_id":"4b","client":"c","name_kind":"tool","request_bytes":7,"response_bytes":0,"sampled":false}"#,
            "2026-11-20T12:00:00.000Z  INFO access: POST tools/call t ok status=200 duration_ms=1.5 upstream_ms=1.0 server=a name_kind=tool request_bytes=7 client=c trace_id=4b",
        );
        check("{}", "       access: ");
    }

    #[test]
    fn flags_become_filters() {
        let arguments =
            LogsArguments { level: Some("error".to_owned()), server: Some("a".to_owned()), limit: Some(5), ..LogsArguments::default() };
        assert_eq!(path(&arguments, None), "/api/logs?level=error&server=a&limit=5");
        let by_id = LogsArguments {
            trace: Some("4b".to_owned()),
            request_id: Some("r".to_owned()),
            error_id: Some("e".to_owned()),
            ..LogsArguments::default()
        };
        assert_eq!(path(&by_id, None), "/api/logs?trace_id=4b&request_id=r&error_id=e");
        assert_eq!(path(&arguments, Some("7")), "/api/logs?after=7&wait=30s&level=error&server=a&limit=1000");
    }
}
