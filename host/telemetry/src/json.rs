//! Writes one JSON object member by member, without building it first.

use serde::Serialize;

/// Appends a member to an object that was begun with `{`. `name` is one of our own and needs no escaping.
pub(crate) fn member(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    let start = out.len();
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    if serde_json::to_writer(&mut *out, value).is_err() {
        // Memory takes any write, and what is given has a JSON form; half a member would break the line all the same.
        out.truncate(start);
    }
}
