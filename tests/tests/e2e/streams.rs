//! Streams: each event at once, heads at once, and a client that leaves is noticed at once.

use std::time::Duration;

use serde_json::json;
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::{Connection, Gate, Gateway, GatewayOptions, Scripted, wait_until};

use crate::messages::{answer, event, tool_call, tool_result};

/// What "at once" may take on a loaded machine; far below any timeout of the gateway's own.
const AT_ONCE: Duration = Duration::from_secs(2);

fn open(gateway: &Gateway, method: &str, body: &[u8]) -> Connection {
    let mut client = gateway.connect();
    client.send(&request(method, "/mcp", &[("Accept", "text/event-stream")], body)).unwrap();
    client
}

fn post(gateway: &Gateway) -> Connection {
    open(gateway, "POST", tool_call(1, "slow").to_string().as_bytes())
}

#[test]
fn an_event_arrives_before_the_next_one_is_written() {
    const EVENTS: usize = 5;
    let gates: Vec<Gate> = (0..EVENTS).map(|_| Gate::default()).collect();
    let upstream = Scripted::start({
        let gates = gates.clone();
        move |exchange| {
            exchange.event_stream()?;
            for (n, gate) in gates.iter().enumerate() {
                exchange.chunk(event(&format!("{{\"n\":{n}}}")))?;
                gate.wait("the client has the event");
            }
            exchange.chunk(event(&tool_result(&exchange.request.id(), "end")))?;
            exchange.end()
        }
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = post(&gateway);
    assert_eq!(client.head().unwrap().header("content-type"), Some("text/event-stream"));
    for (n, gate) in gates.iter().enumerate() {
        assert_eq!(client.body_until("\n\n").unwrap(), event(&format!("{{\"n\":{n}}}")).as_bytes());
        gate.open();
    }
    assert_eq!(client.body().unwrap(), event(&tool_result(&json!(1), "end")).as_bytes());
}

#[test]
fn half_an_event_does_not_hold_back_the_ones_before_it() {
    let client_has_it = Gate::default();
    let upstream = Scripted::start({
        let gate = client_has_it.clone();
        move |exchange| {
            exchange.event_stream()?;
            exchange.chunk(": a comment\n\ndata: {\"a\":1}\n\ndata: {\"b\"")?;
            gate.wait("the client has the first event");
            exchange.chunk(":2}\n\n")?;
            exchange.end()
        }
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = post(&gateway);
    client.head().unwrap();
    let mut seen = client.body_until("data: {\"a\":1}\n\n").unwrap();
    client_has_it.open();
    seen.extend(client.body().unwrap());
    assert_eq!(seen, b": a comment\n\ndata: {\"a\":1}\n\ndata: {\"b\":2}\n\n");
}

fn check_bytes_kept(stream: &'static [u8], piece: usize) {
    let upstream = Scripted::start(move |exchange| {
        exchange.event_stream()?;
        stream.chunks(piece).try_for_each(|bytes| exchange.chunk(bytes))?;
        exchange.end()
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = post(&gateway);
    client.head().unwrap();
    assert_eq!(client.body().unwrap(), stream);
}

#[test]
fn a_stream_keeps_its_bytes_however_it_is_cut() {
    const STREAM: &[u8] =
        b"\xef\xbb\xbfid: 1\r\ndata:\r\nretry: 100\r\n\r\n: ping - now\r\n\r\nevent: message\r\ndata: {\"jsonrpc\":\"2.0\",\r\n\
        data:  \"id\":1,\r\ndata: \"result\":{}}\r\n\r\ndata: not json\n\n: keepalive\n\ndata: {\"a\":\"\xff\"}\r\rfield without colon\n\n\
        id: \ndata: cut off here";
    for piece in [1, 2, 3, 7, STREAM.len()] {
        check_bytes_kept(STREAM, piece);
    }
}

#[test]
fn the_head_of_a_silent_stream_arrives_at_once() {
    let upstream = Scripted::start(|exchange| {
        exchange.event_stream()?;
        exchange.client_left().map(drop)
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = open(&gateway, "GET", b"");
    let head = client.head().unwrap();
    assert_eq!((head.status(), head.header("content-type")), (200, Some("text/event-stream")));
}

/// Lets the client leave once `upstream` has done its part; gives the outcome of the access line.
fn check_leaving_is_noticed(
    method: &str,
    begin: impl Fn(&mut watchgate_tests::Exchange) -> anyhow::Result<()> + Send + Sync + 'static,
    reads: &str,
) -> String {
    let (arrived, noticed) = (Gate::default(), Gate::default());
    let upstream = Scripted::start({
        let (arrived, noticed) = (arrived.clone(), noticed.clone());
        move |exchange| {
            begin(exchange)?;
            arrived.open();
            assert!(exchange.client_left()? < AT_ONCE);
            noticed.open();
            Ok(())
        }
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = if method == "GET" { open(&gateway, "GET", b"") } else { post(&gateway) };
    arrived.wait("the request is upstream");
    if !reads.is_empty() {
        client.head().unwrap();
        client.body_until(reads).unwrap();
    }
    drop(client);
    noticed.wait("the upstream sees that the client left");
    let line = wait_until("an access line", || gateway.access_log().pop());
    line["outcome"].as_str().unwrap_or_else(|| panic!("no outcome in {line}")).to_owned()
}

#[test]
fn a_client_that_leaves_before_the_head_cancels_its_request() {
    assert_eq!(check_leaving_is_noticed("POST", |_| Ok(()), ""), "cancelled");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_stream_cancels_its_request() {
    let begin = |exchange: &mut watchgate_tests::Exchange| {
        exchange.event_stream()?;
        exchange.chunk("data: 1\n\n")
    };
    assert_eq!(check_leaving_is_noticed("POST", begin, "data: 1\n\n"), "cancelled");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_document_cancels_its_request() {
    let begin = |exchange: &mut watchgate_tests::Exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"a\"")
    };
    assert_eq!(check_leaving_is_noticed("POST", begin, "{\"a\""), "cancelled");
}

#[test]
fn leaving_a_get_stream_is_how_such_a_stream_ends() {
    let begin = |exchange: &mut watchgate_tests::Exchange| {
        exchange.event_stream()?;
        exchange.chunk("data: 1\n\n")
    };
    assert_eq!(check_leaving_is_noticed("GET", begin, "data: 1\n\n"), "ok");
}

#[test]
fn a_stream_that_the_upstream_cuts_is_cut_for_the_client_too() {
    let client_has_it = Gate::default();
    let upstream = Scripted::start({
        let gate = client_has_it.clone();
        move |exchange| {
            exchange.event_stream()?;
            exchange.chunk("data: 1\n\n")?;
            gate.wait("the client has the first event");
            exchange.reset();
            Ok(())
        }
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = post(&gateway);
    client.head().unwrap();
    client.body_until("data: 1\n\n").unwrap();
    client_has_it.open();
    client.body().expect_err("a cut stream must not look finished");
    let line = wait_until("an access line", || gateway.access_log().pop());
    assert_eq!(line["outcome"], "aborted", "{line}");
}

#[test]
fn a_slow_reader_slows_the_upstream_down_and_nothing_else() {
    // Far more than the sockets on the way can hold.
    const PIECES: usize = 256;
    let piece = format!("data: \"{}\"\n\n", "x".repeat(1 << 20));
    let stalled = Gate::default();
    let upstream = Scripted::start({
        let (piece, stalled) = (piece.clone(), stalled.clone());
        move |exchange| {
            if exchange.request.head.method() != "GET" {
                return answer(exchange);
            }
            exchange.event_stream()?;
            stalled.open();
            for _ in 0..PIECES {
                exchange.chunk(&piece)?;
            }
            exchange.end()
        }
    });
    let gateway = Gateway::before(&upstream.url());
    let mut slow = open(&gateway, "GET", b"");
    stalled.wait("the stream has begun");
    for id in 0..50 {
        assert_eq!(gateway.post("/mcp", &tool_call(id, "t")).status(), 200);
    }
    assert!(crate::hostile::peak_memory(&gateway) < 96 << 20, "the gateway keeps what the client does not read");
    slow.head().unwrap();
    let mut read = 0;
    while let Some(bytes) = slow.body_piece().unwrap() {
        read += bytes.len();
    }
    assert_eq!(read, PIECES * piece.len());
}

#[test]
fn a_stream_outlives_the_deadline_of_heads() {
    let goes_on = Gate::default();
    let upstream = Scripted::start({
        let gate = goes_on.clone();
        move |exchange| {
            if exchange.request.head.method() != "GET" {
                return exchange.client_left().map(drop);
            }
            exchange.event_stream()?;
            gate.wait("another request has timed out");
            exchange.chunk("data: still here\n\n")?;
            exchange.end()
        }
    });
    let config = format!("[proxy]\nhead_timeout = \"200ms\"\n[servers.s]\nurl = \"{}\"\n", upstream.url());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    let mut stream = gateway.connect();
    stream.send(&request("GET", "/s/mcp", &MCP_POST, b"")).unwrap();
    assert_eq!(stream.head().unwrap().status(), 200);
    assert_eq!(gateway.post("/s/mcp", &tool_call(1, "t")).status(), 504);
    goes_on.open();
    assert_eq!(stream.body().unwrap(), b"data: still here\n\n");
}
