//! Hostile bodies pass as they are, or are too large; the gateway lives on in bounded memory.

use serde_json::json;
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::{Gateway, Scripted};

use crate::messages::{answer, assert_own_error, tool_call};

/// The default cap on a request body.
const CAP: usize = 16 << 20;

/// The most memory that the gateway has ever held, in bytes.
pub fn peak_memory(gateway: &Gateway) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// An upstream that sends back what it gets: as a document, or as one event where it is asked to.
fn echo() -> Scripted {
    Scripted::start(|exchange| {
        let body = exchange.request.body.clone();
        if exchange.request.head.target() == "/stream" {
            exchange.event_stream()?;
            exchange.chunk([b"data: ", body.as_slice(), b"\n\n"].concat())?;
            return exchange.end();
        }
        exchange.json(200, body)
    })
}

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let deep = 100_000;
    let long = 1 << 20;
    vec![
        ("nothing", Vec::new()),
        ("not JSON", b"GET / HTTP/1.0".to_vec()),
        ("zeros", vec![0; 4096]),
        ("invalid UTF-8", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\",\"params\":{\"name\":\"\xc0\x80\"}}".to_vec()),
        ("not an object", b"null".to_vec()),
        ("not JSON-RPC", b"{\"a\":[1,2,3]}".to_vec()),
        ("cut off", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a".to_vec()),
        ("arrays 100 000 deep", [vec![b'['; deep], vec![b']'; deep]].concat()),
        ("arrays 100 000 deep, never closed", vec![b'['; deep]),
        ("objects 100 000 deep", ["{\"a\":".repeat(deep), "1".into(), "}".repeat(deep)].concat().into_bytes()),
        (
            "params 100 000 deep, then the envelope",
            ["{\"params\":{\"name\":", &"[".repeat(deep), &"]".repeat(deep), "},\"method\":\"tools/call\",\"id\":9,\"jsonrpc\":\"2.0\"}"]
                .concat()
                .into_bytes(),
        ),
        ("a method of a megabyte", json!({"jsonrpc": "2.0", "id": 1, "method": "m".repeat(long)}).to_string().into_bytes()),
        ("a name of a megabyte", tool_call(1, &"n".repeat(long)).to_string().into_bytes()),
        ("an id of a megabyte", json!({"jsonrpc": "2.0", "id": "i".repeat(long), "method": "ping"}).to_string().into_bytes()),
        ("an id that is an object", b"{\"jsonrpc\":\"2.0\",\"id\":{\"a\":1},\"method\":\"ping\"}".to_vec()),
        ("lone surrogates", b"{\"jsonrpc\":\"2.0\",\"id\":\"\\ud800\",\"method\":\"\\udfff\\u0000\"}".to_vec()),
        ("the same key twice", b"{\"id\":1,\"id\":2,\"method\":\"a\",\"method\":\"b\",\"jsonrpc\":\"2.0\"}".to_vec()),
        ("a number of 100 000 digits", ["{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":", &"9".repeat(deep), "}"].concat().into_bytes()),
        ("two documents", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} {\"jsonrpc\":\"2.0\",\"id\":2}".to_vec()),
        ("an empty batch", b"[]".to_vec()),
        ("a batch of nonsense", b"[1,null,\"x\",[],{}]".to_vec()),
    ]
}

#[test]
fn hostile_bodies_pass_as_they_are() {
    let upstream = echo();
    let gateway = Gateway::before(&upstream.url());
    for (what, body) in bodies() {
        let reply = gateway.call("POST", "/mcp", &MCP_POST, &body);
        assert_eq!(reply.status(), 200, "{what}");
        assert!(reply.body == body, "{what}: the answer differs");
        assert!(upstream.requests().last().unwrap().body == body, "{what}: the request differs");
        let reply = gateway.call("POST", "/stream", &MCP_POST, &body);
        assert!(reply.body == [b"data: ", body.as_slice(), b"\n\n"].concat(), "{what}: the event differs");
    }
    assert_eq!(gateway.admin_get("/health/live").status(), 200);
    let metrics = gateway.metrics();
    let longest = metrics.text().lines().map(str::len).max().unwrap();
    assert!(longest < 4096, "a hostile body made a line of {longest} bytes in the metrics");
}

#[test]
fn a_batch_is_tolerated() {
    let upstream = echo();
    let gateway = Gateway::before(&upstream.url());
    let batch = json!([tool_call(1, "a"), {"jsonrpc": "2.0", "method": "notifications/initialized"}, tool_call(2, "b")]);
    let reply = gateway.post("/mcp", &batch);
    assert_eq!((reply.status(), reply.json().unwrap()), (200, batch.clone()));
    assert_eq!(upstream.requests()[0].body, batch.to_string().as_bytes());
}

#[test]
fn a_body_of_exactly_the_cap_passes() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    let mut body = tool_call(1, "t").to_string().into_bytes();
    body.resize(CAP, b' ');
    assert_eq!(gateway.call("POST", "/mcp", &MCP_POST, &body).status(), 200);
    assert_eq!(upstream.requests()[0].body.len(), CAP);
}

