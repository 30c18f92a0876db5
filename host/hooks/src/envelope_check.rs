//! What edits must not change: JSON stays JSON, and the envelope of a message stays what it is.

use std::collections::BTreeMap;

use watchgate_mcp::{Envelope, ScanEnd, Scanner, json};

use crate::edit::MAX_BODY_BYTES;
use crate::message::Kind;

/// What an edited body breaks. Always the plugin's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenEnvelope {
    /// Larger than 16 MiB.
    #[error("the edited body is larger than 16 MiB")]
    TooLarge,
    /// Not one JSON text.
    #[error("the edited body is not JSON")]
    NotJson,
    /// Not one JSON-RPC message of the same kind.
    #[error("the edited body is not a JSON-RPC message of the same kind")]
    Kind,
    /// `id` differs.
    #[error("the edits change `id`")]
    Id,
    /// `method` differs.
    #[error("the edits change `method`")]
    Method,
    /// Not an object of strings with the same keys.
    #[error("the edited fields are not an object of strings with the same keys")]
    Fields,
}

/// Checks the edited body `new` of a message whose body was `old`.
pub(crate) fn check(kind: Kind, old: &[u8], new: &[u8]) -> Result<(), BrokenEnvelope> {
    if new.len() > MAX_BODY_BYTES {
        return Err(BrokenEnvelope::TooLarge);
    }
    if kind == Kind::Opaque {
        return Ok(());
    }
    json::validate(new).map_err(|_| BrokenEnvelope::NotJson)?;
    if kind == Kind::Fields { check_fields(old, new) } else { check_message(old, new) }
}

fn check_message(old: &[u8], new: &[u8]) -> Result<(), BrokenEnvelope> {
    let (was, is) = (envelope(old).ok_or(BrokenEnvelope::Kind)?, envelope(new).ok_or(BrokenEnvelope::Kind)?);
    if was.kind != is.kind {
        return Err(BrokenEnvelope::Kind);
    }
    // The scanner keeps no id beyond 256 bytes, and the first 128 bytes of a method.
    if was.id != is.id || was.id.is_none() && !same_value(old, new, "/id") {
        return Err(BrokenEnvelope::Id);
    }
    let is_cut = was.method_str().is_some_and(|method| method.len() >= MAX_METHOD_BYTES);
    if was.method != is.method || is_cut && !same_value(old, new, "/method") {
        return Err(BrokenEnvelope::Method);
    }
    Ok(())
}

/// The scanner cuts at a character, up to three bytes before 128.
const MAX_METHOD_BYTES: usize = 125;

/// The envelope of the one message that `body` is.
fn envelope(body: &[u8]) -> Option<Envelope> {
    let mut found = None;
    let mut sink = |envelope| found = Some(envelope);
    let mut scanner = Scanner::new();
    scanner.feed(body, &mut sink);
    let end = scanner.finish(&mut sink);
    found.filter(|_| end == ScanEnd::Complete && !scanner.is_batch())
}

fn same_value(old: &[u8], new: &[u8], pointer: &str) -> bool {
    let was = json::locate(old, pointer).ok().map(|range| &old[range]);
    let is = json::locate(new, pointer).ok().map(|range| &new[range]);
    match (was, is) {
        (Some([b'"', was @ .., b'"']), Some([b'"', is @ .., b'"'])) => was == is || json::decode(was) == json::decode(is),
        _ => was == is,
    }
}

fn check_fields(old: &[u8], new: &[u8]) -> Result<(), BrokenEnvelope> {
    let (was, is) = (fields(old).ok_or(BrokenEnvelope::Fields)?, fields(new).ok_or(BrokenEnvelope::Fields)?);
    if was.keys().eq(is.keys()) { Ok(()) } else { Err(BrokenEnvelope::Fields) }
}

