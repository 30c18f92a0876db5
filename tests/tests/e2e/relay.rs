//! What crosses the gateway crosses unchanged, in both directions.

use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::{Gateway, GatewayOptions, Scripted};

use crate::messages::{answer, tool_call};

/// Headers that belong to one connection, or to the framing of one.
const PER_CONNECTION: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "content-length"];

/// What must reach the other side: all but the connection's own headers, in an order that keeps
/// that of equal names.
fn end_to_end(headers: &[(String, String)]) -> Vec<(String, String)> {
    let mut kept: Vec<_> = headers.iter().filter(|(name, _)| !PER_CONNECTION.contains(&name.as_str())).cloned().collect();
    kept.sort_by(|(a, _), (b, _)| a.cmp(b));
    kept
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect()
}

fn check_response(status: u16, headers: &'static [(&str, &str)], body: &'static [u8]) {
    let upstream = Scripted::start(move |exchange| exchange.respond(status, headers, body));
    let gateway = Gateway::before(&upstream.url());
    let reply = gateway.post("/mcp", &tool_call(1, "t"));
    assert_eq!(reply.status(), status);
    assert_eq!(end_to_end(&reply.head.headers), end_to_end(&owned(headers)));
    assert_eq!(reply.body, body);
}

#[test]
fn a_result_crosses_unchanged() {
    check_response(
        200,
        &[
            ("Content-Type", "application/json; charset=utf-8"),
            ("Mcp-Session-Id", "s-1"),
            ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("X-Odd", "inner  spaces, \"quotes\"; and = signs"),
            ("Access-Control-Expose-Headers", "mcp-session-id"),
        ],
        b" { \"result\" : { \"content\" : [ ] } ,\n\t\"id\":1,\"jsonrpc\":\"2.0\"} \r\n",
    );
}

#[test]
fn an_accepted_notification_crosses_unchanged() {
    check_response(202, &[], b"");
}

