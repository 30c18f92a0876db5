//! What operators see of traffic: traces, figures and logs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use watchgate_telemetry::{Attribute, SpanId, SpanKind, SpanRecord, SpanStatus, TraceFinished, TraceId, TraceRecord};

use crate::scene::{Scene, own_log};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A failed call of a tool that was tried once.
fn failed_call() -> TraceRecord {
    let started = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
    let root = SpanId::new([1; 8]).unwrap();
    let mut server = SpanRecord::new(root, SpanKind::Server, "tools/call forecast", started, Duration::from_millis(400))
        .within_remote(SpanId::new([9; 8]).unwrap());
    server.set(Attribute::Server, "weather");
    server.status = SpanStatus::Error("<no> \"rain\"".into());
    let client =
        SpanRecord::new(SpanId::new([2; 8]).unwrap(), SpanKind::Client, "tools/call forecast", started, Duration::from_millis(350));
    TraceRecord {
        trace_id: TRACE.parse().unwrap(),
        spans: vec![server, client.within(root)],
        server: Arc::from("weather"),
        outcome: "tool_error",
        name: Some("forecast".into()),
        mcp_method: Some("tools/call"),
        started,
        duration: Duration::from_millis(400),
        request_id: Some("r/1".into()),
        error_id: None,
        tracestate: Some("a=b".into()),
        is_slow: true,
        is_error: true,
        is_forced: false,
        head_sampled: true,
    }
}

fn quick_call() -> TraceRecord {
    TraceRecord {
        trace_id: TraceId::random(),
        outcome: "ok",
        name: None,
        started: SystemTime::now(),
        duration: Duration::from_millis(2),
        request_id: None,
        is_slow: false,
        is_error: false,
        ..failed_call()
    }
}

#[tokio::test]
async fn traces_are_found_by_filters() {
    let scene = Scene::begin(None, &["weather"]).await;
    scene.telemetry.emit(TraceFinished(failed_call()));
    scene.telemetry.emit(TraceFinished(quick_call()));
    let check = async |query: &str, expected: usize| {
        let heard = scene.ask(&format!("GET /api/traces{query}"), &[]).await;
        assert_eq!(heard.status, 200, "{query}: {}", heard.body);
        let found = heard.json()["traces"].as_array().unwrap().len();
        assert_eq!(found, expected, "{query}: {}", heard.body);
    };
    check("", 2).await;
    check("?limit=1", 1).await;
    check("?errors", 1).await;
    check("?slow=true", 1).await;
    check("?server=weather&tool=forecast&outcome=tool_error", 1).await;
    check("?request_id=r%2F1", 1).await;
    check("?request_id=r1", 0).await;
    check("?min_duration=400ms", 1).await;
    check("?min_duration=401ms", 0).await;
    check("?since=1h", 1).await;
    check("?until=2023-11-14T22:13:21Z", 1).await;
    check("?server=elsewhere", 0).await;
    let listed = scene.ask("GET /api/traces?errors", &[]).await.json();
    assert_eq!(listed["traces"][0]["trace_id"], TRACE);
    assert_eq!(listed["traces"][0]["start_time_unix_nano"], "1700000000123456789");
}

#[tokio::test]
async fn one_trace_is_told_with_its_spans() {
    let scene = Scene::begin(None, &["weather"]).await;
    scene.telemetry.emit(TraceFinished(failed_call()));
    let told = scene.ask(&format!("GET /api/traces/{TRACE}"), &[]).await.json();
    let exchange = &told["exchanges"][0];
    assert_eq!((&told["trace_id"], &exchange["outcome"], &exchange["trace_state"]), (&TRACE.into(), &"tool_error".into(), &"a=b".into()));
    let (server, client) = (&exchange["spans"][0], &exchange["spans"][1]);
    assert_eq!(server["kind"], "SERVER");
    assert_eq!(server["status"], serde_json::json!({ "code": "ERROR", "message": "<no> \"rain\"" }));
    assert_eq!(server["attributes"]["watchgate.server"], "weather");
    assert_eq!((&server["parent_span_id"], &server["parent_is_remote"]), (&"0909090909090909".into(), &true.into()));
    assert_eq!((&client["parent_span_id"], &client["kind"]), (&server["span_id"], &"CLIENT".into()));
    assert_eq!(client["end_time_unix_nano"], "1700000000473456789");
    let check = async |id: &str, status: u16, code: &str| {
        let heard = scene.ask(&format!("GET /api/traces/{id}"), &[]).await;
        assert_eq!((heard.status, &heard.json()["error"]["code"]), (status, &code.into()), "{id}");
    };
    check("00000000000000000000000000000001", 404, "no_such_trace").await;
    check("00000000000000000000000000000000", 404, "no_such_trace").await;
    check("", 404, "no_such_trace").await;
    check("../../etc/passwd", 404, "no_such_trace").await;
    check("%ff", 400, "trace_id").await;
}

