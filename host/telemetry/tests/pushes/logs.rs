//! Lines of both logs by OTLP.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;
use watchgate_telemetry::log::{self, LogConfig, LogContext, LogHandle, in_context};
use watchgate_telemetry::{
    AccessField, AccessLine, AccessLogTarget, ExchangeFinished, NameKind, OtlpProtocol, SpanId, Telemetry, TelemetryConfig, TraceId,
};

use crate::collector::{Collector, Reply};
use crate::grpc::GrpcCollector;
use crate::scene::{self, LONG};

/// The process has one log, and it is exported to one collector at a time.
pub fn the_log() -> (&'static LogHandle, MutexGuard<'static, ()>) {
    static LOG: OnceLock<LogHandle> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    (LOG.get_or_init(|| log::init(&LogConfig { level: "info,h2=trace".into(), ..LogConfig::default() }).unwrap()), guard)
}

fn telemetry(log: &LogHandle, change: impl FnOnce(&mut TelemetryConfig)) -> Arc<Telemetry> {
    let mut config = TelemetryConfig { log: Some(log.clone()), ..TelemetryConfig::default() };
    change(&mut config);
    Telemetry::new(config).unwrap()
}

/// The records of one scope.
fn of_scope(request: &ExportLogsServiceRequest, name: &str) -> Vec<LogRecord> {
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    scopes.filter(|scope| scope.scope.as_ref().unwrap().name == name).flat_map(|scope| scope.log_records.clone()).collect()
}

fn next(collector: &Collector) -> ExportLogsServiceRequest {
    let received = collector.next();
    assert_eq!(received.path, "/v1/logs");
    ExportLogsServiceRequest::decode(received.body.as_slice()).unwrap()
}

fn body(record: &LogRecord) -> &str {
    match record.body.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text,
        other => panic!("{other:?}"),
    }
}

fn attribute(record: &LogRecord, name: &str) -> Option<Value> {
    let found = record.attributes.iter().find(|attribute| attribute.key == name)?;
    found.value.clone().unwrap().value
}

fn text(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.to_owned()))
}