#[test]
fn an_error_body_crosses_verbatim_whatever_its_status() {
    const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
    const HTML: &[(&str, &str)] = &[("Content-Type", "text/html"), ("Retry-After", "7")];
    const CHALLENGE: &[(&str, &str)] =
        &[("WWW-Authenticate", "Bearer resource_metadata=\"https://mcp.example/.well-known\", scope=\"a b\"")];
    check_response(400, JSON, br#"{"jsonrpc":"2.0","error":{"code":-32022,"message":"Unsupported"},"id":null}"#);
    check_response(401, CHALLENGE, b"");
    check_response(404, JSON, br#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":1}"#);
    check_response(404, &[], b"no such session");
    check_response(405, &[("Allow", "POST")], b"");
    check_response(421, &[], b"Invalid Host header");
    check_response(500, HTML, b"<h1>\xff\xfe broken</h1>");
    check_response(503, HTML, b"<h1>try later</h1>");
}

#[test]
fn a_compressed_body_crosses_as_it_is() {
    check_response(200, &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")], b"\x1f\x8b\x08\x00\x00");
}

#[test]
fn headers_of_the_connection_stay_on_their_connection() {
    let upstream = Scripted::start(|exchange| {
        exchange.respond(200, &[("Connection", "keep-alive, X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "timeout=5"), ("X-Kept", "1")], b"")
    });
    let gateway = Gateway::before(&upstream.url());
    let headers = [("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("X-Stays", "1"), ("Keep-Alive", "timeout=9")];
    let reply = gateway.call("POST", "/mcp", &headers, b"{}");
    assert_eq!((reply.head.header("x-mine"), reply.head.header("keep-alive")), (None, None));
    assert_eq!(reply.head.header("x-kept"), Some("1"));
    let arrived = &upstream.requests()[0].head;
    assert_eq!((arrived.header("x-hop"), arrived.header("keep-alive")), (None, None));
    assert_eq!(arrived.header("x-stays"), Some("1"));
}

fn check_request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
    let upstream = Scripted::start(answer);
    // On loopback the gateway lets in only names of this machine unless it is told otherwise.
    let config =
        format!("[guard]\nhosts = [\"mcp.example\", \"localhost\"]\n[servers.default]\nurl = \"{}\"\nmount = \"root\"\n", upstream.url());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    gateway.call(method, target, headers, body);
    let arrived = &upstream.requests()[0];
    assert_eq!((arrived.head.method(), arrived.head.target()), (method, target));
    assert_eq!(end_to_end(&arrived.head.headers), end_to_end(&owned(headers)));
    assert_eq!(arrived.body, body);
}

#[test]
fn a_request_crosses_unchanged() {
    let headers = [
        ("Host", "mcp.example:8080"),
        ("User-Agent", "peer/1"),
        ("Accept", "application/json, text/event-stream"),
        ("Accept-Encoding", "gzip, deflate"),
        ("Authorization", "Bearer not-for-logs"),
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "=?base64?w6Y=?="),
        ("Mcp-Param-Region", "eu west"),
        ("Mcp-Session-Id", "s-1"),
        ("Origin", "http://localhost:6274"),
        ("Last-Event-ID", "12_3"),
        ("Cookie", "a=1; b=2"),
        ("X-Forwarded-For", "192.0.2.1"),
    ];
    let body = b"{\"method\" : \"tools/call\",\"params\":{\"name\":\"\\u00e6\"},\"jsonrpc\":\"2.0\",\"id\":0}";
    check_request("POST", "/mcp", &headers, body);
    check_request("GET", "/mcp?a=%2F&b=c%20d&&e=+#".trim_end_matches('#'), &headers[..8], b"");
    check_request("DELETE", "/deep//path/%7Euser/./x", &headers[..8], b"");
    check_request("OPTIONS", "/.well-known/oauth-protected-resource", &headers[..8], b"");
    check_request("PUT", "/", &headers[..8], b"\x00\xff");
}

#[test]
fn a_request_body_in_chunks_arrives_whole() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    let headers = [MCP_POST[0], MCP_POST[1], ("Transfer-Encoding", "chunked")];
    client.send(&request("POST", "/mcp", &headers, b"")).unwrap();
    let message = tool_call(3, "chunked").to_string();
    for byte in message.as_bytes() {
        client.send(&[b"1\r\n", [*byte].as_slice(), b"\r\n"].concat()).unwrap();
    }
    client.send(b"0\r\n\r\n").unwrap();
    assert_eq!(client.reply().unwrap().status(), 200);
    assert_eq!(upstream.requests()[0].body, message.as_bytes());
}

#[test]
fn a_client_that_waits_to_be_told_to_continue_is_told() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    let message = tool_call(4, "t").to_string();
    let length = message.len().to_string();
    let headers = [MCP_POST[0], ("Content-Length", length.as_str()), ("Expect", "100-continue")];
    client.send(&request("POST", "/mcp", &headers, b"")).unwrap();
    assert_eq!(client.head().unwrap().status(), 100);
    client.send(message.as_bytes()).unwrap();
    assert_eq!(client.reply().unwrap().status(), 200);
    assert_eq!(upstream.requests()[0].body, message.as_bytes());
}

#[test]
fn connections_are_kept_on_both_sides() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    for id in 0..20 {
        client.send(&request("POST", "/mcp", &MCP_POST, tool_call(id, "t").to_string().as_bytes())).unwrap();
        assert_eq!(client.reply().unwrap().json().unwrap()["id"], id);
    }
    assert_eq!(upstream.requests().len(), 20);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    let requests: Vec<u8> = (0..5).flat_map(|id| request("POST", "/mcp", &MCP_POST, tool_call(id, "t").to_string().as_bytes())).collect();
    client.send(&requests).unwrap();
    for id in 0..5 {
        assert_eq!(client.reply().unwrap().json().unwrap()["id"], id);
    }
}
