//! The requests of the gateway itself are what the scanner and a parser expect of a client.
#![allow(clippy::unwrap_used, missing_docs)]

use serde_json::{Value, json};
use watchgate_mcp::request::{self, Answer, InvalidParams};
use watchgate_mcp::{Envelope, MessageKind, RequestId, ScanEnd, Scanner};

fn scan(body: &[u8]) -> Envelope {
    let (mut scanner, mut envelopes) = (Scanner::new(), Vec::new());
    scanner.feed(body, &mut |envelope| envelopes.push(envelope));
    assert_eq!(scanner.finish(&mut |_| {}), ScanEnd::Complete);
    envelopes.pop().unwrap()
}

fn check(body: &[u8], kind: MessageKind, method: &str, version: Option<&str>) {
    let envelope = scan(body);
    assert_eq!((envelope.kind, envelope.method_str()), (kind, Some(method)));
    assert_eq!(envelope.protocol_version.as_deref(), version);
    assert_eq!(envelope.peer_name.as_deref(), version.map(|_| "watchgate"));
    if kind == MessageKind::Request {
        assert_eq!(envelope.id, Some(RequestId::from(7)));
    }
}

#[test]
fn requests_introduce_the_gateway_in_the_way_of_their_era() {
    check(&request::initialize(7), MessageKind::Request, "initialize", Some("2025-11-25"));
    check(&request::initialized(), MessageKind::Notification, "notifications/initialized", None);
    check(&request::server_discover(7), MessageKind::Request, "server/discover", Some("2026-07-28"));
    check(&request::call(7, "tools/list", None, true).unwrap(), MessageKind::Request, "tools/list", Some("2026-07-28"));
    check(&request::call(7, "tools/list", None, false).unwrap(), MessageKind::Request, "tools/list", None);
}

#[test]
fn parameters_keep_what_they_have_and_gain_what_is_required() {
    let params =
        r#"{"name":"a\"b","_meta":{"old":1},"_meta":{"progressToken":0,"io.modelcontextprotocol/protocolVersion":"x"},"arguments":{}}"#;
    let body = request::call("id", "tools/call", Some(params), true).unwrap();
    let tree: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(tree["id"], "id");
    assert_eq!(tree["params"]["name"], "a\"b");
    let meta = tree["params"]["_meta"].as_object().unwrap();
    assert_eq!(meta["progressToken"], 0);
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "x");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "watchgate");
    assert_eq!(meta.len(), 4);

    let legacy = request::call(1, "tools/call", Some(params), false).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&legacy).unwrap()["params"]["_meta"],
        json!({"progressToken": 0, "io.modelcontextprotocol/protocolVersion": "x"})
    );
}

#[test]
fn parameters_that_are_no_object_are_refused() {
    for params in ["", "[]", "1", "{", "{} {}"] {
        assert_eq!(request::call(1, "x", Some(params), true), Err(InvalidParams::NotAnObject), "{params}");
        assert_eq!(request::call(1, "x", Some(params), false), Err(InvalidParams::NotAnObject), "{params}");
    }
    assert_eq!(request::call(1, "x", Some(r#"{"_meta":[]}"#), true), Err(InvalidParams::MetaNotAnObject));
}

#[test]
fn only_the_answer_to_the_request_is_one() {
    let check = |body: &str, expected: Option<(bool, &str)>| {
        let answer = request::answer(body.as_bytes(), &RequestId::from(1));
        let found = answer.map(|answer| match answer {
            Answer::Result(range) => (true, &body[range]),
            Answer::Error(range) => (false, &body[range]),
        });
        assert_eq!(found, expected, "{body}");
    };
    check(r#"{"result": {"a": 1} ,"jsonrpc":"2.0","id":1}"#, Some((true, r#"{"a": 1}"#)));
    check(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1}}"#, Some((false, r#"{"code":-1}"#)));
    for body in [
        "",
        "[]",
        r#"{"jsonrpc":"2.0","id":"1","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"id":1,"method":"ping"}"#,
        r#"{"id":1,"result":{},"error":{}}"#,
        r#"{"id":1,"result":{"#,
        r#"{"result":{}}"#,
    ] {
        check(body, None);
    }
}