#[test]
fn events_are_records_with_their_fields_and_ids() {
    let (log, _alone) = the_log();
    let collector = Collector::start([]);
    let telemetry = telemetry(log, |config| config.logs_push = scene::logs_push(&collector.url(), OtlpProtocol::Http));
    let context = LogContext {
        trace_id: TraceId::parse(b"0af7651916cd43dd8448eb211c80319c"),
        span_id: SpanId::parse(b"b7ad6b7169203331"),
        request_id: Some("r-1".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(in_context(context, async {
        tracing::warn!(target: "pushed", server = "weather", count = 3, less = -1, share = 0.5, yes = true, token = "hunter2", "something changed");
    }));
    tracing::info!(target: "pushed", trace_id = "11111111111111111111111111111111", "by field");
    assert!(telemetry.flush_exports(LONG));
    let records = of_scope(&next(&collector), "pushed");
    assert_eq!(records.iter().map(body).collect::<Vec<_>>(), ["something changed", "by field"]);
    let record = &records[0];
    assert_eq!((record.severity_number, record.severity_text.as_str()), (13, "WARN"));
    assert!(record.time_unix_nano > 1_700_000_000_000_000_000);
    assert_eq!(record.trace_id, TraceId::parse(b"0af7651916cd43dd8448eb211c80319c").unwrap().to_bytes());
    assert_eq!(record.span_id, SpanId::parse(b"b7ad6b7169203331").unwrap().to_bytes());
    for (name, value) in [
        ("server", text("weather")),
        ("count", Some(Value::IntValue(3))),
        ("less", Some(Value::IntValue(-1))),
        ("share", Some(Value::DoubleValue(0.5))),
        ("yes", Some(Value::BoolValue(true))),
        ("request_id", text("r-1")),
        ("token", text("***")),
        ("trace_id", None),
    ] {
        assert_eq!(attribute(record, name), value, "{name}");
    }
    assert_eq!(records[1].trace_id, [0x11; 16]);
}

#[test]
fn access_lines_are_records_with_the_configured_fields() {
    let (log, _alone) = the_log();
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start([]);
    let check = |fields: Vec<AccessField>, expected: &[(&str, Option<Value>)]| {
        let telemetry = telemetry(log, |config| {
            config.logs_push = scene::logs_push(&collector.url(), OtlpProtocol::Http);
            config.access_log = AccessLogTarget::File(folder.path().join("access.log"));
            config.access_fields = fields;
        });
        let server = telemetry.server("weather");
        server.learn(NameKind::Tool, "echo");
        let line = AccessLine {
            name: Some("echo".into()),
            name_kind: Some(NameKind::Tool),
            trace_id: TraceId::parse(b"0af7651916cd43dd8448eb211c80319c"),
            ..AccessLine::default()
        };
        telemetry.emit(ExchangeFinished { outcome: "timeout", line, ..scene::exchange(&server) });
        assert!(telemetry.flush_exports(LONG));
        let records = of_scope(&next(&collector), "access");
        assert_eq!(records.len(), 1);
        assert_eq!((body(&records[0]), records[0].severity_text.as_str()), ("POST weather timeout", "ERROR"));
        for (name, value) in expected {
            assert_eq!(attribute(&records[0], name), *value, "{name}");
        }
        records[0].trace_id.len()
    };
    let all = [
        ("server", text("weather")),
        ("name", text("echo")),
        ("status", Some(Value::IntValue(200))),
        ("duration_ms", Some(Value::DoubleValue(1.5))),
        ("time", None),
        ("level", None),
        ("trace_id", None),
    ];
    assert_eq!(check(Vec::new(), &all), 16);
    assert_eq!(check(vec![AccessField::Outcome], &[("outcome", text("timeout")), ("server", None)]), 0);
}

#[test]
fn pushing_logs_does_not_feed_on_itself() {
    let (log, _alone) = the_log();
    let collector = GrpcCollector::start();
    let telemetry = telemetry(log, |config| config.logs_push = scene::logs_push(&collector.url(), OtlpProtocol::Grpc));
    for round in 0..5 {
        tracing::info!(target: "fed", round, "said");
        assert!(telemetry.flush_exports(LONG));
        let requests: Vec<_> = collector.logs.try_iter().collect();
        let count = |scope| requests.iter().map(|request| of_scope(request, scope).len()).sum::<usize>();
        assert_eq!(count("fed"), 1);
        // At level trace an HTTP/2 client has much to say of a push; so has the server in this process, which is not meant.
        assert_eq!(count("h2::client"), 0);
        if round == 0 {
            let of_client = watchgate_telemetry::LogFilter { target: Some("h2::client".into()), ..Default::default() };
            telemetry.flush(LONG);
            assert!(!telemetry.recent_logs(None, &of_client).lines.is_empty(), "it is said, and only not pushed");
        }
    }
}

#[test]
fn lines_that_nobody_takes_are_lost_and_counted_and_stay_in_memory() {
    let (log, _alone) = the_log();
    let collector = Collector::start([Reply::Answer(404, "text/html", b"<html>".to_vec())]);
    let telemetry = telemetry(log, |config| config.logs_push = scene::logs_push(&collector.url(), OtlpProtocol::Http));
    tracing::info!(target: "lost", "said");
    assert!(!telemetry.flush_exports(LONG));
    assert!(telemetry.flush_exports(LONG));
    assert!(scene::dropped(&telemetry, "otlp_logs", "not_a_collector") >= 1.0);
    let filter = watchgate_telemetry::LogFilter { target: Some("lost".into()), ..Default::default() };
    assert_eq!(telemetry.recent_logs(None, &filter).lines.len(), 1);
}