#[tokio::test]
async fn a_trace_is_found_by_what_a_client_or_a_line_says_of_it() {
    let scene = Scene::begin(None, &["weather"]).await;
    let other = TraceId::parse(format!("{}1", &TRACE[..31]).as_bytes()).unwrap();
    scene.telemetry.emit(TraceFinished(failed_call()));
    scene.telemetry.emit(TraceFinished(TraceRecord { trace_id: other, error_id: Some("e-7".into()), ..failed_call() }));
    let found = async |id: &str| scene.ask(&format!("GET /api/traces/{id}"), &[]).await.json()["trace_id"].clone();
    assert_eq!(found(&TRACE.to_uppercase()).await, TRACE);
    assert_eq!(found("e-7").await, other.to_string());
    // The last of those with a request id that was used again.
    assert_eq!(found("r%2F1").await, other.to_string());
    let ambiguous = scene.ask(&format!("GET /api/traces/{}", &TRACE[..8]), &[]).await;
    assert_eq!((ambiguous.status, &ambiguous.json()["error"]["code"]), (409, &"ambiguous".into()));
    scene.telemetry.emit(TraceFinished(TraceRecord { trace_id: TraceId::parse(&[b'a'; 32]).unwrap(), ..failed_call() }));
    assert_eq!(found("aaaaaa").await, "a".repeat(32));
    let too_short = scene.ask("GET /api/traces/aaaaa", &[]).await;
    assert_eq!(too_short.status, 404);
    let listed = scene.ask("GET /api/traces?error_id=e-7", &[]).await.json();
    assert_eq!(listed["traces"].as_array().map(Vec::len), Some(1));
    assert_eq!(scene.ask("GET /api/traces?trace_id=AAAA", &[]).await.json()["traces"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let scene = Scene::begin(None, &[]).await;
    let check = async |request: &str, parameter: &str| {
        let heard = scene.ask(request, &[]).await;
        let error = &heard.json()["error"];
        assert_eq!((heard.status, &error["parameter"]), (400, &parameter.into()), "{request}");
        assert!(error["message"].as_str().unwrap().starts_with(&format!("`{parameter}` ")), "{error}");
    };
    check("GET /api/traces?min_duration=soon", "min_duration").await;
    check("GET /api/traces?colour=red", "colour").await;
    check("GET /api/traces?limit=-1", "limit").await;
    check("GET /api/logs?level=loud", "level").await;
    check("GET /api/logs?wait=5", "wait").await;
    check("GET /api/logs?after=never", "after").await;
}

#[tokio::test]
async fn figures_are_json() {
    let scene = Scene::begin(None, &["weather"]).await;
    let overview = scene.ask("GET /metrics/custom", &[]).await.json();
    assert_eq!(overview["servers"]["weather"]["requests_total"], 0.0);
    let cardinality = scene.ask("GET /api/cardinality", &[]).await.json();
    assert!(cardinality["series"].as_u64().is_some_and(|series| series > 10), "{cardinality}");
}

#[tokio::test]
async fn metrics_are_compressed_for_who_takes_gzip() {
    let scene = Scene::begin(None, &["weather"]).await;
    let ask = async |accepted: &str| {
        let mut connection = scene.connect().await;
        let text = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{accepted}\r\n", scene.address);
        connection.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase(), bytes[end + 4..].to_vec())
    };
    let (head, plain) = ask("").await;
    assert!(!head.contains("content-encoding") && head.contains("vary: accept-encoding"), "{head}");
    let (head, packed) = ask("Accept-Encoding: gzip\r\n").await;
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut GzDecoder::new(&packed[..]), &mut text).unwrap();
    assert!(packed.len() * 2 < plain.len() && text.contains("# TYPE watchgate_build_info gauge"), "{text}");
}

#[tokio::test]
async fn logs_go_on_from_a_cursor_and_are_waited_for() {
    let scene = Scene::begin(None, &[]).await;
    // Other scenes write to the same log, so everything here is asked for by a server of its own.
    let page = async |more: &str| scene.ask(&format!("GET /api/logs?server=here{more}"), &[]).await.json();
    let begin = page("").await;
    assert_eq!(begin["lines"], serde_json::json!([]));
    let after = format!("&after={}", begin["cursor"].as_str().unwrap());
    let waits = format!("{after}&wait=60s&level=error");
    let waiting = page(&waits);
    let speaking = async {
        tokio::task::yield_now().await;
        tracing::warn!(server = "here", "it rains");
        tracing::error!(server = "here", "it \"pours\"");
    };
    let (found, ()) = tokio::join!(waiting, speaking);
    assert_eq!(found["lines"][0]["message"], "it \"pours\"", "{found}");
    let both = page(&after).await;
    assert_eq!(both["lines"].as_array().unwrap().len(), 2, "{both}");
    let rest = page(&format!("&after={}", both["cursor"].as_str().unwrap())).await;
    assert_eq!((&rest["lines"], &rest["missed"]), (&serde_json::json!([]), &0.into()));
}

