//! OTLP over HTTP and gRPC: everything a record says arrives, in the form that the protocol wants.

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use watchgate_telemetry::{Compression, Exporter, HeaderValueText, TraceRecord, TracesConfig};

use crate::collector::{Collector, Reply};
use crate::grpc_collector::GrpcCollector;
use crate::scene::{config, emit, exported, failed_call, lost, ping, telemetry, wait_until};

const BEGAN: u64 = 1_800_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// Names and values, values with their type.
fn said(attributes: &[KeyValue]) -> Vec<(&str, String)> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => format!("s:{text}"),
        Value::IntValue(number) => format!("i:{number}"),
        Value::BoolValue(yes) => format!("b:{yes}"),
        Value::DoubleValue(number) => format!("d:{number}"),
        other => panic!("{other:?} is not said by spans"),
    };
    attributes.iter().map(|attribute| (attribute.key.as_str(), value(attribute))).collect()
}

fn check_said(attributes: &[KeyValue], expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    assert_eq!(said(attributes), expected);
}

fn id(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// What of the failed call stands in its own span.
fn check_root(root: &Span) {
    assert_eq!((root.name.as_str(), root.kind()), ("tools/call forecast", SpanKind::Server));
    assert_eq!((root.span_id.clone(), root.parent_span_id.clone()), (id(1), vec![0xaa; 8]));
    assert_eq!(root.flags, 0x301, "sampled, and the parent is known to be remote");
    assert_eq!((root.start_time_unix_nano, root.end_time_unix_nano), (BEGAN, BEGAN + SECOND));
    let status = root.status.as_ref().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "no forecast"));
    check_said(
        &root.attributes,
        &[
            ("mcp.method.name", "s:tools/call"),
            ("gen_ai.tool.name", "s:forecast"),
            ("gen_ai.operation.name", "s:execute_tool"),
            ("watchgate.server", "s:weather"),
            ("client.address", "s:192.0.2.7"),
            ("client.port", "i:5000"),
            ("watchgate.forced", "b:true"),
            ("rpc.response.status_code", "s:-32603"),
            ("error.type", "s:-32603"),
        ],
    );
    let [event] = root.events.as_slice() else { panic!("one event") };
    assert_eq!((event.name.as_str(), event.time_unix_nano), ("retry", BEGAN + SECOND / 2));
    check_said(&event.attributes, &[("watchgate.retry.reason", "s:connect_failed")]);
    let [link] = root.links.as_slice() else { panic!("one link") };
    assert_eq!((link.trace_id.clone(), link.span_id.clone()), (vec![0xbb; 16], vec![0xcc; 8]));
}

fn check_request(request: &ExportTraceServiceRequest) {
    let [of_resource] = request.resource_spans.as_slice() else { panic!("one resource") };
    let resource = said(&of_resource.resource.as_ref().unwrap().attributes);
    for expected in [("service.name", "s:edge"), ("service.version", "s:9.8.7"), ("deployment.environment.name", "s:test")] {
        assert!(resource.contains(&(expected.0, expected.1.to_owned())), "{resource:?}");
    }
    let [of_scope] = of_resource.scope_spans.as_slice() else { panic!("one scope") };
    assert_eq!(of_scope.scope.as_ref().unwrap().name, "watchgate");
    assert!(of_scope.schema_url.starts_with("https://opentelemetry.io/schemas/"));
    let [root, attempt, connect, redact] = of_scope.spans.as_slice() else { panic!("four spans") };
    for span in &of_scope.spans {
        assert_eq!((span.trace_id.clone(), span.trace_state.as_str()), (vec![0x11; 16], "congo=t61rcWkgMzE"));
    }
    check_root(root);
    let shape = |span: &Span| (span.name.clone(), span.kind(), span.parent_span_id.clone(), span.flags);
    assert_eq!(shape(attempt), ("tools/call forecast".to_owned(), SpanKind::Client, id(1), 0x101));
    assert_eq!(shape(connect), ("connect".to_owned(), SpanKind::Internal, id(2), 0x101));
    assert_eq!(shape(redact), ("redact secrets".to_owned(), SpanKind::Internal, id(1), 0x101));
    assert_eq!(connect.end_time_unix_nano - connect.start_time_unix_nano, 500);
    assert!(connect.status.is_none());
}

/// Headers and compression as configured arrive with the request.
fn with_extras(mut config: TracesConfig, compression: Compression) -> TracesConfig {
    config.push.headers = vec![("x-tenant".to_owned(), HeaderValueText("blue".to_owned()))];
    config.push.compression = compression;
    config
}

