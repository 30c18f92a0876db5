//! What lines and traces say of an exchange: whose mistake it was, what it was called, whether its trace is kept.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use watchgate_proxy::{GuardConfig, ProxyConfig, ServerLimits};
use watchgate_telemetry::{Attribute, SpanStatus, TelemetryConfig, TraceFilter, TraceSummary, TracesConfig};
use watchgate_tests::{Reply, Scripted, wait_until};

use crate::rig::{CALL, Conditions, RESULT, Rig, config, server};

const DEBUG: (&str, &str) = ("X-Debug-Trace", "true");

/// A proxy that keeps traces of which this share is chosen, and its access log.
struct Told {
    rig: Rig,
    folder: TempDir,
}

impl Told {
    fn with(upstream: &Scripted, traces: TracesConfig, change: impl FnOnce(&mut ProxyConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let telemetry = TelemetryConfig { traces, ..TelemetryConfig::default() };
        let mut config = config(vec![server(&[upstream.address()])]);
        change(&mut config);
        let conditions = Conditions { access_log: Some(log_in(&folder)), telemetry, ..Conditions::default() };
        Self { rig: Rig::under(conditions, config), folder }
    }

    fn line(&self) -> Value {
        wait_until("an access line", || {
            let text = std::fs::read_to_string(log_in(&self.folder)).ok()?;
            let line = text.split_inclusive('\n').next_back().filter(|line| line.ends_with('\n'))?;
            Some(serde_json::from_str(line).unwrap())
        })
    }

    fn traces(&self, filter: TraceFilter) -> Vec<TraceSummary> {
        self.rig.telemetry.recent_traces(&filter)
    }
}

fn log_in(folder: &TempDir) -> PathBuf {
    folder.path().join("access.log")
}

fn unsampled() -> TracesConfig {
    TracesConfig { ratio: 0.0, ..TracesConfig::default() }
}

fn answering(body: &'static str) -> Scripted {
    Scripted::start(move |exchange| exchange.json(200, body))
}

#[test]
fn clients_that_are_turned_away_have_no_say_in_what_is_kept() {
    let upstream = answering(RESULT);
    let told = Told::with(&upstream, unsampled(), |config| {
        config.guard = GuardConfig { hosts: Some(vec!["known.example".to_owned()]), ..GuardConfig::OPEN };
    });
    let reply = told.rig.post_with(&[DEBUG, ("Host", "foreign.example")], CALL);
    assert_eq!((reply.status(), reply.head.header("x-trace-id")), (403, None));
    let line = told.line();
    assert_eq!((&line["fault"], &line["level"], &line["sampled"]), (&"client".into(), &"WARN".into(), &false.into()));
    assert_eq!(told.traces(TraceFilter::default()), []);
}

/// A body over the cap, by a client that may ask for a trace.
fn too_large(debug: bool) -> (Told, Reply) {
    let upstream = answering(RESULT);
    let told = Told::with(&upstream, unsampled(), |config| {
        config.servers[0].limits = ServerLimits { message: 64, ..ServerLimits::default() };
    });
    let headers = if debug { vec![DEBUG] } else { Vec::new() };
    let reply = told.rig.post_with(&headers, &" ".repeat(100));
    (told, reply)
}

#[test]
fn a_clients_mistake_is_no_error_of_the_gateway() {
    let (told, reply) = too_large(false);
    assert_eq!(reply.status(), 413);
    assert_eq!(told.line()["fault"], "client");
    assert_eq!(told.traces(TraceFilter::default()), []);

    let (told, reply) = too_large(true);
    let id = reply.head.header("x-trace-id").unwrap().parse().unwrap();
    let trace = wait_until("the trace", || told.rig.telemetry.recent_trace(&id).pop());
    assert!(!trace.is_error && trace.is_forced);
    assert_eq!(trace.spans[0].status, SpanStatus::Unset);
    assert_eq!(trace.spans[0].get(Attribute::Fault), Some(&"client".into()));
    assert_eq!(trace.spans[0].get(Attribute::ErrorType), None);
    assert_eq!(told.line()["sampled"], true);
}

#[test]
fn the_header_that_asks_for_a_trace_can_be_switched_off() {
    let upstream = answering(RESULT);
    let told = Told::with(&upstream, TracesConfig { debug_header: false, ..unsampled() }, |_| {});
    assert_eq!(told.rig.post_with(&[DEBUG], CALL).head.header("x-trace-id"), None);
    assert_eq!(told.line()["sampled"], false);
}

#[test]
fn an_error_says_whose_it_is_and_what_the_server_says_of_it() {
    let check = |body: &'static str, fault: &str, level: &str, is_error: bool, said: &str| {
        let upstream = answering(body);
        let told = Told::with(&upstream, TracesConfig { ratio: 1.0, ..TracesConfig::default() }, |_| {});
        told.rig.go_live();
        told.rig.call();
        let line = told.line();
        assert_eq!((&line["fault"], &line["level"]), (&fault.into(), &level.into()), "{body}");
        let filter = TraceFilter { outcome: Some("rpc_error".to_owned()), ..TraceFilter::default() };
        let found = wait_until("the trace", || told.traces(filter.clone()).pop());
        let trace = told.rig.telemetry.recent_trace(&found.trace_id).pop().unwrap();
        let status = SpanStatus::Error(said.to_owned().into());
        assert_eq!((trace.is_error, trace.spans[0].status == status, &trace.spans[1].status), (is_error, is_error, &status), "{body}");
    };
    check(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no such tool"}}"#, "client", "WARN", false, "no such tool");
    // The wire has it masked already; here the telemetry surface does.
    check(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"SECRET broke"}}"#, "upstream", "ERROR", true, "*** broke");
    check(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603}}"#, "upstream", "ERROR", true, "");
}

