//! Bodies and events that policies change, and policies that come and go.

use serde_json::json;
use watchgate_tests::{Gate, Scripted};

use crate::rig::Rig;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"text":"SECRET"}}}"#;

#[test]
fn requests_and_answers_are_changed_and_their_length_follows() {
    let upstream = Scripted::start(|exchange| exchange.json(200, r#"{"jsonrpc":"2.0","id":1,"result":{"text":"a SECRET"}}"#));
    let reply = Rig::before(&upstream.url()).post(CALL);
    assert_eq!(reply.json().unwrap()["result"]["text"], "a ***");
    let received = &upstream.requests()[0];
    assert_eq!(String::from_utf8_lossy(&received.body), CALL.replace("SECRET", "***"));
    assert_eq!(received.head.header("content-length"), Some(received.body.len().to_string().as_str()));
}

#[test]
fn one_element_of_a_batch_is_changed_and_the_rest_is_left_byte_for_byte() {
    let batch = format!("[ {CALL} ,\n {{\"id\": 2, \"jsonrpc\":\"2.0\",\"method\":\"ping\"}} ]");
    let upstream = Scripted::start(|exchange| exchange.json(200, "[]"));
    Rig::before(&upstream.url()).post(&batch);
    assert_eq!(String::from_utf8_lossy(&upstream.requests()[0].body), batch.replace("SECRET", "***"));
}

#[test]
fn events_are_changed_one_by_one_whatever_the_chunks_and_lines() {
    let stream = "\u{feff}: hello SECRET in a comment stays\n\nid: 1\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/message\",\ndata: \"params\":{\"data\":\"SECRET\"}}\n\n\
                  event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":\"SECRET\"}}\r\n\r\n";
    for size in [1, 2, 7, 64, 4096] {
        let upstream = Scripted::start(move |exchange| {
            exchange.event_stream()?;
            for piece in stream.as_bytes().chunks(size) {
                exchange.chunk(piece)?;
            }
            exchange.end()
        });
        let text = Rig::before(&upstream.url()).post(CALL).text();
        let (head, data) = text.split_at(text.find("id: 1").unwrap());
        assert!(head.contains("hello"), "comments pass");
        assert!(!data.contains("SECRET"), "chunks of {size}: {data}");
        assert!(data.contains("data: \"params\":{\"data\":\"***\"}}\n\n"), "{data}");
        assert!(data.ends_with("event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":\"***\"}}\r\n\r\n"), "{data}");
    }
}

#[test]
fn a_policy_that_comes_while_a_stream_is_open_sees_the_next_event() {
    let policy_is_live = Gate::default();
    let upstream = Scripted::start({
        let gate = policy_is_live.clone();
        move |exchange| {
            exchange.event_stream()?;
            exchange.chunk("data: {\"n\":\"SECRET\"}\n\ndata: {\"n\":\"half a SEC")?;
            gate.wait("the policy is live");
            exchange.chunk("RET\"}\n\ndata: {\"n\":\"SECRET\"}\n\n")?;
            exchange.chunk("data: {\"n\":\"a last SECRET\"}\n\n")?;
            exchange.end()
        }
    });
    let rig = Rig::bare(&upstream.url());
    let mut client = rig.open(&[], CALL);
    client.head().unwrap();
    let before = client.body_until("half a SEC").unwrap();
    assert!(String::from_utf8_lossy(&before).contains("{\"n\":\"SECRET\"}"), "without a policy bytes pass at once");
    rig.go_live();
    policy_is_live.open();
    let after = String::from_utf8(client.body().unwrap()).unwrap();
    // The event under way had begun to pass; those after it are the policy's.
    assert_eq!(after, "RET\"}\n\ndata: {\"n\":\"***\"}\n\ndata: {\"n\":\"a last ***\"}\n\n");
}

#[test]
fn a_stream_cut_inside_an_event_is_cut_and_shows_nothing_of_it() {
    let upstream = Scripted::start(|exchange| {
        exchange.event_stream()?;
        exchange.chunk("data: {\"n\":1}\n\ndata: {\"n\":\"SECRET")?;
        exchange.end()
    });
    let rig = Rig::before(&upstream.url());
    let mut client = rig.open(&[], CALL);
    client.head().unwrap();
    assert_eq!(client.body_until("\n\n").unwrap(), b"data: {\"n\":1}\n\n");
    assert!(client.body().is_err(), "a regular end would hide the cut");
}

#[test]
fn a_required_plugin_that_is_missing_means_503_with_the_id() {
    let upstream = Scripted::start(|exchange| exchange.json(200, "{}"));
    let rig = Rig::bare(&upstream.url());
    rig.live.swap(watchgate_hooks::HookSet { missing_required: vec!["p".into()], ..watchgate_hooks::HookSet::empty() });
    let reply = rig.post(CALL);
    assert_eq!(reply.status(), 503);
    let answer = reply.json().unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(-31005)));
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_required_policy_that_goes_ends_even_an_idle_stream() {
    let opened = Gate::default();
    let upstream = Scripted::start({
        let opened = opened.clone();
        move |exchange| {
            exchange.event_stream()?;
            exchange.chunk("data: {\"n\":1}\n\n")?;
            opened.open();
            exchange.client_left().map(drop)
        }
    });
    let rig = Rig::before(&upstream.url());
    let mut client = rig.open(&[], CALL);
    client.head().unwrap();
    client.body_until("\n\n").unwrap();
    opened.wait("the stream is open");
    rig.live.swap(watchgate_hooks::HookSet { missing_required: vec!["p".into()], ..watchgate_hooks::HookSet::empty() });
    assert!(client.body().is_err(), "a regular end would hide the cut");
}

#[test]
fn an_answer_whose_head_passed_before_the_policy_came_does_not_pass_unseen() {
    let policy_is_live = Gate::default();
    let upstream = Scripted::start({
        let gate = policy_is_live.clone();
        move |exchange| {
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n")?;
            gate.wait("the policy is live");
            exchange.write(b"{\"n\":\"SECRET")?;
            exchange.client_left().map(drop)
        }
    });
    let rig = Rig::bare(&upstream.url());
    let mut client = rig.open(&[], CALL);
    client.head().unwrap();
    rig.go_live();
    policy_is_live.open();
    assert!(client.body().is_err());
}

#[test]
fn a_keep_alive_line_does_not_hide_where_events_begin() {
    let policy_is_live = Gate::default();
    let upstream = Scripted::start({
        let gate = policy_is_live.clone();
        move |exchange| {
            exchange.event_stream()?;
            exchange.chunk(": ping\n")?;
            gate.wait("the policy is live");
            exchange.chunk("data: {\"n\":\"SECRET\"}\n\n")?;
            exchange.end()
        }
    });
    let rig = Rig::bare(&upstream.url());
    let mut client = rig.open(&[], CALL);
    client.head().unwrap();
    client.body_until("\n").unwrap();
    rig.go_live();
    policy_is_live.open();
    assert_eq!(String::from_utf8(client.body().unwrap()).unwrap(), "data: {\"n\":\"***\"}\n\n");
}

#[test]
fn the_length_of_an_answer_is_its_own_whatever_the_server_said() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1b\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"re\r\n15\r\nsult\":{\"text\":\"abc\"}}\r\n0\r\n\r\n";
    for with_policy in [false, true] {
        let upstream = Scripted::start(move |exchange| {
            exchange.write(answer)?;
            exchange.client_left().map(drop)
        });
        let rig = Rig::bare(&upstream.url());
        if with_policy {
            rig.go_live();
        }
        assert_eq!(rig.post(CALL).json().unwrap()["result"]["text"], "abc");
    }
}
