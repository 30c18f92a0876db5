//! What is remembered of the logs: the last lines, page by page, and the next ones as they come.

use std::time::Duration;

use serde_json::Value;
use watchgate_telemetry::{AccessLine, AccessLogTarget, ExchangeFinished, LogCursor, LogFilter, LogPage, Telemetry, TraceId};

use crate::scene;

const DEADLINE: Duration = Duration::from_secs(10);

fn telemetry() -> (std::sync::Arc<Telemetry>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (scene::telemetry(AccessLogTarget::File(folder.path().join("access.log"))), folder)
}

/// Says lines with these numbers about a server, and waits until they are written.
fn say(telemetry: &Telemetry, server: &str, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        telemetry.emit(ExchangeFinished { request_bytes: number, ..scene::exchange(&telemetry.server(server)) });
        if number % 4096 == 0 {
            telemetry.flush(DEADLINE);
        }
    }
    telemetry.flush(DEADLINE);
}

fn numbers(page: &LogPage) -> Vec<u64> {
    page.lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["request_bytes"].as_u64().unwrap()).collect()
}

fn at_most(limit: usize) -> LogFilter {
    LogFilter { limit, ..LogFilter::default() }
}

#[test]
fn pages_follow_each_other_without_gap_or_repetition() {
    let (telemetry, _folder) = telemetry();
    say(&telemetry, "weather", 1..=10);
    let mut page = telemetry.recent_logs(None, &at_most(4));
    assert_eq!((numbers(&page), page.missed), (vec![7, 8, 9, 10], 0), "without a cursor the last ones");
    say(&telemetry, "weather", 11..=20);
    let mut found = Vec::new();
    for _ in 0..5 {
        page = telemetry.recent_logs(Some(page.cursor), &at_most(3));
        found.extend(numbers(&page));
    }
    assert_eq!(found, (11..=20).collect::<Vec<_>>());
    assert!(telemetry.recent_logs(Some(page.cursor), &at_most(3)).lines.is_empty());
}

#[test]
fn lines_that_are_not_wanted_are_passed_over_for_good() {
    let (telemetry, _folder) = telemetry();
    let wanted = LogFilter { server: Some("weather".into()), limit: 2, ..LogFilter::default() };
    for number in 0..5 {
        say(&telemetry, "weather", [number]);
        say(&telemetry, "another", [100, 101]);
    }
    let page = telemetry.recent_logs(None, &wanted);
    assert_eq!(numbers(&page), [3, 4]);
    say(&telemetry, "another", [102]);
    let next = telemetry.recent_logs(Some(page.cursor), &wanted);
    assert!(next.lines.is_empty() && next.cursor > page.cursor);
    let all = telemetry.recent_logs(Some(page.cursor), &LogFilter { target: Some("access".into()), ..LogFilter::default() });
    assert_eq!(numbers(&all), [100, 101, 102]);
    let grave = LogFilter { level: Some(tracing::Level::ERROR), ..LogFilter::default() };
    assert!(telemetry.recent_logs(None, &grave).lines.is_empty());
    telemetry.emit(ExchangeFinished { outcome: "timeout", request_bytes: 7, ..scene::exchange(&telemetry.server("weather")) });
    telemetry.flush(DEADLINE);
    assert_eq!(numbers(&telemetry.recent_logs(None, &grave)), [7]);
}

#[test]
fn lines_are_found_by_the_ids_in_them() {
    let (telemetry, _folder) = telemetry();
    let server = telemetry.server("weather");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let line = AccessLine {
        trace_id: TraceId::parse(trace.as_bytes()),
        request_id: Some("r-1".into()),
        error_id: Some("e-1".into()),
        ..AccessLine::default()
    };
    telemetry.emit(ExchangeFinished { line, request_bytes: 1, ..scene::exchange(&server) });
    say(&telemetry, "weather", [2]);
    let check = |trace_id: &str, request_id: &str, error_id: &str, expected: &[u64]| {
        let given = |id: &str| (!id.is_empty()).then(|| id.to_owned());
        let filter =
            LogFilter { trace_id: given(trace_id), request_id: given(request_id), error_id: given(error_id), ..LogFilter::default() };
        assert_eq!(numbers(&telemetry.recent_logs(None, &filter)), expected, "{filter:?}");
    };
    check("", "", "", &[1, 2]);
    check(trace, "", "", &[1]);
    check("0af76519", "r-1", "e-1", &[1]);
    check("", "r", "", &[]);
    check("", "r-1", "e-2", &[]);
    check("0bf7", "", "", &[]);
}

#[test]
fn the_store_is_bounded_and_says_what_was_missed() {
    let (telemetry, _folder) = telemetry();
    let start = telemetry.recent_logs(None, &at_most(1)).cursor;
    say(&telemetry, "weather", 1..=5000);
    let page = telemetry.recent_logs(Some(start), &at_most(usize::MAX));
    assert_eq!((page.lines.len(), page.missed), (1000, 5000 - 4096));
    assert_eq!(numbers(&page)[0], page.missed + 1);
    // 4 MiB hold four of these.
    for _ in 0..10 {
        let line = AccessLine { request_id: Some("x".repeat(1_000_000).into()), ..AccessLine::default() };
        telemetry.emit(ExchangeFinished { line, ..scene::exchange(&telemetry.server("weather")) });
    }
    telemetry.flush(DEADLINE);
    assert_eq!(telemetry.recent_logs(Some(start), &at_most(0)).lines.len(), 4);
}

#[test]
fn cursors_of_other_runs_and_of_strangers_lead_somewhere() {
    let (telemetry, _folder) = telemetry();
    say(&telemetry, "weather", 1..=3);
    let check = |cursor: &str, expected: &[u64]| {
        let cursor: LogCursor = cursor.parse().unwrap();
        assert_eq!(numbers(&telemetry.recent_logs(Some(cursor), &at_most(10))), expected, "{cursor}");
    };
    check("0", &[1, 2, 3]);
    check("1700000000000000", &[1, 2, 3]);
    check(&u64::MAX.to_string(), &[1, 2, 3]);
    let now = telemetry.recent_logs(None, &at_most(1)).cursor;
    check(&now.to_string(), &[]);
    assert!("x".parse::<LogCursor>().is_err() && "-1".parse::<LogCursor>().is_err());
}

#[test]
fn who_waits_gets_the_next_line_or_nothing_in_time() {
    let (telemetry, _folder) = telemetry();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let wanted = LogFilter { server: Some("weather".into()), ..LogFilter::default() };
        let start = telemetry.recent_logs(None, &wanted).cursor;
        let waits = tokio::spawn({
            let (telemetry, wanted) = (telemetry.clone(), wanted.clone());
            async move { telemetry.follow_logs(Some(start), &wanted, DEADLINE).await }
        });
        tokio::task::yield_now().await;
        say(&telemetry, "another", [1]);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "a line that is not wanted ends no wait");
        say(&telemetry, "weather", [2]);
        let page = waits.await.unwrap();
        assert_eq!(numbers(&page), [2]);
        let page = telemetry.follow_logs(Some(page.cursor), &wanted, Duration::from_millis(1)).await;
        assert!(page.lines.is_empty());
        say(&telemetry, "weather", [3]);
        assert_eq!(numbers(&telemetry.follow_logs(Some(page.cursor), &wanted, Duration::ZERO).await), [3]);
    });
}