/// A stream that is not offered, a session that is forgotten, no credentials: everyday, and nothing to wake anybody for.
#[test]
fn what_a_server_turns_away_is_the_clients_fault_and_what_it_fails_at_is_its_own() {
    for (status, fault, level) in [(405, "client", "WARN"), (404, "client", "WARN"), (500, "upstream", "ERROR")] {
        let upstream = Scripted::start(move |exchange| exchange.respond(status, &[], b""));
        let told = Told::with(&upstream, TracesConfig { ratio: 1.0, ..TracesConfig::default() }, |_| {});
        told.rig.ask("GET", "/mcp", &[("Accept", "text/event-stream")]);
        let line = told.line();
        assert_eq!((&line["fault"], &line["level"]), (&fault.into(), &level.into()), "{status}");
        let found = wait_until("the trace", || told.traces(TraceFilter::default()).pop());
        let trace = told.rig.telemetry.recent_trace(&found.trace_id).pop().unwrap();
        assert_eq!(trace.spans[0].get(Attribute::Fault), Some(&fault.into()), "{status}");
    }
}

#[test]
fn a_denied_answer_is_no_failure_of_the_server() {
    let upstream = answering(r#"{"jsonrpc":"2.0","id":7,"result":{"text":"DENY"}}"#);
    let told = Told::with(&upstream, TracesConfig { ratio: 1.0, ..TracesConfig::default() }, |_| {});
    told.rig.go_live();
    told.rig.call();
    let found = wait_until("the trace", || told.traces(TraceFilter::default()).pop());
    let trace = told.rig.telemetry.recent_trace(&found.trace_id).pop().unwrap();
    let [server, client] = [0, 1].map(|place| trace.spans[place].get(Attribute::ErrorType));
    assert_eq!((server, client, &trace.spans[1].status), (Some(&"denied".into()), None, &SpanStatus::Unset));
}

#[test]
fn a_client_that_leaves_is_no_failure_and_what_it_says_of_its_trace_goes_on() {
    let upstream = Scripted::start(|exchange| exchange.client_left().map(drop));
    let told = Told::with(&upstream, TracesConfig { ratio: 1.0, ..TracesConfig::default() }, |config| config.propagation.headers = true);
    let caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03";
    let waiting = told.rig.open(&[("traceparent", caller)], CALL);
    let asked = wait_until("the server is asked", || upstream.requests().pop());
    let parent = asked.head.header("traceparent").unwrap();
    assert!(parent.starts_with(&caller[..36]) && parent.ends_with("-03"), "{parent}");
    drop(waiting);
    let found = wait_until("the trace", || told.traces(TraceFilter::default()).pop());
    let trace = told.rig.telemetry.recent_trace(&found.trace_id).pop().unwrap();
    assert_eq!((trace.outcome, trace.is_error), ("cancelled", false));
}

#[test]
fn the_gateways_own_errors_are_told_by_their_sentence() {
    let told = {
        let upstream = answering(RESULT);
        Told::with(&upstream, unsampled(), |_| {})
    };
    assert_eq!(told.rig.call().status(), 502);
    let found = wait_until("the trace", || told.traces(TraceFilter { errors: true, ..TraceFilter::default() }).pop());
    let trace = told.rig.telemetry.recent_trace(&found.trace_id).pop().unwrap();
    for span in &trace.spans[..2] {
        assert_eq!(span.status, SpanStatus::Error("the MCP server cannot be reached".into()), "{}", span.kind.as_str());
    }
}

#[test]
fn a_clients_request_id_reaches_the_server_as_it_is_and_lines_as_the_policies_leave_it() {
    let upstream = answering(RESULT);
    let told = Told::with(&upstream, TracesConfig { ratio: 1.0, ..TracesConfig::default() }, |config| {
        config.propagation.request_ids = true;
    });
    told.rig.go_live();
    let reply = told.rig.post_with(&[("X-Request-ID", "r-SECRET")], CALL);
    assert_eq!(reply.head.header("x-request-id"), Some("r-SECRET"));
    assert_eq!(upstream.requests()[0].head.header("x-request-id"), Some("r-SECRET"));
    assert_eq!(told.line()["request_id"], "r-***");
    let filter = TraceFilter { request_id: Some("r-***".to_owned()), ..TraceFilter::default() };
    wait_until("the trace", || told.traces(filter.clone()).pop());
    assert_eq!(told.rig.metrics().metric("watchgate_http_requests_total", &[("outcome", "ok")]), 1.0);
}

#[test]
fn a_request_id_that_the_policies_deny_is_in_no_line() {
    let upstream = answering(RESULT);
    let told = Told::with(&upstream, unsampled(), |_| {});
    told.rig.go_live();
    told.rig.post_with(&[("X-Request-ID", "DENY")], CALL);
    let line = told.line();
    assert_eq!((line.get("request_id"), &line["outcome"]), (None, &"ok".into()));
}

#[test]
fn whatever_meta_has_for_trace_context_is_looked_at() {
    let upstream = answering(RESULT);
    let told = Told::with(&upstream, unsampled(), |_| {});
    let check = |meta: &str, reason: &str, expected: f64| {
        told.rig.post(&CALL.replace(r#""name""#, &format!(r#""_meta":{meta},"name""#)));
        let found = told.rig.metrics().metric("watchgate_trace_context_invalid_total", &[("reason", reason)]);
        assert_eq!(found, expected, "{meta}");
    };
    check(r#"{"baggage":7}"#, "not_a_string", 1.0);
    check(r#"{"traceparent":{},"tracestate":null}"#, "not_a_string", 3.0);
    check(r#"{"baggage":"=;="}"#, "baggage_malformed", 1.0);
    check(r#"{"traceparent":"nonsense"}"#, "traceparent_malformed", 1.0);
    check(r#"{"progressToken":7}"#, "not_a_string", 3.0);
}

#[test]
fn a_trace_is_found_by_a_tool_that_the_server_does_not_know_yet() {
    let upstream = answering(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}"#);
    let told = Told::with(&upstream, unsampled(), |_| {});
    told.rig.go_live();
    told.rig.post(&CALL.replace(r#""name":"t""#, r#""name":"SECRET-tool""#));
    let filter = TraceFilter { tool: Some("***-tool".to_owned()), ..TraceFilter::default() };
    let found = wait_until("the trace", || told.traces(filter.clone()).pop());
    assert_eq!((found.span_name.as_str(), found.name.as_deref()), ("tools/call ***-tool", Some("***-tool")));
    assert_eq!(told.line()["name"], "_other", "which is a label's word");
}
