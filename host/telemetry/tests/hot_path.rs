//! What runs for every exchange neither allocates nor makes new series once its series exist.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, SystemTime};

use watchgate_telemetry::{
    AccessLine, AccessLogTarget, ErrorType, ExchangeFinished, HttpMethod, NameKind, OperationFinished, ServerMetrics, Telemetry,
    TelemetryConfig, UpstreamConnected,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn one_exchange(telemetry: &Telemetry, server: &ServerMetrics, error_type: Option<ErrorType>, method: &'static str, name: &str) {
    let in_flight = server.in_flight(HttpMethod::Post);
    server.learn(NameKind::Tool, name);
    telemetry.emit(OperationFinished {
        server,
        from_client: true,
        method: Some(method),
        name: Some(name),
        name_kind: Some(NameKind::Tool),
        outcome: "ok",
        error_type,
        protocol_version: Some("2026-07-28"),
        duration: Duration::from_micros(900),
        upstream: Duration::from_micros(800),
        overhead: Some(Duration::from_micros(50)),
        request_bytes: 300,
        response_bytes: 300,
    });
    telemetry.emit(ExchangeFinished {
        server,
        http_method: HttpMethod::Post,
        status: 200,
        outcome: "ok",
        started: SystemTime::UNIX_EPOCH,
        duration: Duration::from_micros(900),
        upstream: Duration::from_micros(800),
        plugins: Duration::ZERO,
        request_bytes: 300,
        response_bytes: 300,
        line: AccessLine::default(),
    });
    drop(in_flight);
}

#[test]
fn the_hot_path_does_not_allocate() {
    let folder = tempfile::tempdir().unwrap();
    let access_log = AccessLogTarget::File(folder.path().join("access.log"));
    let telemetry = Telemetry::new(TelemetryConfig { access_log, operation_buckets: Vec::new(), servers: vec!["s".into()] }).unwrap();
    let server = telemetry.server("s");
    let plugin = telemetry.plugin("p");
    let work = || {
        for error_type in [None, Some(ErrorType::Rpc(-32603)), Some(ErrorType::Http(503)), Some(ErrorType::Named("timeout"))] {
            one_exchange(&telemetry, &server, error_type, "tools/call", "echo");
            one_exchange(&telemetry, &server, error_type, "ping", "");
        }
        telemetry.emit(UpstreamConnected { server: &server, duration: Duration::ZERO, ok: true });
        plugin.called("redaction", Duration::from_micros(1));
        plugin.memory(1);
    };
    assert!(allocations(work) > 0, "the first time makes the series, and shows that the counter counts");
    assert_eq!(allocations(work), 0);
    (0..500).for_each(|index| server.learn(NameKind::Tool, &format!("tool-{index}")));
    assert_eq!(allocations(|| server.learn(NameKind::Tool, "one-more")), 0);
    assert_eq!(allocations(work), 0);
}
