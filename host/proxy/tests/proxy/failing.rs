//! Answers that do not come, or not whole: how they count for their endpoint, and what is said of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use watchgate_proxy::{BreakerConfig, EndpointConfig, ServerConfig, UpstreamTls};
use watchgate_telemetry::{Attribute, TraceFilter};
use watchgate_tests::upstream::nobody;
use watchgate_tests::{Connection, Exchange, Scripted, ScriptedSocket, wait_until};

use crate::rig::{CALL, Conditions, RESULT, Rig, check_fault, config, server, unprobed};
use crate::tls_peers::{Authority, Files, Front};

type Answer = fn(&mut Exchange) -> anyhow::Result<()>;

const CUT_DOCUMENT: Answer = |exchange| {
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"jsonrpc\"")?;
    exchange.reset();
    Ok(())
};

const CUT_STREAM: Answer = |exchange| {
    exchange.event_stream()?;
    exchange.chunk("data: hello\n\n")?;
    exchange.reset();
    Ok(())
};

const IN_TROUBLE: Answer = |exchange| exchange.json(503, "{}");

/// Opens when six in ten of at least five fail, and stays so.
fn guarded(addresses: &[SocketAddr]) -> ServerConfig {
    let mut server = server(addresses);
    let open = Duration::from_secs(600);
    server.breaker = BreakerConfig { error_share: 0.6, min_requests: 5, window: open, open, ..BreakerConfig::default() };
    server.retry.max = 0;
    server
}

fn results(rig: &Rig, result: &str) -> f64 {
    rig.metrics().metric("watchgate_endpoint_requests_total", &[("result", result)])
}

/// What five exchanges are counted as, and the state of the breaker then.
#[track_caller]
fn check_counted(answer: Answer, method: &str, result: &str, state: &str) {
    let upstream = Scripted::start(answer);
    let rig = unprobed(guarded(&[upstream.address()]));
    for number in 1..=5 {
        let mut connection = if method == "GET" { rig.connect() } else { rig.open(&[], CALL) };
        if method == "GET" {
            let accept = [("Accept", "text/event-stream")];
            connection.send(&watchgate_tests::http1::request("GET", "/mcp", &accept, b"")).unwrap();
        }
        // Whether the client sees the head before the connection ends is left open.
        let _ = connection.reply();
        rig.wait_for("watchgate_endpoint_requests_total", &[("result", result)], f64::from(number));
    }
    assert_eq!(rig.metrics().metric("watchgate_endpoint_requests_total", &[]), 5.0, "each is counted once");
    assert_eq!(rig.control.breakers()[0].state, state);
}

#[test]
fn an_answer_that_breaks_off_is_a_failure() {
    check_counted(CUT_DOCUMENT, "POST", "failed", "open");
    check_counted(CUT_STREAM, "POST", "failed", "open");
    check_counted(IN_TROUBLE, "POST", "failed", "open");
    check_counted(|exchange| exchange.json(200, RESULT), "POST", "ok", "closed");
}

#[test]
fn a_stream_for_as_long_as_the_client_wants_may_be_cut() {
    check_counted(CUT_STREAM, "GET", "ok", "closed");
    check_counted(CUT_DOCUMENT, "GET", "failed", "open");
}

#[test]
fn an_endpoint_whose_answers_break_off_is_passed_over() {
    let (stays, breaks) = (Scripted::start(|exchange| exchange.json(200, RESULT)), Scripted::start(CUT_DOCUMENT));
    let mut server = server(&[stays.address(), breaks.address()]);
    server.breaker.enabled = false;
    server.ejection.consecutive_failures = 2;
    let rig = unprobed(server);
    let ejected = || rig.metrics().metric("watchgate_endpoint_ejected", &[("endpoint", &breaks.address().to_string())]) == 1.0;
    wait_until("two in a row broke off", || {
        let _ = rig.open(&[], CALL).reply();
        ejected().then_some(())
    });
    assert_eq!(breaks.requests().len(), 2);
    for _ in 0..10 {
        assert_eq!(rig.call().status(), 200);
    }
}

