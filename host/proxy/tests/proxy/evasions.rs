//! What a client says of its request does not change how the request counts.

use watchgate_proxy::{RateKey, ServerLimits};
use watchgate_tests::{Gate, Reply, Scripted, wait_until};

use crate::limits::{LISTEN, answering, check_counted, holding, limited, rated};
use crate::rig::{CALL, RESULT, Rig, check_fault, config, server};

/// A stream that stays for every GET, and an answer for everything else.
fn streaming_gets() -> Scripted {
    Scripted::start(|exchange| {
        if exchange.request.head.method() != "GET" {
            return exchange.json(200, RESULT);
        }
        exchange.event_stream()?;
        exchange.chunk(": open\n\n")?;
        exchange.client_left().map(drop)
    })
}

#[test]
fn a_header_makes_no_stream_of_a_call() {
    let release = Gate::default();
    let upstream = holding(&release);
    let limits = ServerLimits { concurrency: Some(1), streams_per_client: Some(1), ..ServerLimits::default() };
    let rig = Rig::new(limited(upstream.address(), limits));
    let listens = ("Mcp-Method", "subscriptions/listen");
    let held = rig.open(&[("X-Hold", "1"), listens], CALL);
    wait_until("it has come", || (upstream.requests().len() == 1).then_some(()));
    check_fault(&rig.post_with(&[listens], CALL), 503, -31005, "saturated");
    check_fault(&rig.call(), 503, -31005, "saturated");
    // Nor does a body that a server may read in another way.
    let twice = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","method":"subscriptions/listen"}"#;
    check_fault(&rig.post_with(&[listens], twice), 503, -31005, "saturated");
    assert_eq!(rig.post_with(&[listens], &format!("[{LISTEN},{CALL}]")).status(), 503);
    // What is a stream is one beside any number of calls.
    let mut stream = rig.open(&[("X-Stream", "1"), listens], LISTEN);
    assert_eq!(stream.head().unwrap().status(), 200);
    drop(held);
    release.open();
}

#[track_caller]
fn check_too_many_streams(reply: &Reply) {
    let body = reply.json().unwrap();
    assert_eq!((reply.status(), &body["error"]["data"]["reason"]), (429, &"too_many_streams".into()), "{body}");
    assert_eq!(reply.head.header("retry-after"), Some("5"));
}

#[test]
fn a_get_that_is_answered_by_a_stream_is_one_whatever_it_accepts() {
    let upstream = streaming_gets();
    let limits = ServerLimits { streams_per_client: Some(1), ..ServerLimits::default() };
    let rig = Rig::new(limited(upstream.address(), limits));
    let mut refused = 0.0;
    for (accept, is_asked) in [
        (&[("Accept", "*/*")][..], true),
        (&[], true),
        (&[("Accept", "text/*")], true),
        (&[("Accept", "application/json"), ("Accept", "Text/Event-Stream;q=0.5")], false),
        (&[("Accept", "application/json, TEXT/EVENT-STREAM")], false),
    ] {
        let mut first = rig.connect();
        first.send(&watchgate_tests::http1::request("GET", "/mcp", accept, b"")).unwrap();
        assert_eq!(first.head().unwrap().status(), 200, "{accept:?}");
        let asked = upstream.requests().len();
        check_too_many_streams(&rig.ask("GET", "/mcp", accept));
        refused += 1.0;
        assert_eq!(upstream.requests().len() - asked, usize::from(is_asked), "{accept:?}");
        drop(first);
        wait_until("the server hears that they are gone", || (upstream.open() == 0).then_some(()));
        rig.wait_for("watchgate_http_requests_in_flight", &[], 0.0);
    }
    check_counted(&rig, "streams", Some("watchgate_streams_limited_total"), refused);
}

#[test]
fn a_get_that_turned_out_a_stream_holds_no_place_of_a_call() {
    let upstream = streaming_gets();
    let limits = ServerLimits { concurrency: Some(1), ..ServerLimits::default() };
    let rig = Rig::new(limited(upstream.address(), limits));
    let mut stream = rig.connect();
    stream.send(&watchgate_tests::http1::request("GET", "/mcp", &[("Accept", "*/*")], b"")).unwrap();
    assert_eq!(stream.head().unwrap().status(), 200);
    assert_eq!(rig.call().status(), 200);
}

#[test]
fn a_batch_counts_as_often_as_it_has_messages() {
    let batch = |count: usize| format!("[{}]", vec![CALL; count].join(","));
    for (count, passes) in [(2, true), (3, false), (5000, false)] {
        let upstream = answering();
        let rig = Rig::new(rated(upstream.address(), RateKey::Address));
        let reply = rig.post(&batch(count));
        assert_eq!((reply.status(), upstream.requests().len()), if passes { (200, 1) } else { (429, 0) }, "{count}");
        check_counted(&rig, "rate", Some("watchgate_rate_limited_total"), if passes { 0.0 } else { 1.0 });
    }
    // Nor when something stands behind it that makes it no batch at all.
    let upstream = answering();
    let rig = Rig::new(rated(upstream.address(), RateKey::Address));
    assert_eq!(rig.post(&format!("{}x", batch(5000))).status(), 429);
}

/// Two pass, and the third does not, since their sessions are made up.
#[track_caller]
fn check_made_up(upstream: &Scripted, headers: &[(&str, &str)]) {
    let rig = Rig::new(rated(upstream.address(), RateKey::Session));
    let statuses: Vec<u16> = (0..6)
        .map(|number| {
            let session = format!("made-up-{}", number / 2);
            let headers = [headers, &[("Mcp-Session-Id", &session)]].concat();
            rig.post_with(&headers, CALL).status()
        })
        .collect();
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429], "{headers:?}");
}

#[test]
fn a_session_that_no_server_has_named_is_none() {
    check_made_up(&answering(), &[]);
    // Nor is one of a revision without sessions, whatever the server says of it.
    let upstream = Scripted::start(|exchange| {
        let session = exchange.request.head.header("mcp-session-id").unwrap_or_default().to_owned();
        exchange.respond(200, &[("Content-Type", "application/json"), ("Mcp-Session-Id", &session)], RESULT.as_bytes())
    });
    check_made_up(&upstream, &[("MCP-Protocol-Version", "2026-07-28")]);
    let upstream = answering();
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    for number in 0..200 {
        assert_eq!(rig.post_with(&[("Mcp-Session-Id", &format!("made-up-{number}"))], CALL).status(), 200);
    }
    let metrics = rig.metrics();
    assert_eq!(metrics.metric("watchgate_sessions_active", &[("server", "only")]), 0.0);
    assert_eq!(metrics.metric("mcp_server_session_duration_seconds_count", &[("server", "only")]), 0.0);
}
