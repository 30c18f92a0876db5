//! Calls that are answered on another stream than they came on: counted, timed and traced as that answer says. In HTTP+SSE (2024-11-05) all are.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watchgate_proxy::Mount;
use watchgate_telemetry::{
    Attribute, Capture, CaptureConfig, SpanStatus, Telemetry, TelemetryConfig, TraceFilter, TraceRecord, TraceSummary, TracesConfig,
};
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::{Connection, Gate, Scripted, wait_until};

use crate::rig::{CALL, Conditions, Rig, config, named};

const FAILED: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}"#;
const REFUSED: &str = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"no \u0072ain"}}"#;
const TOOL_CALLS: &str = "watchgate_mcp_tool_calls_total";

/// A server of either era that says on its stream what the test tells it to, and accepts a POST once it may.
struct Legacy {
    upstream: Scripted,
    say: Mutex<Option<Sender<String>>>,
    may_accept: Arc<Gate>,
}

impl Legacy {
    /// `first` is the stream's first event; POSTs are answered with this status.
    fn start(first: &'static str, status: u16) -> Self {
        let (say, said) = channel::<String>();
        let (said, may_accept) = (Mutex::new(said), Arc::new(Gate::default()));
        let accepts = may_accept.clone();
        let upstream = Scripted::start(move |exchange| {
            if exchange.request.head.method() == "GET" {
                exchange.event_stream()?;
                exchange.chunk(first)?;
                while let Ok(event) = said.lock().unwrap().recv() {
                    exchange.chunk(format!("data: {event}\n\n"))?;
                }
                return exchange.end();
            }
            accepts.wait("the POST may be accepted");
            if exchange.request.head.header("mcp-session-id").is_some() {
                // The stream of the POST ends without the answer.
                exchange.event_stream()?;
                return exchange.end();
            }
            exchange.respond(status, &[("Content-Type", "text/plain")], b"Accepted")
        });
        Self { upstream, say: Mutex::new(Some(say)), may_accept }
    }

    fn sse() -> Self {
        Self::start("event: endpoint\ndata: /messages/?session_id=5f0c\n\n", 202)
    }

    fn say(&self, message: &str) {
        self.say.lock().unwrap().as_ref().unwrap().send(message.to_owned()).unwrap();
    }

    fn end_stream(&self) {
        *self.say.lock().unwrap() = None;
    }
}

fn rig(server: &Legacy, mount: Mount, capture: CaptureConfig) -> Rig {
    let telemetry =
        TelemetryConfig { traces: TracesConfig { ratio: 1.0, ..TracesConfig::default() }, capture, ..TelemetryConfig::default() };
    Rig::under(Conditions { telemetry, ..Conditions::default() }, config(vec![named("only", mount, &[server.upstream.address()])]))
}

fn open_stream(rig: &Rig, target: &str, headers: &[(&str, &str)], until: &str) -> Connection {
    let mut stream = rig.connect();
    let headers: Vec<_> = [("Accept", "text/event-stream")].into_iter().chain(headers.iter().copied()).collect();
    stream.send(&request("GET", target, &headers, b"")).unwrap();
    assert_eq!(stream.head().unwrap().status(), 200);
    stream.body_until(until).unwrap();
    stream
}

fn post(rig: &Rig, target: &str, headers: &[(&str, &str)], body: &str) -> Connection {
    let headers: Vec<_> = MCP_POST.iter().copied().chain(headers.iter().copied()).collect();
    let mut connection = rig.connect();
    connection.send(&request("POST", target, &headers, body.as_bytes())).unwrap();
    connection
}

fn calls(rig: &Rig, outcome: &str) -> f64 {
    rig.metrics().metric(TOOL_CALLS, &[("outcome", outcome)])
}

/// The one trace of a call, once it is there.
fn trace_of_call(telemetry: &Telemetry) -> (TraceSummary, TraceRecord) {
    let filter = TraceFilter { method: Some("tools/call".to_owned()), ..TraceFilter::default() };
    let found = wait_until("the trace of the call", || telemetry.recent_traces(&filter).pop());
    let record = telemetry.recent_trace(&found.trace_id).first().unwrap().as_ref().clone();
    (found, record)
}