#[test]
fn a_trace_arrives_whole_by_http() {
    for compression in [Compression::None, Compression::Gzip] {
        let collector = Collector::start([]);
        let telemetry = telemetry(with_extras(config(Exporter::OtlpHttp, &collector.url()), compression));
        emit(&telemetry, failed_call());
        let received = collector.next();
        check_request(&ExportTraceServiceRequest::decode(received.body.as_slice()).unwrap());
        let header = |name: &str| received.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(received.path, "/v1/traces");
        assert_eq!(header("content-type").unwrap(), "application/x-protobuf");
        assert_eq!(header("content-encoding").as_deref(), (compression == Compression::Gzip).then_some("gzip"));
        assert_eq!(header("x-tenant").unwrap(), "blue");
        assert_eq!(header("host").unwrap(), collector.address.to_string());
        assert!(header("user-agent").unwrap().starts_with("watchgate/"));
        wait_until("the trace is counted", || exported(&telemetry) == 1);
    }
}

#[test]
fn a_trace_arrives_whole_by_grpc() {
    for compression in [Compression::None, Compression::Gzip] {
        let collector = GrpcCollector::start([], None);
        let telemetry = telemetry(with_extras(config(Exporter::OtlpGrpc, &collector.url()), compression));
        emit(&telemetry, failed_call());
        let called = collector.next();
        check_request(&called.request);
        assert_eq!(called.metadata.get("x-tenant").unwrap(), "blue");
        assert_eq!(called.metadata.contains_key("x-was-compressed"), compression == Compression::Gzip);
        wait_until("the trace is counted", || exported(&telemetry) == 1);
    }
}

fn spans_in(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    request.resource_spans.into_iter().flat_map(|of_resource| of_resource.scope_spans).flat_map(|of_scope| of_scope.spans).collect()
}

#[test]
fn one_connection_carries_many_batches_and_is_opened_anew_when_closed() {
    let collector = Collector::start([Reply::ok(), Reply::ok(), Reply::With(200, "connection", "close")]);
    let telemetry = telemetry(config(Exporter::OtlpHttp, &collector.url()));
    for number in 0..6 {
        emit(&telemetry, ping(number));
        assert_eq!(spans_in(&collector.next().body).len(), 1);
        wait_until("the trace is counted", || exported(&telemetry) == number + 1);
    }
}

#[test]
fn batches_hold_as_many_traces_as_configured() {
    let collector = Collector::start([]);
    let telemetry = telemetry(TracesConfig { batch: 3, interval: crate::scene::LONG, ..config(Exporter::OtlpHttp, &collector.url()) });
    (0..7).for_each(|number| emit(&telemetry, ping(number)));
    assert_eq!([collector.next(), collector.next()].map(|received| spans_in(&received.body).len()), [3, 3]);
    assert!(telemetry.flush_traces(crate::scene::LONG));
    assert_eq!(spans_in(&collector.next().body).len(), 1);
}

#[test]
fn only_what_is_for_export_is_exported() {
    let collector = Collector::start([]);
    let telemetry = telemetry(TracesConfig { export_slow: false, ..config(Exporter::OtlpHttp, &collector.url()) });
    let unsampled = |number| TraceRecord { head_sampled: false, ..ping(number) };
    emit(&telemetry, unsampled(1));
    emit(&telemetry, TraceRecord { is_slow: true, ..unsampled(2) });
    emit(&telemetry, TraceRecord { is_error: true, ..unsampled(3) });
    assert!(telemetry.flush_traces(crate::scene::LONG));
    let spans = spans_in(&collector.next().body);
    assert_eq!(spans.iter().map(|span| u128::from_be_bytes(span.trace_id.as_slice().try_into().unwrap())).collect::<Vec<_>>(), [4]);
    assert_eq!(spans[0].flags & 1, 0, "it was not sampled when it began");
    assert!(collector.is_idle());
    // What nothing speaks for came only because of what was captured.
    assert_eq!(telemetry.recent_traces(&watchgate_telemetry::TraceFilter::default()).len(), 2);
}

#[test]
fn spans_that_the_collector_rejects_are_counted() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
    let answer = ExportTraceServiceResponse { partial_success: Some(partial) };
    let http = Collector::start([Reply::Answer(200, "application/x-protobuf", answer.encode_to_vec())]);
    let grpc = GrpcCollector::start([Ok(answer)], None);
    for (exporter, url) in [(Exporter::OtlpHttp, http.url()), (Exporter::OtlpGrpc, grpc.url())] {
        let telemetry = telemetry(config(exporter, &url));
        emit(&telemetry, failed_call());
        wait_until("the spans are counted", || lost(&telemetry, "rejected") == 3);
        assert_eq!(exported(&telemetry), 1);
    }
}