#[test]
fn a_body_over_the_cap_is_refused() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    for size in [CAP + 1, 50 << 20] {
        let mut body = tool_call(1, "t").to_string().into_bytes();
        body.resize(size, b' ');
        let reply = gateway.call("POST", "/mcp", &MCP_POST, &body);
        // The id may lie in what was never read.
        let id = reply.json().unwrap()["id"].clone();
        assert!(id.is_null() || id == 1, "{id}");
        assert_own_error(&reply, 413, -31002, &id);
    }
    assert_eq!(upstream.requests().len(), 0);
    assert_eq!(gateway.post("/mcp", &tool_call(2, "t")).status(), 200);
}

#[test]
fn a_body_over_the_cap_that_does_not_say_its_length_is_refused() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    client.send(&request("POST", "/mcp", &[("Transfer-Encoding", "chunked")], b"")).unwrap();
    let chunk = [format!("{:x}\r\n", 1 << 20).into_bytes(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    // Fails when the gateway stops reading, which is its right.
    let _ = (0..50).try_for_each(|_| client.send(&chunk));
    assert_eq!(client.reply().unwrap().status(), 413);
    assert_eq!(upstream.requests().len(), 0);
    assert!(peak_memory(&gateway) < 128 << 20);
}

#[test]
fn an_answer_of_any_size_streams_through_bounded_memory() {
    const MEGABYTES: usize = 300;
    let upstream = Scripted::start(|exchange| {
        exchange.chunked(200, &[("Content-Type", "application/json")])?;
        exchange.chunk("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"")?;
        for _ in 0..MEGABYTES {
            exchange.chunk(vec![b'x'; 1 << 20])?;
        }
        exchange.chunk("\"}],\"isError\":true}}")?;
        exchange.end()
    });
    let gateway = Gateway::before(&upstream.url());
    let reply = gateway.post("/mcp", &tool_call(1, "t"));
    assert!(reply.body.len() > MEGABYTES << 20 && reply.body.ends_with(b"\"isError\":true}}"));
    let peak = peak_memory(&gateway);
    assert!(peak < 96 << 20, "the gateway held {peak} bytes");
}

#[test]
fn a_request_that_is_not_http_is_refused_and_nothing_else() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    for nonsense in [b"\x16\x03\x01\x02\x00\x01\x00".as_slice(), b"hello\r\n\r\n", &[b'A'; 200_000]] {
        let mut client = gateway.connect();
        // Fails when the gateway closes in the middle of it, which is its right.
        let _ = client.send(nonsense).and_then(|()| client.finish_sending());
        client.wait_for_end().unwrap();
    }
    assert_eq!(upstream.requests().len(), 0);
    assert_eq!(gateway.post("/mcp", &tool_call(2, "t")).status(), 200);
}