fn text(record: &TraceRecord, attribute: Attribute) -> Option<String> {
    record.spans[0].get(attribute).map(|value| value.to_text().into_owned())
}

/// The answer comes before the POST is accepted, or long after.
fn check_http_sse(mount: Mount, stream: &str, messages: &str, is_early: bool) {
    let server = Legacy::sse();
    let rig = rig(&server, mount, CaptureConfig { calls: Capture::All, ..CaptureConfig::default() });
    let mut stream = open_stream(&rig, stream, &[], "\n\n");
    let mut posted = post(&rig, messages, &[], CALL);
    if !is_early {
        server.may_accept.open();
        assert_eq!(posted.reply().unwrap().status(), 202);
    }
    wait_until("the server has the call", || (server.upstream.requests().len() == 2).then_some(()));
    server.say(FAILED);
    stream.body_until("isError").unwrap();
    rig.wait_for(TOOL_CALLS, &[("outcome", "tool_error")], 1.0);
    if is_early {
        server.may_accept.open();
        assert_eq!(posted.reply().unwrap().status(), 202);
    }
    let (summary, record) = trace_of_call(&rig.telemetry);
    assert_eq!((summary.outcome, summary.is_error, summary.spans), ("tool_error", true, 3), "SERVER, CLIENT, connect");
    assert_eq!(text(&record, Attribute::HttpResponseStatusCode).as_deref(), Some("202"));
    assert_eq!(text(&record, Attribute::GenAiToolCallResult).as_deref(), Some(r#"{"content":[],"isError":true}"#));
    assert_eq!(calls(&rig, "aborted"), 0.0);
    rig.wait_for("watchgate_http_requests_total", &[("method", "POST"), ("outcome", "ok")], 1.0);
    rig.wait_for("watchgate_sessions_active", &[], 1.0);
    server.end_stream();
    rig.wait_for("watchgate_sessions_active", &[], 0.0);
    rig.wait_for("watchgate_http_requests_total", &[("method", "GET"), ("outcome", "ok")], 1.0);
}

#[test]
fn a_call_over_http_sse_ends_with_its_answer_on_the_stream() {
    check_http_sse(Mount::Root, "/sse", "/messages/?session_id=5f0c", false);
    check_http_sse(Mount::Root, "/sse", "/messages/?session_id=5f0c", true);
    check_http_sse(Mount::Prefix, "/only/sse", "/only/messages/?session_id=5f0c", true);
}

#[test]
fn the_time_of_a_call_is_that_of_its_answer() {
    let server = Legacy::sse();
    let rig = rig(&server, Mount::Root, CaptureConfig::default());
    let mut stream = open_stream(&rig, "/sse", &[], "\n\n");
    server.may_accept.open();
    assert_eq!(post(&rig, "/messages/?session_id=5f0c", &[], CALL).reply().unwrap().status(), 202);
    watchgate_tests::wait::pause(Duration::from_millis(320));
    server.say(FAILED);
    stream.body_until("isError").unwrap();
    let (summary, record) = trace_of_call(&rig.telemetry);
    assert!(summary.duration >= Duration::from_millis(320) && summary.is_slow, "{:?}", summary.duration);
    assert!(record.spans[1].duration >= Duration::from_millis(300), "the attempt lasts until the answer");
    let labels = [("gen_ai_tool_name", "_other")];
    assert!(rig.metrics().metric("mcp_client_operation_duration_seconds_sum", &labels) >= 0.3);
}

#[test]
fn a_post_that_is_not_accepted_waits_for_nothing() {
    let server = Legacy::start("event: endpoint\ndata: /messages/?session_id=5f0c\n\n", 404);
    let rig = rig(&server, Mount::Root, CaptureConfig::default());
    let _stream = open_stream(&rig, "/sse", &[], "\n\n");
    server.may_accept.open();
    assert_eq!(post(&rig, "/messages/?session_id=5f0c", &[], CALL).reply().unwrap().status(), 404);
    rig.wait_for(TOOL_CALLS, &[("outcome", "http_error")], 1.0);
    server.end_stream();
    rig.wait_for("watchgate_sessions_active", &[], 0.0);
    assert_eq!((calls(&rig, "aborted"), calls(&rig, "http_error")), (0.0, 1.0));
}

#[test]
fn a_stream_that_ends_ends_what_it_has_not_answered() {
    let server = Legacy::sse();
    let rig = rig(&server, Mount::Root, CaptureConfig::default());
    let _stream = open_stream(&rig, "/sse", &[], "\n\n");
    server.may_accept.open();
    assert_eq!(post(&rig, "/messages/?session_id=5f0c", &[], CALL).reply().unwrap().status(), 202);
    server.end_stream();
    rig.wait_for(TOOL_CALLS, &[("outcome", "aborted")], 1.0);
    assert_eq!(trace_of_call(&rig.telemetry).0.outcome, "aborted");
}

#[test]
fn a_server_asks_over_http_sse_too() {
    let server = Legacy::sse();
    let rig = rig(&server, Mount::Root, CaptureConfig::default());
    let mut stream = open_stream(&rig, "/sse", &[], "\n\n");
    server.say(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#);
    stream.body_until("roots/list").unwrap();
    server.may_accept.open();
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"roots":[]}}"#;
    assert_eq!(post(&rig, "/messages/?session_id=5f0c", &[], answer).reply().unwrap().status(), 202);
    let labels = [("initiator", "server"), ("mcp_method_name", "roots/list"), ("outcome", "ok")];
    rig.wait_for("mcp_server_operation_duration_seconds_count", &labels, 1.0);
    let filter = TraceFilter { method: Some("roots/list".to_owned()), ..TraceFilter::default() };
    wait_until("its trace", || rig.telemetry.recent_traces(&filter).pop());
}

#[test]
fn what_is_posted_elsewhere_belongs_to_no_stream() {
    let server = Legacy::sse();
    let rig = rig(&server, Mount::Root, CaptureConfig::default());
    let _stream = open_stream(&rig, "/sse", &[], "\n\n");
    server.may_accept.open();
    assert_eq!(post(&rig, "/messages/?session_id=other", &[], CALL).reply().unwrap().status(), 202);
    rig.wait_for(TOOL_CALLS, &[("outcome", "aborted")], 1.0);
}

#[test]
fn an_answer_on_a_later_stream_is_told_by_the_span_of_its_call() {
    let server = Legacy::start(": hello\n\n", 202);
    let rig = rig(&server, Mount::Root, CaptureConfig { calls: Capture::OnError, ..CaptureConfig::default() });
    let session = [("Mcp-Session-Id", "s-1")];
    server.may_accept.open();
    assert_eq!(post(&rig, "/mcp", &session, CALL).reply().unwrap().text(), "");
    let mut stream = open_stream(&rig, "/mcp", &session, "hello");
    server.say(REFUSED);
    stream.body_until("-32603").unwrap();
    let (summary, record) = trace_of_call(&rig.telemetry);
    assert_eq!((summary.outcome, summary.is_error), ("rpc_error", true));
    for span in &record.spans[..2] {
        assert_eq!(span.status, SpanStatus::Error("no rain".into()), "{}", span.name);
    }
    assert_eq!(text(&record, Attribute::RpcResponseStatusCode).as_deref(), Some("-32603"));
    assert!(text(&record, Attribute::GenAiToolCallResult).is_some_and(|result| result.contains("no rain")));
    server.end_stream();
    let streams = TraceFilter { outcome: Some("ok".to_owned()), ..TraceFilter::default() };
    let of_stream = wait_until("the trace of the stream", || rig.telemetry.recent_traces(&streams).pop());
    assert!(of_stream.span_name.starts_with("GET") && !of_stream.is_error, "{of_stream:?}");
}
