//! A client that misbehaves: what it asked is let go of at once, and nobody else hears of it.

use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::{Connection, wait_until};

use super::bed::{Bed, CAP, Patience, hear, name, request_for, wild_request};
use super::wild::{Ends, FLOOD};

const PATIENCE: Patience = Patience { others: "5s", heads: "20s", pool: "1ms" };
const SHORT: Patience = Patience { others: "700ms", heads: "700ms", pool: "1ms" };

/// How a client goes.
#[derive(Clone, Copy, Debug)]
pub enum Leaving {
    /// It closes.
    Close,
    /// It resets the connection.
    Reset,
    /// It says that it will send no more, and still reads.
    HalfClose,
}

/// Leaves; gives the connection back where it is only half closed.
pub fn leave(mut client: Connection, how: Leaving) -> Option<Connection> {
    match how {
        Leaving::Close => None,
        Leaving::Reset => {
            client.reset();
            None
        }
        Leaving::HalfClose => client.finish_sending().is_ok().then_some(client),
    }
}

/// A request with a body that says it is longer than it is.
pub fn half_a_request(script: &str, id: u64) -> Vec<u8> {
    let headers = [MCP_POST[0], ("X-Request-Id", &*name(id)), ("Content-Length", "1000")];
    request("POST", &format!("/wild/{script}"), &headers, b"{\"jsonrpc\":")
}

#[test]
fn a_client_that_leaves_in_its_head_has_asked_nothing() {
    let bed = Bed::new(&PATIENCE);
    for how in [Leaving::Close, Leaving::Reset, Leaving::HalfClose] {
        let bytes = wild_request("answers", bed.next_id());
        for length in [0, 1, 10, bytes.len() / 2] {
            let mut client = bed.gateway.connect();
            client.send(&bytes[..length]).unwrap();
            if let Some(mut client) = leave(client, how) {
                client.wait_for_end().unwrap();
            }
        }
    }
    bed.call_good();
    bed.assert_as_before("clients that left in their heads");
    assert_eq!(bed.seen.all(), 1, "only the first call of all");
}

#[test]
fn a_client_that_leaves_in_its_body_has_cancelled() {
    let bed = Bed::new(&PATIENCE);
    for how in [Leaving::Close, Leaving::HalfClose] {
        let id = bed.next_id();
        let mut client = bed.gateway.connect();
        client.send(&half_a_request("answers", id)).unwrap();
        drop(leave(client, how));
        assert_eq!(bed.line(&name(id))["outcome"], "cancelled", "{how:?}");
        bed.assert_as_before(&format!("a client that left in its body: {how:?}"));
    }
    assert_eq!(bed.seen.all(), 1, "only the first call of all");
}

/// Leaves when the server has the request, and the answer is as far as `script` takes it.
#[track_caller]
fn check_left(bed: &Bed, script: &str, reads: &str, how: Leaving) {
    let id = bed.next_id();
    let mut client = bed.gateway.connect();
    client.send(&wild_request(script, id)).unwrap();
    wait_until("the server has the request", || (bed.seen.times(&name(id)) == 1).then_some(()));
    if !reads.is_empty() {
        client.head().unwrap();
        client.body_until(reads).unwrap();
    }
    drop(leave(client, how));
    let line = bed.line(&name(id));
    assert_eq!(line["outcome"], "cancelled", "{script} {how:?}: {line}");
    bed.assert_as_before(&format!("a client that left {script}: {how:?}"));
}

