//! Trace context in `params._meta` of a message (SEP-414): put in, or put in place of what is there, and every other byte as it was.

use std::ops::Range;

use crate::json::{self, object_members};

/// What becomes of a message's trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaTrace {
    /// A `traceparent` that is there is replaced, with its `tracestate`; a message without one stays as it is.
    Rewrite,
    /// The same, and a message without one gets one, and `params` to hold it where it has none.
    Add,
}

/// The message with this trace context; `None` where it stays as it is: no JSON object with `params` (or a `_meta`) that could hold it, keys that
/// stand twice, or nothing to replace.
pub fn with_trace(body: &[u8], how: MetaTrace, traceparent: &str, tracestate: Option<&str>) -> Option<Vec<u8>> {
    let whole = 0..body.len();
    let Some(params) = member(body, whole.clone(), "params")? else {
        // Only what has a method can have parameters.
        member(body, whole.clone(), "method")??;
        let text = format!("\"params\":{{\"_meta\":{{{}}}}}", members(traceparent, tracestate));
        return (how == MetaTrace::Add).then(|| insert(body, &whole, &text)).flatten();
    };
    let Some(meta) = member(body, params.clone(), "_meta")? else {
        let text = members(traceparent, tracestate);
        return (how == MetaTrace::Add).then(|| insert(body, &params, &format!("\"_meta\":{{{text}}}"))).flatten();
    };
    let parent = member(body, meta.clone(), "traceparent")?;
    let state = member(body, meta.clone(), "tracestate")?;
    let Some(parent) = parent else {
        let text = members(traceparent, tracestate.filter(|_| state.is_none()));
        return (how == MetaTrace::Add).then(|| insert(body, &meta, &text)).flatten();
    };
    let mut edits = vec![(parent, quoted(traceparent))];
    if let (Some(state), Some(text)) = (state, tracestate) {
        edits.push((state, quoted(text)));
        edits.sort_by_key(|(range, _)| range.start);
    }
    Some(json::splice(body, &edits))
}

/// What `_meta` has under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaText {
    /// Nothing, or more than one value.
    Absent,
    /// A string, decoded.
    Text(String),
    /// Something else.
    NotAString,
}

impl MetaText {
    /// The string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::NotAString => None,
        }
    }
}

/// `traceparent`, `tracestate` and `baggage` of a message's `_meta`.
pub fn trace_of(body: &[u8]) -> [MetaText; 3] {
    let meta = || member(body, member(body, 0..body.len(), "params")??, "_meta")?;
    let meta = meta();
    ["traceparent", "tracestate", "baggage"].map(|name| {
        let Some(value) = meta.clone().and_then(|meta| body.get(member(body, meta, name)??)) else { return MetaText::Absent };
        let content = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        content.and_then(json::decode).map_or(MetaText::NotAString, |text| MetaText::Text(text.into_owned()))
    })
}

/// The value of an object's member, in `body`. `None` when it is no object or holds the key twice, `Some(None)` when it does not hold it.
fn member(body: &[u8], object: Range<usize>, wanted: &str) -> Option<Option<Range<usize>>> {
    let text = body.get(object.clone())?;
    let start = object.start + text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let members = object_members(body.get(start..object.end)?)?;
    let mut found = members.iter().filter(|member| {
        body.get(start + member.key.start..start + member.key.end).and_then(json::decode).is_some_and(|key| key == wanted)
    });
    let first = found.next().map(|member| start + member.value.start..start + member.value.end);
    found.next().is_none().then_some(first)
}

/// `text` as the first members of an object.
fn insert(body: &[u8], object: &Range<usize>, text: &str) -> Option<Vec<u8>> {
    let open = object.start + body.get(object.clone())?.iter().position(|byte| *byte == b'{')?;
    let is_empty = body.get(open + 1..object.end)?.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let text = if is_empty { text.to_owned() } else { format!("{text},") };
    Some(json::splice(body, &[(open + 1..open + 1, text.into_bytes())]))
}

fn members(traceparent: &str, tracestate: Option<&str>) -> String {
    let parent = String::from_utf8_lossy(&quoted(traceparent)).into_owned();
    match tracestate {
        Some(state) => format!("\"traceparent\":{parent},\"tracestate\":{}", String::from_utf8_lossy(&quoted(state))),
        None => format!("\"traceparent\":{parent}"),
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    json::escape_into(&mut out, text);
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, how: MetaTrace, state: Option<&str>, expected: Option<&str>) {
        let found = with_trace(body.as_bytes(), how, "00-new", state).map(|body| String::from_utf8(body).unwrap());
        assert_eq!(found.as_deref(), expected, "{body}");
    }

    #[test]
    fn what_is_there_is_replaced_and_all_else_stays() {
        let body = r#" {"method" : "x", "params":{"a":1,"_meta":{ "tracestate":"o=1" , "traceparent" : "00-old","k":[1]}},"id":1} "#;
        let replaced = body.replace("00-old", "00-new");
        check(body, MetaTrace::Rewrite, None, Some(&replaced));
        check(body, MetaTrace::Add, Some("n=\"2"), Some(&replaced.replace("o=1", "n=\\\"2")));
    }

    #[test]
    fn what_is_not_there_is_added_where_that_is_asked_for() {
        for body in [r#"{"params":{}}"#, r#"{"params":{"a":1}}"#, r#"{"params":{"_meta":{}}}"#, r#"{"params":{"_meta":{"k":1}}}"#] {
            check(body, MetaTrace::Rewrite, None, None);
        }
        check(r#"{"params":{}}"#, MetaTrace::Add, None, Some(r#"{"params":{"_meta":{"traceparent":"00-new"}}}"#));
        check(
            r#"{"params": {"a":1}}"#,
            MetaTrace::Add,
            Some("s=1"),
            Some(r#"{"params": {"_meta":{"traceparent":"00-new","tracestate":"s=1"},"a":1}}"#),
        );
        check(r#" {"method":"ping"}"#, MetaTrace::Add, None, Some(r#" {"params":{"_meta":{"traceparent":"00-new"}},"method":"ping"}"#));
        check(r#"{"method":"ping"}"#, MetaTrace::Rewrite, None, None);
        check(r#"{"params":{"_meta": { }}}"#, MetaTrace::Add, None, Some(r#"{"params":{"_meta": {"traceparent":"00-new" }}}"#));
        check(r#"{"params":{"_meta":{"k":1}}}"#, MetaTrace::Add, None, Some(r#"{"params":{"_meta":{"traceparent":"00-new","k":1}}}"#));
    }

    #[test]
    fn what_cannot_hold_it_stays() {
        for body in [
            "",
            "[]",
            "[{}]",
            "{",
            r#"{"params":[]}"#,
            r#"{"result":{}}"#,
            r#"{"params":{},"params":{}}"#,
            r#"{"params":{"_meta":7}}"#,
            "\"x\"",
        ] {
            check(body, MetaTrace::Add, None, None);
        }
    }

    #[test]
    fn what_is_there_is_read() {
        let body = br#"{"params":{"_meta":{"traceparent":"00\u002da","baggage":"k=v","tracestate":5}}}"#;
        assert_eq!(trace_of(body), [MetaText::Text("00-a".into()), MetaText::NotAString, MetaText::Text("k=v".into())]);
        for none in [&b"{}"[..], b"", br#"{"params":{"_meta":[]}}"#, br#"{"params":{"_meta":{"baggage":1,"baggage":"a=b"}}}"#] {
            assert_eq!(trace_of(none), [MetaText::Absent, MetaText::Absent, MetaText::Absent]);
        }
    }
}
