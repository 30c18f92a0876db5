//! Bounds on client connections: those over them wait or are refused, and idle ones make room.

use watchgate_proxy::{Limits, ProxyConfig};
use watchgate_tests::http1::request;
use watchgate_tests::{Gate, wait_until};

use crate::limits::{answering, holding};
use crate::rig::{CALL, Rig, config, post, server};
use crate::tls_peers::{Authority, Files};

fn bounded(upstream: &watchgate_tests::Scripted, connections: usize, per_client: Option<u32>) -> Rig {
    let limits = Limits { connections, connections_per_client: per_client, ..Limits::default() };
    Rig::new(ProxyConfig { limits, ..config(vec![server(&[upstream.address()])]) })
}

#[test]
fn connections_over_the_limit_wait_for_one_to_end() {
    let release = Gate::default();
    let upstream = holding(&release);
    let rig = bounded(&upstream, 1, None);
    let mut first = rig.open(&[("X-Hold", "1")], CALL);
    wait_until("it has come", || (upstream.requests().len() == 1).then_some(()));
    let mut second = rig.open(&[], CALL);
    rig.wait_for("watchgate_connections_waited_total", &[], 1.0);
    let metrics = rig.metrics();
    assert_eq!(metrics.metric("watchgate_connections_open", &[]), 1.0);
    assert_eq!(metrics.metric("watchgate_connections_limit", &[]), 1.0);
    assert_eq!(upstream.requests().len(), 1, "the second client waits");
    release.open();
    assert_eq!(first.reply().unwrap().status(), 200, "what goes on is not broken off for others");
    assert_eq!(second.reply().unwrap().status(), 200);
}

#[test]
fn connections_on_which_nothing_is_asked_make_room() {
    let (authority, files) = (Authority::new("ours"), Files::new());
    let upstream = answering();
    let rig = bounded(&upstream, 3, None);
    let tls = rig.listen(Some(files.listener(&authority.issue(&["localhost"], 2040), None)), true);
    // One that says nothing, one that was used, and one in the middle of a handshake.
    let mut silent = rig.connect();
    let mut used = rig.open(&[], CALL);
    assert_eq!(used.reply().unwrap().status(), 200);
    let mut shaking = watchgate_tests::Connection::open(tls).unwrap();
    rig.wait_for("watchgate_connections_open", &[], 3.0);
    for _ in 0..3 {
        let mut next = rig.open(&[], CALL);
        assert_eq!(next.reply().unwrap().status(), 200);
        // It stays, and is the next to go when the three are gone.
        std::mem::forget(next);
    }
    silent.wait_for_end().unwrap();
    used.wait_for_end().unwrap();
    shaking.wait_for_end().unwrap();
    assert!(rig.metrics().metric("watchgate_connections_refused_total", &[("reason", "idle_longest")]) >= 3.0);
}

#[test]
fn one_address_has_no_more_connections_than_it_may() {
    let upstream = answering();
    let rig = bounded(&upstream, 100, Some(2));
    let mut first = rig.open(&[], CALL);
    let mut second = rig.open(&[], CALL);
    assert_eq!((first.reply().unwrap().status(), second.reply().unwrap().status()), (200, 200));
    let mut third = rig.connect();
    third.wait_for_end().unwrap();
    rig.wait_for("watchgate_connections_refused_total", &[("reason", "too_many_of_client")], 1.0);
    second.send(&post(&[], CALL)).unwrap();
    assert_eq!(second.reply().unwrap().status(), 200);
    drop(first);
    wait_until("the place is free", || {
        let mut next = rig.connect();
        next.send(&request("POST", "/mcp", &[], CALL.as_bytes())).ok()?;
        next.reply().ok().map(drop)
    });
}
