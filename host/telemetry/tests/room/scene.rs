//! A gateway's telemetry with one server, and facts to vary.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use watchgate_telemetry::{
    AccessLine, AccessLogTarget, ExchangeFinished, HttpMethod, NameKind, OperationFinished, ServerMetrics, Telemetry, TelemetryConfig,
};

pub fn telemetry(access_log: AccessLogTarget) -> Arc<Telemetry> {
    Telemetry::new(TelemetryConfig { access_log, servers: vec!["weather".into()], ..TelemetryConfig::default() }).unwrap()
}

pub fn exchange(server: &ServerMetrics) -> ExchangeFinished<'_> {
    ExchangeFinished {
        server,
        http_method: HttpMethod::Post,
        status: 200,
        outcome: "ok",
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        duration: Duration::from_micros(1500),
        upstream: Duration::from_micros(1000),
        plugins: Duration::from_micros(100),
        request_bytes: 100,
        response_bytes: 200,
        line: AccessLine::default(),
    }
}

pub fn tool_call<'a>(server: &'a ServerMetrics, tool: &'a str) -> OperationFinished<'a> {
    OperationFinished {
        server,
        from_client: true,
        method: Some("tools/call"),
        name: Some(tool),
        name_kind: Some(NameKind::Tool),
        outcome: "ok",
        error_type: None,
        protocol_version: Some("2026-07-28"),
        duration: Duration::from_micros(1500),
        upstream: Duration::from_micros(1000),
        overhead: Some(Duration::from_micros(60)),
        request_bytes: 100,
        response_bytes: 200,
    }
}