#[test]
fn an_answer_that_falls_silent_is_a_failure_and_one_whose_client_leaves_is_none() {
    let upstream = Scripted::start(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"jsonrpc\"")?;
        exchange.client_left().map(drop)
    });
    let mut server = server(&[upstream.address()]);
    server.timeouts.idle = Duration::from_millis(100);
    let rig = unprobed(server.clone());
    let _ = rig.open(&[], CALL).reply();
    rig.wait_for("watchgate_endpoint_requests_total", &[("result", "failed")], 1.0);
    server.timeouts.idle = Duration::from_secs(600);
    let rig = unprobed(server);
    let mut leaves = rig.open(&[], CALL);
    assert_eq!(leaves.head().unwrap().status(), 200);
    drop(leaves);
    rig.wait_for("watchgate_endpoint_requests_total", &[("result", "ok")], 1.0);
}

/// What a call is counted as whose client leaves when it has seen this much of the answer.
#[track_caller]
fn check_left(answer: Answer, seen: &str, result: &str) {
    let upstream = Scripted::start(answer);
    let rig = unprobed(guarded(&[upstream.address()]));
    let mut leaves = rig.open(&[("Mcp-Method", "subscriptions/listen")], CALL);
    assert_eq!(leaves.head().unwrap().status(), 200);
    if !seen.is_empty() {
        leaves.body_until(seen).unwrap();
    }
    drop(leaves);
    rig.wait_for("watchgate_endpoint_requests_total", &[("result", result)], 1.0);
}

/// Whatever a header says of the call.
#[test]
fn the_head_of_a_stream_alone_is_no_answer() {
    let silent: Answer = |exchange| {
        exchange.event_stream()?;
        exchange.client_left().map(drop)
    };
    check_left(silent, "", "abandoned");
    let speaking: Answer = |exchange| {
        exchange.event_stream()?;
        exchange.chunk("data: hello\n\n")?;
        exchange.client_left().map(drop)
    };
    check_left(speaking, "hello", "ok");
    let empty: Answer = |exchange| {
        exchange.event_stream()?;
        exchange.end()
    };
    check_counted(empty, "POST", "ok", "closed");
}

