//! The end: no new connections, idle ones close, exchanges finish, streams are ended between two events.

use std::time::{Duration, Instant};

use watchgate_proxy::{ProxyConfig, Timeouts};
use watchgate_tests::{Connection, Gate, Scripted, wait_until};

use crate::http2_peers::{Client, next};
use crate::rig::{CALL, RESULT, Rig, config, post, server, wait_for_drain};

/// Streams begin as the header says and then wait for the client to leave or for the gate; calls with `X-Hold` wait for the gate.
fn waiting(gate: &Gate) -> Scripted {
    let gate = gate.clone();
    Scripted::start(move |exchange| {
        let head = &exchange.request.head;
        if let Some(start) = head.header("x-stream").map(str::to_owned) {
            exchange.event_stream()?;
            exchange.chunk(start.replace('|', "\n"))?;
            if start == "forever" {
                return exchange.client_left().map(drop);
            }
            gate.wait("the drain has begun");
            exchange.chunk("rest\n\ndata: one more\n\n")?;
            return exchange.client_left().map(drop);
        }
        if head.header("x-hold").is_some() {
            gate.wait("the drain has begun");
        }
        exchange.json(200, RESULT)
    })
}

fn before(upstream: &Scripted, drain: Duration) -> Rig {
    Rig::new(ProxyConfig { timeouts: Timeouts { drain, ..Timeouts::default() }, ..config(vec![server(&[upstream.address()])]) })
}

/// Longer than any test takes: what ends before is not ended by it.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn idle_connections_close_and_calls_finish() {
    let gate = Gate::default();
    let upstream = waiting(&gate);
    let mut rig = before(&upstream, LONG);
    let mut idle = rig.open(&[], CALL);
    idle.reply().unwrap();
    let mut unused = rig.connect();
    let mut held = rig.open(&[("X-Hold", "1")], CALL);
    wait_until("it has come", || (upstream.requests().len() == 2).then_some(()));
    let draining = rig.drain();
    idle.wait_for_end().unwrap();
    unused.wait_for_end().unwrap();
    wait_until("nobody is accepted", || Connection::open(rig.address).is_err().then_some(()));
    assert!(!draining.is_finished());
    gate.open();
    let reply = held.reply().unwrap();
    assert_eq!((reply.text().as_str(), reply.head.header("connection")), (RESULT, Some("close")));
    wait_for_drain(&draining);
    let metrics = rig.metrics();
    assert_eq!((metrics.metric("watchgate_connections_open", &[]), metrics.metric("watchgate_http_requests_in_flight", &[])), (0.0, 0.0));
    assert_eq!(metrics.metric("watchgate_http_requests_total", &[("outcome", "ok")]), 2.0);
}

#[test]
fn without_connections_it_is_over_at_once() {
    let upstream = waiting(&Gate::default());
    let mut rig = before(&upstream, LONG);
    wait_for_drain(&rig.drain());
}

#[test]
fn streams_end_when_their_time_is_over_and_the_client_sees_a_regular_end() {
    let upstream = waiting(&Gate::default());
    let mut rig = before(&upstream, Duration::from_millis(300));
    let mut streams: Vec<Connection> = (0..3).map(|_| rig.open(&[("X-Stream", "data: 1||")], CALL)).collect();
    for stream in &mut streams {
        assert_eq!(stream.head().unwrap().status(), 200);
        stream.body_until("data: 1\n\n").unwrap();
    }
    let begun = Instant::now();
    let draining = rig.drain();
    for stream in &mut streams {
        assert!(stream.body().unwrap().is_empty());
        assert!(begun.elapsed() >= Duration::from_millis(300), "they had that long");
        stream.wait_for_end().unwrap();
    }
    wait_for_drain(&draining);
}

#[test]
fn an_event_under_way_is_completed_or_was_not_begun() {
    for with_policy in [false, true] {
        let gate = Gate::default();
        let upstream = waiting(&gate);
        let mut rig = before(&upstream, Duration::from_millis(100));
        if with_policy {
            rig.go_live();
        }
        let mut stream = rig.open(&[("X-Stream", "data: 1||data: half and the ")], CALL);
        assert_eq!(stream.head().unwrap().status(), 200);
        stream.body_until("data: 1\n\n").unwrap();
        let draining = rig.drain();
        wait_until("the other streams have ended", || Connection::open(rig.address).is_err().then_some(()));
        if with_policy {
            // Half an event was kept back, so the client has whole ones only.
            assert_eq!(stream.body().unwrap(), b"");
        } else {
            gate.open();
            let rest = String::from_utf8(stream.body().unwrap()).unwrap();
            assert!(rest.ends_with("rest\n\ndata: one more\n\n"), "{rest}");
        }
        wait_for_drain(&draining);
        gate.open();
    }
}

#[test]
fn a_call_that_nobody_answers_does_not_hold_the_end_up() {
    let gate = Gate::default();
    let upstream = waiting(&gate);
    let mut rig = before(&upstream, Duration::from_millis(100));
    let mut held = rig.open(&[("X-Hold", "1")], CALL);
    wait_until("it has come", || (upstream.requests().len() == 1).then_some(()));
    let draining = rig.drain();
    assert!(held.reply().is_err());
    wait_for_drain(&draining);
    assert_eq!(rig.metrics().metric("watchgate_http_requests_total", &[("outcome", "cancelled")]), 1.0);
    gate.open();
}

#[test]
fn connections_of_http2_hear_of_it_and_their_exchanges_finish() {
    let gate = Gate::default();
    let upstream = waiting(&gate);
    let mut rig = before(&upstream, Duration::from_millis(500));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (idle, busy) = (Client::connect(rig.address).await, Client::connect(rig.address).await);
        assert_eq!(idle.call(&[]).await.body, RESULT);
        let mut stream = busy.open(&[("x-stream", "data: 1||")]).await.into_body();
        assert!(next(&mut stream).await.unwrap().starts_with(b"data: 1"));
        let held = tokio::spawn({
            let busy = busy.clone();
            async move { busy.call(&[("x-hold", "1")]).await }
        });
        wait_until("it has come", || (upstream.requests().len() == 3).then_some(()));
        let draining = rig.drain();
        idle.ended().await;
        gate.open();
        assert_eq!(held.await.unwrap().body, RESULT);
        let mut rest = Vec::new();
        while let Some(piece) = next(&mut stream).await {
            rest.extend(piece);
        }
        assert_eq!(rest, b"rest\n\ndata: one more\n\n", "its events go on until the time is over");
        busy.ended().await;
        wait_for_drain(&draining);
    });
}

#[test]
fn a_client_that_pipelines_into_the_end_gets_one_answer_and_knows_it() {
    let gate = Gate::default();
    let upstream = waiting(&gate);
    let mut rig = before(&upstream, LONG);
    let mut client = rig.open(&[("X-Hold", "1")], CALL);
    wait_until("it has come", || (upstream.requests().len() == 1).then_some(()));
    let draining = rig.drain();
    client.send(&post(&[], CALL)).unwrap();
    wait_until("nobody is accepted", || Connection::open(rig.address).is_err().then_some(()));
    gate.open();
    assert_eq!(client.reply().unwrap().head.header("connection"), Some("close"));
    client.wait_for_end().unwrap();
    wait_for_drain(&draining);
    assert_eq!(upstream.requests().len(), 1);
}
