//! The JSON-RPC errors that are the gateway's own.

use crate::json;
use crate::request_id::RequestId;

/// A redaction plugin refused the message, or could not clear it. HTTP 200.
pub const DENIED: i64 = -31001;
/// The message is larger than the gateway gathers. HTTP 413.
pub const TOO_LARGE: i64 = -31002;
/// The client sent too much in too little time. HTTP 429.
pub const RATE_LIMITED: i64 = -31003;
/// No connection to the upstream server. HTTP 502.
pub const UNREACHABLE: i64 = -31004;
/// The gateway does not serve at present. HTTP 503.
pub const UNAVAILABLE: i64 = -31005;
/// The upstream server did not answer in time. HTTP 504.
pub const TIMEOUT: i64 = -31006;

/// A header does not say what the message says: the specification's own code (2026-07-28). HTTP 400.
pub const HEADER_MISMATCH: i64 = -32020;

/// A JSON-RPC error response of the gateway: without `id` when `None`, since in MCP an id is never null and an error may omit it; and `data` is `{source: "watchgate", reason, error_id}`.
pub fn response(id: Option<&RequestId>, code: i64, message: &str, reason: &str, error_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(160 + message.len() + reason.len() + error_id.len());
    out.extend_from_slice(br#"{"jsonrpc":"2.0","#);
    if let Some(id) = id {
        out.extend_from_slice(br#""id":"#);
        out.extend_from_slice(id.as_json().as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(br#""error":{"code":"#);
    out.extend_from_slice(code.to_string().as_bytes());
    out.extend_from_slice(br#","message":""#);
    json::escape_into(&mut out, message);
    out.extend_from_slice(br#"","data":{"source":"watchgate","reason":""#);
    json::escape_into(&mut out, reason);
    out.extend_from_slice(br#"","error_id":""#);
    json::escape_into(&mut out, error_id);
    out.extend_from_slice(br#""}}}"#);
    out
}

#[cfg(test)]
mod tests {
    use super::{DENIED, response};
    use crate::RequestId;
    use serde_json::{Value, json};

    fn check(id: Option<RequestId>, expected: &Value) {
        let body = response(id.as_ref(), DENIED, "say \"no\"\n", "denied", "e1");
        let error = json!({"code": -31001, "message": "say \"no\"\n",
            "data": {"source": "watchgate", "reason": "denied", "error_id": "e1"}});
        let mut expected_body = json!({"jsonrpc": "2.0", "error": error});
        if !expected.is_null() {
            expected_body["id"] = expected.clone();
        }
        let expected = expected_body;
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn the_error_carries_the_id_of_its_request() {
        check(None, &Value::Null);
        check(Some(RequestId::from(0)), &json!(0));
        check(Some(RequestId::from("a\"b")), &json!("a\"b"));
    }
}
