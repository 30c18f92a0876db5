//! What runs for every exchange neither allocates nor makes new series once its series exist.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use watchgate_telemetry::{
    AccessLine, AccessLogTarget, AuthResult, BreakerState, ConnectionRefusal, ConnectionRefused, EndpointMetrics, EndpointResult,
    ErrorType, ExchangeFinished, GuardRefusal, GuardRefused, HttpMethod, Limit, NameKind, OperationFinished, Retry, ServerMetrics, SpanId,
    Telemetry, TelemetryConfig, TraceContext, TraceId, TraceInterest, UpstreamConnected,
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

/// What the features that can be switched on add to an exchange.
fn one_guarded_exchange(telemetry: &Telemetry, server: &ServerMetrics, endpoint: &EndpointMetrics, client_name: &Arc<str>) {
    telemetry.emit(ConnectionRefused { reason: ConnectionRefusal::SlowHead });
    telemetry.emit(GuardRefused { reason: GuardRefusal::Origin });
    server.authenticated(AuthResult::Known);
    Limit::ALL.iter().for_each(|limit| server.limited(*limit));
    server.retried(Retry::Sent);
    server.session_opened();
    server.session_ended(Duration::from_secs(1));
    let in_flight = endpoint.in_flight();
    endpoint.request_ended(EndpointResult::Ok);
    endpoint.up(true);
    for (state, ejected) in [(BreakerState::Open, true), (BreakerState::Closed, false)] {
        endpoint.breaker(state);
        endpoint.ejected(ejected);
    }
    drop(in_flight);
    let line = AccessLine { client_name: Some(client_name.clone()), endpoint: Some(client_name.clone()), ..AccessLine::default() };
    emit_exchange(telemetry, server, line);
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
    let line = AccessLine {
        mcp_method: Some(method),
        trace_id: TraceId::new([1; 16]),
        span_id: SpanId::new([2; 8]),
        connect: Duration::from_micros(100),
        ..AccessLine::default()
    };
    emit_exchange(telemetry, server, line);
    drop(in_flight);
}

fn emit_exchange(telemetry: &Telemetry, server: &ServerMetrics, line: AccessLine) {
    telemetry.emit(ExchangeFinished {
        server,
        http_method: HttpMethod::Post,
        status: 200,
        outcome: "ok",
        started: SystemTime::UNIX_EPOCH,
        duration: Duration::from_micros(900),
        upstream: Duration::from_micros(800),
        plugins: Duration::from_micros(20),
        request_bytes: 300,
        response_bytes: 300,
        line,
    });
}

#[test]
fn the_hot_path_does_not_allocate() {
    let folder = tempfile::tempdir().unwrap();
    let access_log = AccessLogTarget::File(folder.path().join("access.log"));
    let config = TelemetryConfig {
        access_log,
        slow_call_threshold: Some(Duration::from_millis(1)),
        servers: vec!["s".into()],
        ..TelemetryConfig::default()
    };
    let telemetry = Telemetry::new(config).unwrap();
    let server = telemetry.server("s");
    let plugin = telemetry.plugin("p");
    let endpoint = telemetry.endpoint("s", "a:1");
    let (known, other) = (Arc::from("ci"), Arc::from("one client too many"));
    let work = || {
        for error_type in [None, Some(ErrorType::Rpc(-32603)), Some(ErrorType::Http(503)), Some(ErrorType::Named("timeout"))] {
            one_exchange(&telemetry, &server, error_type, "tools/call", "echo");
            one_exchange(&telemetry, &server, error_type, "ping", "");
        }
        telemetry.emit(UpstreamConnected { server: &server, duration: Duration::ZERO, ok: true });
        plugin.called("redaction", Duration::from_micros(1));
        plugin.memory(1);
        one_guarded_exchange(&telemetry, &server, &endpoint, &known);
    };
    assert!(allocations(work) > 0, "the first time makes the series, and shows that the counter counts");
    assert_eq!(allocations(work), 0);
    (0..500).for_each(|index| server.learn(NameKind::Tool, &format!("tool-{index}")));
    assert_eq!(allocations(|| server.learn(NameKind::Tool, "one-more")), 0);
    assert_eq!(allocations(work), 0);
    for index in 0..501 {
        one_guarded_exchange(&telemetry, &server, &endpoint, &format!("client-{index}").into());
    }
    assert_eq!(allocations(|| one_guarded_exchange(&telemetry, &server, &endpoint, &other)), 0);
    telemetry.retire_server("s");
    assert_eq!(allocations(work), 0, "what goes on after its server is gone costs no more");
}

/// What tracing asks of an exchange that is not traced in the end.
fn one_trace_context(telemetry: &Telemetry, traceparent: Option<&[u8]>) -> bool {
    let (header, invalid) = TraceContext::read(traceparent, None, None);
    let (context, link) = header.overridden_by(TraceContext::default());
    let trace_id = context.parent.map_or_else(TraceId::random, |parent| parent.trace_id);
    let policy = telemetry.tracing();
    let head_sampled = policy.head_sampled(&trace_id, context.parent.as_ref());
    let told = context.parent.map(|parent| parent.child(SpanId::random(), head_sampled).text());
    let told = told.is_none_or(|text| text.as_str().len() == 55);
    let interest = TraceInterest { slow: policy.is_slow(Duration::from_millis(1)), ..TraceInterest::default() };
    invalid.is_empty() && link.is_none() && told && !policy.keeps(interest)
}

#[test]
fn what_is_not_traced_costs_no_allocation() {
    let telemetry = Telemetry::new(TelemetryConfig::default()).unwrap();
    let work = || {
        assert!(one_trace_context(&telemetry, None));
        assert!(one_trace_context(&telemetry, Some(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")));
        assert!(!one_trace_context(&telemetry, Some(b"nonsense")));
    };
    work();
    assert_eq!(allocations(work), 0);
}