/// Telemetry fields by name, when `body` is an object of strings.
pub(crate) fn fields(body: &[u8]) -> Option<BTreeMap<String, String>> {
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use super::{BrokenEnvelope, check};
    use crate::edit::MAX_BODY_BYTES;
    use crate::message::Kind;

    fn check_case(kind: Kind, old: &str, new: &str, expected: Result<(), BrokenEnvelope>) {
        assert_eq!(check(kind, old.as_bytes(), new.as_bytes()), expected, "{old} -> {new}");
    }

    #[test]
    fn requests_keep_id_and_method() {
        let old = r#"{"jsonrpc":"2.0","id":"a/b","method":"tools/call","params":{"name":"x"}}"#;
        let request = |new: &str, expected| check_case(Kind::Request, old, new, expected);
        request(old, Ok(()));
        request(r#"{"params":{"name":"y"},"method":"tools\/call","id":"a\/b","jsonrpc":"2.0"}"#, Ok(()));
        request(r#"{"jsonrpc":"2.0","id":"c","method":"tools/call"}"#, Err(BrokenEnvelope::Id));
        request(r#"{"jsonrpc":"2.0","id":"a/b","method":"tools/list"}"#, Err(BrokenEnvelope::Method));
        request(r#"{"jsonrpc":"2.0","method":"tools/call"}"#, Err(BrokenEnvelope::Kind));
        request(r#"{"id":"a/b","method":"tools/call"}"#, Err(BrokenEnvelope::Kind));
        request(r#"{"jsonrpc":"1.0","id":"a/b","method":"tools/call"}"#, Err(BrokenEnvelope::Kind));
        request(r#"{"jsonrpc":"2.0","id":"a/b","result":{}}"#, Err(BrokenEnvelope::Kind));
        request(&format!("[{old}]"), Err(BrokenEnvelope::Kind));
        request(&format!("{old}{old}"), Err(BrokenEnvelope::NotJson));
        request(&format!("{old},"), Err(BrokenEnvelope::NotJson));
        request("", Err(BrokenEnvelope::NotJson));
        request("<html>", Err(BrokenEnvelope::NotJson));
    }

    #[test]
    fn responses_keep_their_kind() {
        let result = r#"{"jsonrpc":"2.0","id":0,"result":{"a":1}}"#;
        let error = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"no"}}"#;
        check_case(Kind::Response, result, r#"{"jsonrpc":"2.0","id":0,"result":{}}"#, Ok(()));
        check_case(Kind::Response, result, error, Err(BrokenEnvelope::Kind));
        check_case(Kind::Error, error, result, Err(BrokenEnvelope::Kind));
        check_case(Kind::Response, result, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Err(BrokenEnvelope::Id));
        check_case(
            Kind::Error,
            r#"{"jsonrpc":"2.0","error":{"code":1}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#,
            Err(BrokenEnvelope::Id),
        );
    }

    #[test]
    fn long_ids_and_methods_are_compared_whole() {
        let long = |last: char| format!("{}{last}", "x".repeat(300));
        let with = |id: &str, method: &str| format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{method}"}}"#);
        check_case(Kind::Request, &with("1", &long('a')), &with("1", &long('b')), Err(BrokenEnvelope::Method));
        check_case(Kind::Request, &with("1", &long('a')), &with("1", &long('a')), Ok(()));
        assert_ne!(check(Kind::Request, with(&long('a'), "ping").as_bytes(), with(&long('b'), "ping").as_bytes()), Ok(()));
    }

    #[test]
    fn fields_stay_an_object_of_strings_with_the_same_keys() {
        let old = r#"{"name":"a","request":"b"}"#;
        let fields = |new: &str, expected| check_case(Kind::Fields, old, new, expected);
        fields(r#"{"request":"***","name":""}"#, Ok(()));
        fields(r#"{"name":"a"}"#, Err(BrokenEnvelope::Fields));
        fields(r#"{"name":"a","request":"b","more":"c"}"#, Err(BrokenEnvelope::Fields));
        fields(r#"{"name":"a","request":1}"#, Err(BrokenEnvelope::Fields));
        fields(r#"["name","request"]"#, Err(BrokenEnvelope::Fields));
        fields("{", Err(BrokenEnvelope::NotJson));
    }

    #[test]
    fn opaque_bodies_are_bounded_only() {
        check_case(Kind::Opaque, "<html>", "{", Ok(()));
        check_case(Kind::Opaque, "<html>", &" ".repeat(MAX_BODY_BYTES + 1), Err(BrokenEnvelope::TooLarge));
    }
}
