//! The JSON-RPC messages that the tests send, and the gateway's own errors that they expect.

use serde_json::{Value, json};
use watchgate_tests::{Exchange, Reply};

/// A `tools/call` of `tool`.
pub fn tool_call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"n": id}}})
}

/// The result of a tool that has one text to say.
pub fn tool_result(id: &Value, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}).to_string()
}

/// The result with which a plain upstream answers anything.
pub fn answer(exchange: &mut Exchange) -> anyhow::Result<()> {
    let result = tool_result(&exchange.request.id(), "done");
    exchange.json(200, result)
}

/// One event of a stream.
pub fn event(data: &str) -> String {
    format!("event: message\ndata: {data}\n\n")
}

/// Checks that `reply` is an error of the gateway's own making for the request with this id.
#[track_caller]
pub fn assert_own_error(reply: &Reply, status: u16, code: i64, id: &Value) {
    assert_eq!(reply.status(), status, "{}", reply.text());
    let body = reply.json().unwrap();
    assert_eq!(body["jsonrpc"], "2.0", "{body}");
    assert_eq!(body["error"]["code"], code, "{body}");
    assert_eq!(body["error"]["data"]["source"], "watchgate", "{body}");
    assert!(body["error"]["data"]["error_id"].is_string(), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    assert_eq!(&body["id"], id, "{body}");
    assert_eq!(reply.head.header("content-type"), Some("application/json"));
}
