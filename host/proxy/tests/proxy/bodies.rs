//! Bodies that come slowly, and bodies that are many: what they hold while they are gathered.

use watchgate_proxy::{ClientAddresses, Limits, ProxyConfig, RateKey, ServerLimits};
use watchgate_tests::http1::request;
use watchgate_tests::{Connection, Scripted};

use crate::limits::{answering, check_counted, limited, rated};
use crate::rig::{CALL, RESULT, Rig, check_fault, config, post, server};

const KIB: usize = 1 << 10;

#[test]
fn a_body_that_is_not_here_yet_takes_no_place() {
    let upstream = answering();
    let rig = Rig::new(limited(upstream.address(), ServerLimits { concurrency: Some(1), ..ServerLimits::default() }));
    let whole = post(&[], CALL);
    let mut slow: Vec<Connection> = (0..3).map(|_| rig.connect()).collect();
    for slow in &mut slow {
        slow.send(&whole[..whole.len() - 1]).unwrap();
    }
    rig.wait_for("watchgate_http_requests_in_flight", &[], 3.0);
    assert_eq!(rig.call().status(), 200);
    for slow in &mut slow {
        slow.send(&whole[whole.len() - 1..]).unwrap();
        assert_eq!(slow.reply().unwrap().status(), 200);
    }
}

/// The client is not to ask again behind what nobody reads.
#[test]
fn a_refusal_ends_a_connection_whose_body_was_not_read() {
    let upstream = answering();
    let rig = Rig::new(rated(upstream.address(), RateKey::Address));
    let padded = |bytes: usize| format!("{CALL}{}", " ".repeat(bytes));
    let statuses: Vec<_> = [0, 0, 0, 1000 * KIB]
        .into_iter()
        .map(|bytes| rig.post(&padded(bytes)))
        .map(|reply| (reply.status(), reply.head.header("connection").map(str::to_owned)))
        .collect();
    assert_eq!(statuses, [(200, None), (200, None), (429, None), (429, Some("close".to_owned()))]);
}

/// A proxy that holds 4 MiB of whole messages, and knows its clients by what they say.
fn small(upstream: &Scripted) -> Rig {
    let limits = Limits { held_bytes: 4096 * KIB, ..Limits::default() };
    let clients = ClientAddresses { trusted_hops: 1 };
    Rig::new(ProxyConfig { limits, clients, expects_policies: true, ..config(vec![server(&[upstream.address()])]) })
}

/// A client that sends all of a body of this many bytes but the last, so that the proxy holds `held` after that.
fn unfinished(rig: &Rig, client: &str, bytes: usize, held: usize) -> Connection {
    let all = of_client(client, bytes);
    let mut connection = rig.connect();
    connection.send(&all[..all.len() - 1]).unwrap();
    rig.wait_for("watchgate_held_bytes", &[], (held * KIB) as f64);
    connection
}

fn of_client(client: &str, bytes: usize) -> Vec<u8> {
    let padding = " ".repeat(bytes - CALL.len());
    request("POST", "/mcp", &[("X-Forwarded-For", client)], format!("{CALL}{padding}").as_bytes())
}

fn send(rig: &Rig, client: &str, bytes: usize) -> watchgate_tests::Reply {
    let mut connection = rig.connect();
    connection.send(&of_client(client, bytes)).unwrap();
    connection.reply().unwrap()
}

#[track_caller]
fn check_no_room(reply: &watchgate_tests::Reply) {
    let error = reply.json().unwrap()["error"].clone();
    assert_eq!((reply.status(), error["code"].as_i64(), &error["data"]["reason"]), (503, Some(-31005), &"no_room".into()));
    assert_eq!((reply.head.header("retry-after"), reply.head.header("connection")), (Some("1"), Some("close")));
}

#[test]
fn bodies_that_are_held_have_a_bound_together_and_for_each_client() {
    let upstream = answering();
    let rig = small(&upstream);
    let mut held = vec![unfinished(&rig, "192.0.2.1", 1000 * KIB, 1024)];
    check_no_room(&send(&rig, "192.0.2.1", 200 * KIB));
    assert_eq!(send(&rig, "192.0.2.1", 60 * KIB).status(), 200, "small ones pass");
    assert_eq!(send(&rig, "192.0.2.2", 200 * KIB).status(), 200, "and those of others");
    rig.wait_for("watchgate_held_bytes", &[], 1024.0 * 1024.0);
    for (client, total) in [("192.0.2.2", 2048), ("192.0.2.3", 3072), ("192.0.2.4", 4096)] {
        held.push(unfinished(&rig, client, 1000 * KIB, total));
    }
    check_no_room(&send(&rig, "192.0.2.5", 200 * KIB));
    check_counted(&rig, "held_bytes", None, 2.0);
    let mut last = held.pop().unwrap();
    last.send(b" ").unwrap();
    assert_eq!(last.reply().unwrap().status(), 200);
    rig.wait_for("watchgate_held_bytes", &[], 3072.0 * 1024.0);
    assert_eq!(send(&rig, "192.0.2.5", 200 * KIB).status(), 200);
    drop(held);
    rig.wait_for("watchgate_held_bytes", &[], 0.0);
}

#[test]
fn a_bound_that_is_changed_holds_from_then_on() {
    let upstream = answering();
    let rig = small(&upstream);
    let _held = unfinished(&rig, "192.0.2.1", 1000 * KIB, 1024);
    let limits = Limits { held_bytes: 1024 * KIB, ..Limits::default() };
    let clients = ClientAddresses { trusted_hops: 1 };
    rig.apply(ProxyConfig { limits, clients, expects_policies: true, ..config(vec![server(&[upstream.address()])]) });
    check_no_room(&send(&rig, "192.0.2.2", 200 * KIB));
}

#[test]
fn answers_and_events_that_a_policy_must_see_whole_count_too() {
    let upstream = Scripted::start(|exchange| {
        let padding = " ".repeat(200 * KIB);
        match exchange.request.head.header("x-events") {
            None => exchange.json(200, format!("{RESULT}{padding}")),
            Some(_) => {
                exchange.event_stream()?;
                exchange.chunk("data: {}\n\n")?;
                exchange.chunk(format!("data: {padding}"))?;
                exchange.chunk("\n\n")?;
                exchange.end()
            }
        }
    });
    let rig = small(&upstream);
    rig.go_live();
    let from_other = ("X-Forwarded-For", "192.0.2.9");
    assert_eq!(rig.post_with(&[from_other], CALL).status(), 200);
    let whole = rig.post_with(&[from_other, ("X-Events", "1")], CALL);
    assert!(whole.text().len() > 200 * KIB);
    rig.wait_for("watchgate_held_bytes", &[], 0.0);
    let _held: Vec<Connection> = [("192.0.2.1", 1024), ("192.0.2.2", 2048), ("192.0.2.3", 3072), ("192.0.2.4", 4096)]
        .map(|(client, total)| unfinished(&rig, client, 1000 * KIB, total))
        .into();
    // The call has run: it is not said to be worth another try.
    let denied = rig.post_with(&[from_other], CALL);
    check_fault(&denied, 502, -31001, "denied");
    assert_eq!(denied.head.header("retry-after"), None);
    let mut cut = rig.open(&[from_other, ("X-Events", "1")], CALL);
    assert_eq!(cut.head().unwrap().status(), 200);
    assert!(cut.body().is_err(), "it is cut, not ended");
    check_counted(&rig, "held_bytes", None, 2.0);
}
