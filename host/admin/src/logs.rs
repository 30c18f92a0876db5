//! `GET /api/logs`: the last lines of both logs, and waiting for the next ones.

use std::time::Duration;

use tokio::sync::watch;
use tracing::Level;
use watchgate_telemetry::{LogCursor, LogFilter, LogPage, Telemetry};

use crate::answer::{self, Answer};
use crate::query::{BadParameter, Query};

/// Longer waits are cut: proxies in between give up on silent connections, and a connection here lives for 300 s.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Lines in one page at most.
const MOST_LINES: usize = 1000;
/// Without a limit in the query.
const DEFAULT_LINES: usize = 100;

/// What is asked for.
#[derive(Debug)]
struct Wanted {
    after: Option<LogCursor>,
    filter: LogFilter,
    wait: Duration,
}

/// A page of lines. Waits for one no longer than until the listener ends.
pub(crate) async fn page(telemetry: &Telemetry, query: Option<&str>, mut shutdown: watch::Receiver<bool>) -> Answer {
    let Wanted { after, filter, wait } = match wanted(query) {
        Err(bad) => return answer::bad_parameter(&bad),
        Ok(wanted) => wanted,
    };
    let page = tokio::select! {
        page = telemetry.follow_logs(after, &filter, wait) => page,
        _ = shutdown.wait_for(|stop| *stop) => telemetry.recent_logs(after, &filter),
    };
    shown(&page)
}

/// Lines are JSON objects already, so they are put in as they are.
fn shown(page: &LogPage) -> Answer {
    let LogPage { lines, cursor, missed } = page;
    answer::json_text(format!("{{\"cursor\":\"{cursor}\",\"missed\":{missed},\"lines\":[{}]}}", lines.join(",")))
}

fn wanted(query: Option<&str>) -> Result<Wanted, BadParameter> {
    let mut query = Query::parse(query)?;
    let wanted = Wanted {
        after: query.parsed("after", |text| text.parse().map_err(|_| format!("must be a cursor of an earlier answer, not `{text}`")))?,
        filter: LogFilter {
            level: query.parsed("level", level)?,
            server: query.text("server"),
            target: query.text("target"),
            trace_id: query.text("trace_id").map(|id| id.to_ascii_lowercase()),
            request_id: query.text("request_id"),
            error_id: query.text("error_id"),
            limit: query.count("limit", MOST_LINES)?.unwrap_or(DEFAULT_LINES),
        },
        wait: query.duration("wait")?.unwrap_or_default().min(LONGEST_WAIT),
    };
    query.end().map(|()| wanted)
}

fn level(text: &str) -> Result<Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "error" => Ok(Level::ERROR),
        "warn" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        _ => Err(format!("must be error, warn, info, debug or trace, not `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Level, server, lines and seconds.
    type Asked<'a> = (Option<Level>, Option<&'a str>, usize, u64);

    #[test]
    fn wishes_are_read_from_the_query() {
        let check = |query: &str, expected: Result<Asked<'_>, &str>| {
            let found = wanted(Some(query)).map_err(|bad| bad.name);
            let found =
                found.as_ref().map(|found| (found.filter.level, found.filter.server.as_deref(), found.filter.limit, found.wait.as_secs()));
            assert_eq!(found, expected.map_err(str::to_owned).as_ref().map(|expected| *expected), "{query}");
        };
        check("", Ok((None, None, DEFAULT_LINES, 0)));
        check("level=ERROR&server=a&limit=7&wait=3s&after=12", Ok((Some(Level::ERROR), Some("a"), 7, 3)));
        let by_id = wanted(Some("trace_id=4BF9&request_id=r&error_id=e")).unwrap().filter;
        let ids = [by_id.trace_id, by_id.request_id, by_id.error_id];
        assert_eq!(ids.each_ref().map(Option::as_deref), [Some("4bf9"), Some("r"), Some("e")]);
        check("wait=1h", Ok((None, None, DEFAULT_LINES, 60)));
        check("level=loud", Err("level"));
        check("wait=3", Err("wait"));
        check("after=x", Err("after"));
        check("limit=1001", Err("limit"));
        check("sever=a", Err("sever"));
    }
}