#[test]
fn connections_are_not_used_again_for_a_while_after_one_was_closed_under_a_request() {
    // Each answers once, and ends when it is asked again.
    let asked_again = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = asked_again.clone();
    let upstream = ScriptedSocket::start(move |stream| {
        let Ok(mut connection) = Connection::new(stream) else { return };
        if !matches!(connection.next_head(), Ok(Some(_))) || connection.body().is_err() {
            return;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", RESULT.len());
        if connection.send(format!("{head}{RESULT}").as_bytes()).is_ok() && matches!(connection.next_head(), Ok(Some(_))) {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut server = guarded(&[upstream.address()]);
    server.breaker.min_requests = 1;
    server.breaker.error_share = 0.01;
    let rig = unprobed(server);
    assert_eq!(rig.call().status(), 200);
    check_fault(&rig.call(), 502, -31004, "broken_answer");
    for _ in 0..20 {
        assert_eq!(rig.call().status(), 200);
    }
    assert_eq!(asked_again.load(Ordering::SeqCst), 1, "each request was sent once, and one was lost");
    assert_eq!((results(&rig, "ok"), results(&rig, "failed")), (21.0, 1.0));
    assert_eq!(rig.control.breakers()[0].state, "closed", "it says nothing of the endpoint");
}

/// The access line of one call to a server.
fn line_of(server: ServerConfig, ends: impl FnOnce(&Rig)) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let conditions = Conditions { access_log: Some(log.clone()), without_housekeeping: true, ..Conditions::default() };
    let rig = Rig::under(conditions, config(vec![server]));
    ends(&rig);
    let line = wait_until("the line is written", || std::fs::read_to_string(&log).ok().filter(|log| log.contains('\n')));
    serde_json::from_str(line.lines().next().unwrap()).unwrap()
}

/// The cause of the failure of one call to a server.
#[track_caller]
fn check_cause(server: ServerConfig, cause: &str) {
    let line = line_of(server, |rig| {
        let _ = rig.open(&[], CALL).reply();
    });
    assert_eq!(line["cause"], cause, "{line}");
    assert_eq!(line.get("endpoint"), None, "there is only one");
}

#[test]
fn the_access_line_says_why_a_server_brought_no_answer() {
    let single = |address: SocketAddr| guarded(&[address]);
    check_cause(single(nobody()), "refused");
    let scripted = |answer: Answer| Scripted::start(answer);
    for (answer, cause) in [
        ((|exchange| exchange.write(b"no HTTP at all\r\n\r\n")) as Answer, "not_http"),
        (
            |exchange| {
                exchange.close();
                Ok(())
            },
            "closed",
        ),
        (
            |exchange| {
                exchange.reset();
                Ok(())
            },
            "reset",
        ),
        (CUT_DOCUMENT, "reset"),
        (|exchange| exchange.client_left().map(drop), "timeout"),
    ] {
        let upstream = scripted(answer);
        let mut server = single(upstream.address());
        server.timeouts.head = Duration::from_millis(200);
        check_cause(server, cause);
    }
    // No label is so long, so nobody needs to be asked for it.
    let mut nowhere = single(nobody());
    let host = format!("{}.invalid", "x".repeat(70));
    nowhere.endpoints = vec![EndpointConfig { authority: format!("{host}:1"), host, port: 1, tls: false }];
    check_cause(nowhere, "dns");
}

#[test]
fn the_access_line_tells_a_certificate_that_is_not_trusted_from_a_handshake_that_fails() {
    let (ours, theirs, files) = (Authority::new("ours"), Authority::new("theirs"), Files::new());
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let leaves = ScriptedSocket::start(drop);
    let ca = files.write("ours.pem", &ours.pem());
    let secure = |address: SocketAddr| {
        let mut server = guarded(&[address]);
        server.endpoints[0].tls = true;
        server.tls = UpstreamTls { ca: Some(ca.clone()), ..UpstreamTls::default() };
        server
    };
    let front = Front::start(upstream.address(), &theirs.issue(&["127.0.0.1"], 2040), None, &[]);
    check_cause(secure(front.address), "tls_untrusted");
    check_cause(secure(leaves.address()), "tls_handshake");
}

#[test]
fn the_access_line_says_which_endpoint_was_tried_last_and_how_often_it_was_tried() {
    let (one, other) = (nobody(), nobody());
    let mut both = guarded(&[one, other]);
    both.retry.max = 1;
    let line = line_of(both, |rig| check_fault(&rig.call(), 502, -31004, "unreachable"));
    assert_eq!((&line["attempts"], &line["cause"], &line["fault"]), (&2.into(), &"refused".into(), &"upstream".into()));
    let endpoint = line["endpoint"].as_str().unwrap();
    assert!([one, other].iter().any(|address| address.to_string() == endpoint), "{line}");
}

#[test]
fn the_access_line_of_a_client_that_left_says_which_endpoint_it_waited_for() {
    let hangs = [0, 1].map(|_| Scripted::start(|exchange| exchange.client_left().map(drop)));
    let line = line_of(server(&hangs.each_ref().map(Scripted::address)), |rig| {
        let waiting = rig.open(&[], CALL);
        wait_until("the call has come", || hangs.iter().any(|hangs| !hangs.requests().is_empty()).then_some(()));
        drop(waiting);
    });
    let asked = hangs.iter().find(|hangs| !hangs.requests().is_empty()).unwrap();
    assert_eq!((&line["outcome"], &line["endpoint"]), (&"cancelled".into(), &asked.address().to_string().into()));
}

#[test]
fn the_span_of_a_connection_that_could_not_be_opened_says_why() {
    let rig = Rig::new(config(vec![guarded(&[nobody()])]));
    check_fault(&rig.call(), 502, -31004, "unreachable");
    let record = wait_until("the trace is kept", || {
        let summary = rig.telemetry.recent_traces(&TraceFilter::default()).pop()?;
        rig.telemetry.recent_trace(&summary.trace_id).pop()
    });
    let span = record.spans.iter().find(|span| span.name == "connect").unwrap();
    let why = span.attributes.iter().find(|(attribute, _)| *attribute == Attribute::ErrorType).map(|(_, value)| value.to_text());
    assert_eq!((span.is_error(), why.as_deref()), (true, Some("refused")));
}