#[test]
fn a_client_that_leaves_its_answer_has_cancelled() {
    let bed = Bed::new(&PATIENCE);
    for how in [Leaving::Close, Leaving::Reset] {
        check_left(&bed, "hangs", "", how);
        check_left(&bed, "half-a-head-and-hangs", "", how);
        check_left(&bed, "half-a-document-and-hangs", "jsonrpc", how);
        check_left(&bed, "half-an-event-and-hangs", "progress", how);
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let bed = Bed::new(&PATIENCE);
    for script in ["answers", "dribbles", "streams"] {
        let id = bed.next_id();
        let mut client = bed.gateway.connect();
        for byte in wild_request(script, id) {
            client.send(&[byte]).unwrap();
        }
        let heard = hear(&mut client);
        assert_eq!((heard.status, heard.ends), (200, Ends::Whole), "{script}");
        assert_eq!(bed.line(&name(id))["outcome"], "ok", "{script}");
    }
    bed.assert_as_before("bytes that came one by one");
}

#[test]
fn a_client_that_never_finishes_its_head_is_let_go() {
    let bed = Bed::new(&SHORT);
    let bytes = wild_request("answers", bed.next_id());
    let slow: Vec<Connection> = (0..20)
        .map(|n| {
            let mut client = bed.gateway.connect();
            client.send(&bytes[..n]).unwrap();
            client
        })
        .collect();
    bed.call_good();
    for mut client in slow {
        client.wait_for_end().unwrap();
    }
    bed.assert_as_before("heads that never ended");
}

#[test]
fn a_client_that_never_finishes_its_body_is_let_go() {
    let bed = Bed::new(&SHORT);
    let id = bed.next_id();
    let mut client = bed.gateway.connect();
    client.send(&half_a_request("answers", id)).unwrap();
    assert_eq!(hear(&mut client).status, 408);
    assert_eq!(bed.line(&name(id))["outcome"], "timeout");
    drop(client);
    bed.assert_as_before("a body that never ended");
    assert_eq!(bed.seen.all(), 1, "only the first call of all");
}

#[test]
fn a_body_over_the_cap_is_refused_and_its_connection_closed() {
    let bed = Bed::new(&PATIENCE);
    let id = bed.next_id();
    let mut client = bed.gateway.connect();
    client.send(&request("POST", "/wild/answers", &[("X-Request-Id", &*name(id))], &vec![b' '; CAP + 1])).unwrap();
    assert_eq!(hear(&mut client).status, 413);
    client.wait_for_end().unwrap();
    assert_eq!(bed.line(&name(id))["outcome"], "http_error");
    bed.assert_as_before("a body over the cap");
}

#[test]
fn pipelined_requests_end_each_in_its_own_way_and_in_their_order() {
    let bed = Bed::new(&PATIENCE);
    let scripts = [("answers", "ok"), ("fails", "http_error"), ("streams", "ok"), ("closes", "aborted"), ("dribbles", "ok")];
    let ids: Vec<u64> = scripts.iter().map(|_| bed.next_id()).collect();
    let mut client = bed.gateway.connect();
    let bytes: Vec<u8> = scripts.iter().zip(&ids).flat_map(|((script, _), id)| wild_request(script, *id)).collect();
    client.send(&bytes).unwrap();
    for ((script, outcome), id) in scripts.iter().zip(&ids) {
        let heard = hear(&mut client);
        assert_eq!(heard.ends, Ends::Whole, "{script}");
        assert_eq!(bed.line(&name(*id))["outcome"], *outcome, "{script}");
    }
    drop(client);
    bed.assert_as_before("pipelined requests");
}

#[test]
fn pipelined_requests_behind_a_cut_answer_are_never_begun() {
    let bed = Bed::new(&PATIENCE);
    let (first, second) = (bed.next_id(), bed.next_id());
    let mut client = bed.gateway.connect();
    client.send(&[wild_request("half-an-event-and-resets", first), request_for("/good/mcp", second)].concat()).unwrap();
    let heard = hear(&mut client);
    assert_eq!((heard.status, heard.ends), (200, Ends::Cut));
    client.wait_for_end().unwrap();
    bed.assert_as_before("a cut answer with a request behind it");
    assert_eq!((bed.lines(&name(first)).len(), bed.lines(&name(second)).len()), (1, 0));
}

#[test]
fn a_client_that_takes_no_bytes_and_leaves_has_cancelled() {
    let bed = Bed::new(&PATIENCE);
    for how in [Leaving::Close, Leaving::Reset] {
        check_left(&bed, FLOOD.name, "xxx", how);
    }
}

#[test]
fn a_client_that_takes_no_bytes_keeps_nobody_else_waiting() {
    let bed = Bed::new(&PATIENCE);
    let clients: Vec<Connection> = (0..8)
        .map(|_| {
            let mut client = bed.gateway.connect();
            client.send(&wild_request(FLOOD.name, bed.next_id())).unwrap();
            client.head().unwrap();
            client
        })
        .collect();
    (0..50).for_each(|_| bed.call_good());
    assert_eq!(bed.call_wild("answers").1.status, 200);
    drop(clients);
    bed.assert_as_before("clients that took no bytes");
}

#[test]
fn a_client_that_leaves_after_it_asked_to_be_told_to_continue_has_cancelled() {
    let bed = Bed::new(&PATIENCE);
    let id = bed.next_id();
    let mut client = bed.gateway.connect();
    let headers = [("Expect", "100-continue"), ("X-Request-Id", &*name(id)), ("Content-Length", "10")];
    client.send(&request("POST", "/wild/answers", &headers, b"")).unwrap();
    assert_eq!(client.head().unwrap().status(), 100);
    drop(client);
    assert_eq!(bed.line(&name(id))["outcome"], "cancelled");
    bed.assert_as_before("a client that was told to continue");
}
