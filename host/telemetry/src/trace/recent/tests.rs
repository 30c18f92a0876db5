//! What the store of recent traces keeps, and what it finds.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus::IntCounter;

use super::{RecentTraces, TraceFilter};
use crate::trace::{RecentConfig, SpanId, SpanKind, SpanRecord, TraceId, TraceRecord};

fn record(number: u32) -> TraceRecord {
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(number.into());
    let duration = Duration::from_millis(number.into());
    TraceRecord {
        trace_id: TraceId::new(u128::from(number + 1).to_be_bytes()).unwrap(),
        spans: vec![SpanRecord::new(SpanId::random(), SpanKind::Server, "ping", started, duration)],
        server: "weather".into(),
        outcome: "ok",
        name: None,
        mcp_method: Some("ping"),
        started,
        duration,
        request_id: Some(number.to_string().into()),
        error_id: None,
        tracestate: None,
        is_slow: false,
        is_error: false,
        is_forced: false,
        head_sampled: true,
    }
}

fn store(count: usize, bytes: usize) -> (RecentTraces, IntCounter) {
    let too_large = IntCounter::new("x_total", "X.").unwrap();
    (RecentTraces::new(RecentConfig { count, bytes }, too_large.clone()), too_large)
}

/// The numbers of the records that are kept, the latest first.
fn kept(store: &RecentTraces) -> Vec<u32> {
    let all = TraceFilter { limit: Some(usize::MAX), ..TraceFilter::default() };
    store.list(&all).iter().map(|summary| summary.request_id.as_deref().unwrap().parse().unwrap()).collect()
}

/// Adds records by their kinds (normal, slow, failed, or asked for: `X-Debug-Trace`), and looks at the numbers of those kept.
fn check(count: usize, kinds: &str, expected: &[u32]) {
    let (store, _) = store(count, 1 << 20);
    for (number, kind) in (0..).zip(kinds.chars()) {
        let (is_slow, is_error, is_forced) = (kind == 's', kind == 'f', kind == 'x');
        store.add(Arc::new(TraceRecord { is_slow, is_error, is_forced, ..record(number) }));
    }
    assert_eq!(kept(&store), expected, "{kinds}");
}

#[test]
fn failed_and_slow_ones_live_longest() {
    check(4, "nnnn", &[3, 2, 1, 0]);
    check(4, "nnnnnn", &[5, 4, 3, 2]);
    check(4, "fnnnnnn", &[6, 5, 4, 0]);
    check(4, "ffnnnnnn", &[7, 6, 1, 0]);
    check(4, "fffnnnnnn", &[8, 2, 1, 0]);
    check(4, "ffffff", &[5, 4, 3, 2]);
    check(4, "ffsnnnnnn", &[8, 2, 1, 0]);
    check(4, "ffxnnnnnn", &[8, 2, 1, 0]);
    check(4, "ssssfffff", &[8, 7, 6, 3]);
    check(4, "sssnnnfff", &[8, 7, 5, 2]);
    check(1, "fn", &[0]);
    check(1, "nf", &[1]);
    check(0, "fn", &[]);
}

#[test]
fn bytes_are_bounded_too() {
    let bytes = record(0).bytes();
    let (store, too_large) = store(100, bytes * 3 + 100);
    (0..10).for_each(|number| store.add(Arc::new(record(number))));
    assert_eq!(kept(&store), [9, 8, 7]);
    let mut large = record(10);
    large.tracestate = Some("x".repeat(bytes * 4).into());
    store.add(Arc::new(large.clone()));
    assert_eq!((kept(&store), too_large.get()), (vec![9, 8, 7], 1));
    large.tracestate = Some("x".repeat(bytes * 2).into());
    store.add(Arc::new(large));
    assert_eq!(kept(&store), [10]);
}

#[test]
fn every_exchange_of_a_trace_is_found_by_its_id() {
    let (store, _) = store(10, 1 << 20);
    let trace_id = TraceId::random();
    for number in 0..4 {
        let trace_id = if number % 2 == 0 { trace_id } else { TraceId::random() };
        store.add(Arc::new(TraceRecord { trace_id, is_error: number == 0, ..record(number) }));
    }
    let found: Vec<_> = store.of_trace(&trace_id).iter().map(|record| record.request_id.clone().unwrap()).collect();
    assert_eq!(found, ["0".into(), "2".into()]);
    assert!(store.of_trace(&TraceId::random()).is_empty());
}

#[test]
fn a_filter_wants_everything_it_names() {
    let (store, _) = store(100, 1 << 20);
    for number in 0..20 {
        store.add(Arc::new(TraceRecord {
            server: if number < 10 { "weather" } else { "news" }.into(),
            name: (number % 2 == 0).then(|| "echo".into()),
            outcome: if number == 4 { "timeout" } else { "ok" },
            mcp_method: (number != 5).then_some("tools/call"),
            is_error: number == 4,
            is_slow: number > 15,
            ..record(number)
        }));
    }
    let check = |filter: TraceFilter, expected: &[u32]| {
        let found: Vec<u32> = store.list(&filter).iter().map(|summary| summary.request_id.as_deref().unwrap().parse().unwrap()).collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    let any = TraceFilter::default;
    let at = |seconds: u64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    check(TraceFilter { server: Some("news".into()), tool: Some("echo".into()), ..any() }, &[18, 16, 14, 12, 10]);
    check(TraceFilter { server: Some("unknown".into()), ..any() }, &[]);
    check(TraceFilter { outcome: Some("timeout".into()), ..any() }, &[4]);
    check(TraceFilter { errors: true, ..any() }, &[4]);
    check(TraceFilter { slow: true, limit: Some(2), ..any() }, &[19, 18]);
    check(TraceFilter { slow: true, errors: true, ..any() }, &[]);
    check(TraceFilter { min_duration: Some(Duration::from_millis(18)), ..any() }, &[19, 18]);
    check(TraceFilter { since: at(5), until: at(7), ..any() }, &[6, 5]);
    check(TraceFilter { method: Some("tools/call".into()), since: at(5), until: at(7), ..any() }, &[6]);
    check(TraceFilter { request_id: Some("7".into()), ..any() }, &[7]);
    check(TraceFilter { request_id: Some("77".into()), ..any() }, &[]);
    check(TraceFilter { limit: Some(0), ..any() }, &[]);
    assert_eq!(store.list(&any()).len(), 20);
}

#[test]
fn a_clock_that_steps_back_does_not_change_what_is_latest() {
    let (store, _) = store(2, 1 << 20);
    [5, 4, 3].into_iter().for_each(|number| store.add(Arc::new(record(number))));
    assert_eq!(kept(&store), [3, 4]);
}

#[test]
fn the_bytes_of_a_record_are_those_it_holds() {
    let small = record(0).bytes();
    let mut large = record(0);
    large.spans[0].set(crate::trace::Attribute::GenAiToolCallArguments, "x".repeat(10_000));
    large.spans[0].status = crate::trace::SpanStatus::Error("y".repeat(1000).into());
    assert!((small + 11_000..small + 12_000).contains(&large.bytes()));
}
