//! A gateway's telemetry with an exporter, and traces for it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use watchgate_telemetry::{
    Attribute, ErrorType, Exporter, OperationTarget, PushConfig, SpanEvent, SpanId, SpanKind, SpanProtocol, SpanRecord, Telemetry,
    TelemetryConfig, TraceFinished, TraceId, TraceRecord, TracesConfig,
};

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(30);

/// A configuration that exports every trace at once.
pub fn config(exporter: Exporter, endpoint: &str) -> TracesConfig {
    TracesConfig {
        exporter,
        push: PushConfig { endpoint: endpoint.to_owned(), timeout: Duration::from_secs(5), ..PushConfig::default() },
        interval: Duration::from_millis(1),
        service_name: "edge".to_owned(),
        service_version: "9.8.7".to_owned(),
        resource: vec![("deployment.environment.name".to_owned(), "test".to_owned())],
        ..TracesConfig::default()
    }
}

pub fn telemetry(traces: TracesConfig) -> Arc<Telemetry> {
    Telemetry::new(TelemetryConfig { traces, ..TelemetryConfig::default() }).unwrap()
}

/// The value of a counter of losses.
pub fn lost(telemetry: &Telemetry, reason: &str) -> u64 {
    count(telemetry, &format!("watchgate_telemetry_dropped_total{{reason=\"{reason}\",signal=\"traces\"}}"))
}

pub fn exported(telemetry: &Telemetry) -> u64 {
    count(telemetry, "watchgate_telemetry_exported_total{signal=\"traces\"}")
}

fn count(telemetry: &Telemetry, series: &str) -> u64 {
    let text = telemetry.render_prometheus();
    let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("no {series} in {text}"));
    line.trim().parse().unwrap()
}

/// Waits for something that another thread does.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

/// When every trace here began.
pub fn began() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A tool call that failed at its server, with an attempt, a connect and a redaction below it.
pub fn failed_call() -> TraceRecord {
    let [root_id, attempt_id, connect_id, redact_id] = [1_u64, 2, 3, 4].map(|number| SpanId::new(number.to_be_bytes()).unwrap());
    let (started, second) = (began(), Duration::from_secs(1));
    let caller = SpanId::new([0xaa; 8]).unwrap();
    let tool = OperationTarget::Tool("forecast");
    let mut root = SpanRecord::operation(root_id, SpanKind::Server, Some("tools/call"), tool, started, second).within_remote(caller);
    root.set(Attribute::Server, "weather");
    root.set(Attribute::ClientAddress, "192.0.2.7");
    root.set(Attribute::ClientPort, 5000_u16);
    root.set(Attribute::Forced, true);
    root.fail(SpanProtocol::Mcp, ErrorType::Rpc(-32603), Some("no forecast".into()));
    root.links.push((TraceId::new([0xbb; 16]).unwrap(), SpanId::new([0xcc; 8]).unwrap()));
    root.events.push(SpanEvent::retry(started + second / 2, "connect_failed"));
    let mut attempt = SpanRecord::operation(attempt_id, SpanKind::Client, Some("tools/call"), tool, started + second / 4, second / 2);
    attempt.set(Attribute::ServerAddress, "weather.example");
    attempt.set(Attribute::ServerPort, 3001_u16);
    attempt.fail(SpanProtocol::Mcp, ErrorType::Rpc(-32603), Some("no forecast".into()));
    let connect = SpanRecord::connect(connect_id, started + second / 4, Duration::from_nanos(500)).within(attempt_id);
    let redact = SpanRecord::redact(redact_id, "secrets", "changed", "client-to-server", started, second / 8).within(root_id);
    TraceRecord {
        trace_id: TraceId::new([0x11; 16]).unwrap(),
        spans: vec![root, attempt.within(root_id), connect, redact],
        server: "weather".into(),
        outcome: "rpc_error",
        name: Some("forecast".into()),
        mcp_method: Some("tools/call"),
        started,
        duration: second,
        request_id: Some("r-1".into()),
        error_id: None,
        tracestate: Some("congo=t61rcWkgMzE".into()),
        is_slow: true,
        is_error: true,
        is_forced: true,
        head_sampled: false,
    }
}

/// An ordinary exchange; `number` tells it from others.
pub fn ping(number: u64) -> TraceRecord {
    let root =
        SpanRecord::operation(SpanId::random(), SpanKind::Server, Some("ping"), OperationTarget::None, began(), Duration::from_millis(1));
    TraceRecord {
        trace_id: TraceId::new((u128::from(number) + 1).to_be_bytes()).unwrap(),
        spans: vec![root],
        server: "weather".into(),
        outcome: "ok",
        name: None,
        mcp_method: Some("ping"),
        started: began(),
        duration: Duration::from_millis(1),
        request_id: None,
        error_id: None,
        tracestate: None,
        is_slow: false,
        is_error: false,
        is_forced: false,
        head_sampled: true,
    }
}

pub fn emit(telemetry: &Telemetry, record: TraceRecord) {
    telemetry.emit(TraceFinished(record));
}