#[tokio::test]
async fn waiting_for_logs_does_not_hold_up_the_end() {
    let scene = Scene::begin(None, &[]).await;
    let mut waiting = scene.connect().await;
    let request = format!("GET /api/logs?server=nobody&wait=60s HTTP/1.1\r\nHost: {}\r\n\r\n", scene.address);
    waiting.write_all(request.as_bytes()).await.unwrap();
    // A listener that answers another request has accepted the one before.
    scene.ask("GET /health/live", &[]).await;
    scene.shutdown.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(4), scene.served).await.expect("it ends at once").unwrap().unwrap();
}

#[tokio::test]
async fn the_level_of_the_log_is_set_for_a_time_and_comes_back() {
    let scene = Scene::begin(None, &[]).await;
    let check = async |body: &str, status: u16, member: &str, expected: &str| {
        let heard = scene.put("/admin/log-level", body).await;
        let told = heard.json();
        let found = if status == 200 { &told[member] } else { &told["error"][member] };
        assert_eq!((heard.status, found.as_str()), (status, Some(expected)), "{body}: {told}");
    };
    check(r#"{"level":"loud"}"#, 400, "code", "level").await;
    check(r#"{"level":"debug","for":"soon"}"#, 400, "code", "for").await;
    check(r#"{"level":"debug","for":"0s"}"#, 400, "code", "for").await;
    check(r#"{"level":"debug","until":"noon"}"#, 400, "code", "body").await;
    check("debug", 400, "code", "body").await;
    assert_eq!(own_log().level().level, "info");
    check(r#"{"level":"info,watchgate_admin=debug","for":"1h"}"#, 200, "standing", "info").await;
    let shown = scene.ask("GET /admin/log-level", &[]).await.json();
    assert_eq!(shown["level"], "info,watchgate_admin=debug");
    assert!(shown["remaining_seconds"].as_f64().is_some_and(|left| (3500.0..=3600.0).contains(&left)), "{shown}");
    check(r#"{"level":"info,watchgate_admin=debug","for":"1ms"}"#, 200, "standing", "info").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while own_log().level().level != "info" {
        assert!(std::time::Instant::now() < deadline, "the level comes back");
        tokio::task::yield_now().await;
    }
    check(r#"{"level":"info"}"#, 200, "level", "info").await;
}

#[tokio::test]
async fn profiles_are_taken_one_at_a_time() {
    let scene = Scene::begin(None, &[]).await;
    let check = async |request: &str, status: u16, code: &str| {
        let heard = scene.ask(request, &[]).await;
        assert_eq!((heard.status, &heard.json()["error"]["code"]), (status, &code.into()), "{request}");
    };
    check("GET /debug/pprof/profile?seconds=0", 400, "parameter").await;
    check("GET /debug/pprof/profile?seconds=121", 400, "parameter").await;
    check("GET /debug/pprof/heap?minutes=1", 400, "parameter").await;
    // The tests run on the system's allocator.
    check("GET /debug/pprof/heap?seconds=1", 501, "heap").await;
    let ask = async || {
        let mut connection = scene.connect().await;
        let text = format!("GET /debug/pprof/profile?seconds=1 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", scene.address);
        connection.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).await.unwrap();
        bytes
    };
    let (one, other) = tokio::join!(ask(), ask());
    let (taken, refused) = if one.starts_with(b"HTTP/1.1 200 ") { (one, other) } else { (other, one) };
    assert!(refused.starts_with(b"HTTP/1.1 409 "), "{:?}", String::from_utf8_lossy(&refused));
    assert!(taken.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&taken));
    let tasks = scene.ask("GET /debug/pprof/tasks", &[]).await.json();
    assert!(tasks["tasks"].as_u64().is_some_and(|tasks| tasks > 0), "{tasks}");
    assert_eq!(tasks["exchanges"], serde_json::json!([]), "{tasks}");
    let named = tasks["named"].as_array().unwrap();
    let rules = named.iter().find(|task| task["name"] == "alert rules").unwrap_or_else(|| panic!("{tasks}"));
    assert!(matches!(rules["state"].as_str(), Some("new" | "running" | "waiting")), "{rules}");
    assert!(rules["age_seconds"].as_f64().is_some_and(|age| age > 0.0), "{rules}");
    assert!(tasks["workers"].as_array().is_some_and(|workers| !workers.is_empty()), "{tasks}");
    let end = taken.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut profile = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(&taken[end + 4..]), &mut profile).unwrap();
    assert!(profile.windows(11).any(|window| window == b"nanoseconds"));
}
