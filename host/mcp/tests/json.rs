//! The functions on complete bodies agree with a parser, and stand any input.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "scanner/message.rs"]
mod message;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, proptest};
use proptest::sample::select;
use serde_json::Value;
use std::borrow::Cow;
use std::ops::Range;
use watchgate_mcp::json::{self, JsonError, JsonFault, LocateError};

/// Every value of a tree with its pointer, depth first.
fn values<'a>(at: String, value: &'a Value, out: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                values(format!("{at}/{index}"), element, out);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                values(format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), member, out);
            }
        }
        _ => {}
    }
    out.push((at, value));
}

fn texts(value: &Value) -> Vec<&str> {
    let mut all = Vec::new();
    values(String::new(), value, &mut all);
    let keys = all.iter().filter_map(|(_, value)| value.as_object()).flat_map(|object| object.keys().map(String::as_str));
    let strings = all.iter().filter_map(|(_, value)| value.as_str());
    keys.chain(strings).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_value_is_located(body in message::message()) {
        assert_eq!(json::validate(body.as_bytes()), Ok(()));
        let tree: Value = serde_json::from_str(&body).unwrap();
        let mut all = Vec::new();
        values(String::new(), &tree, &mut all);
        for (pointer, value) in all {
            let range = json::locate(body.as_bytes(), &pointer).unwrap();
            assert_eq!(&serde_json::from_str::<Value>(&body[range]).unwrap(), value, "{pointer} in {body}");
            assert_eq!(json::locate(body.as_bytes(), &format!("{pointer}/nowhere")), Err(LocateError::NotFound));
        }
    }

    #[test]
    fn every_string_is_found_and_decoded(body in message::element()) {
        let tree: Value = serde_json::from_str(&body).unwrap();
        let found: Vec<_> = json::strings(body.as_bytes()).map(|token| {
            let content = &body[token.content];
            assert_eq!(token.has_escape, content.contains('\\'));
            (token.is_key, json::decode(content.as_bytes()).unwrap().into_owned())
        }).collect();
        for text in texts(&tree) {
            assert!(found.iter().any(|(_, found)| found == text), "{text:?} in {body}");
        }
        // A key that occurs twice is one key of the tree, and what stood below the first is not in it at all.
        assert!(found.len() >= texts(&tree).len());
    }

    #[test]
    fn children_are_those_of_the_tree(body in message::element()) {
        let tree: Value = serde_json::from_str(&body).unwrap();
        let parse = |range: Range<usize>| serde_json::from_str::<Value>(&body[range]).unwrap();
        let elements = json::array_elements(body.as_bytes()).map(|ranges| Value::Array(ranges.into_iter().map(parse).collect()));
        assert_eq!(elements, Some(tree.clone()).filter(Value::is_array));
        let members = json::object_members(body.as_bytes()).map(|members| {
            let decoded = members.into_iter().map(|member| {
                (json::decode(body[member.key].as_bytes()).unwrap().into_owned(), parse(member.value))
            });
            Value::Object(decoded.collect())
        });
        assert_eq!(members, Some(tree).filter(Value::is_object));
    }

    #[test]
    fn a_text_that_is_changed_somewhere_is_judged_alike(body in message::element(), at in any::<usize>(), byte in damage()) {
        let mut body = body.into_bytes();
        let at = at % (body.len() + 1);
        body.splice(at..at, byte.iter().copied());
        let valid = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() && str::from_utf8(&body).is_ok();
        assert_eq!(json::validate(&body).is_ok(), valid, "{}", String::from_utf8_lossy(&body));
        assert_eq!(json::locate(&body, "").is_ok(), valid);
        json::strings(&body).for_each(|token| assert!(token.content.end <= body.len()));
    }

    #[test]
    fn escaping_and_decoding_are_inverse(text in any::<String>()) {
        let mut escaped = Vec::new();
        json::escape_into(&mut escaped, &text);
        assert_eq!(json::decode(&escaped).as_deref(), Some(text.as_str()));
        let quoted = [b"\"", escaped.as_slice(), b"\""].concat();
        assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap(), text);
    }

    #[test]
    fn decoding_maps_back_to_whole_escapes(content in content()) {
        let mut text = String::from("old");
        let decoded = json::decode(content.as_bytes());
        assert_eq!(json::decode_into(content.as_bytes(), &mut text), decoded.is_some());
        let Some(decoded) = decoded else {
            assert!(text.is_empty());
            return Ok(());
        };
        assert_eq!(text, decoded);
        let mut ranges = json::RawRanges::new(content.as_bytes());
        for start in 0..=text.len() {
            for end in start..=text.len() {
                let raw = json::RawRanges::new(content.as_bytes()).of(start..end).unwrap();
                assert_eq!(ranges.of(start..end).as_ref(), Some(&raw), "asked in another order, {content}");
                assert!(json::is_boundary(content.as_bytes(), raw.start), "{raw:?} of {content}");
                assert!(json::is_boundary(content.as_bytes(), raw.end), "{raw:?} of {content}");
                if text.is_char_boundary(start) && text.is_char_boundary(end) {
                    assert_eq!(json::decode(&content.as_bytes()[raw]).unwrap(), text[start..end], "{start}..{end} of {content}");
                }
            }
        }
        assert_eq!(ranges.of(0..text.len() + 1), None);
    }

    #[test]
    fn an_offset_is_a_boundary_where_both_sides_decode_to_the_whole(content in content()) {
        let bytes = content.as_bytes();
        let Some(whole) = json::decode(bytes) else { return Ok(()) };
        for at in 0..=bytes.len() {
            let halves = json::decode(&bytes[..at]).zip(json::decode(&bytes[at..]));
            let joined = halves.map(|(head, tail)| head.into_owned() + &*tail);
            assert_eq!(json::is_boundary(bytes, at), joined.as_deref() == Some(&*whole), "{at} of {content}");
        }
        assert!(!json::is_boundary(bytes, bytes.len() + 1));
    }

    #[test]
    fn splicing_leaves_nothing_of_what_it_covers(body in "[a-z]{0,20}", edits in edits()) {
        let spliced = json::splice(body.as_bytes(), &edits);
        let covered = |at: usize| edits.iter().any(|(range, _)| range.contains(&at));
        let rest: String = body.char_indices().filter(|(at, _)| !covered(*at)).map(|(_, character)| character).collect();
        let spliced = String::from_utf8(spliced).unwrap();
        assert_eq!(spliced.replace('#', ""), rest);
        assert_eq!(spliced.matches('#').count(), edits.len());
    }
}

fn edits() -> impl Strategy<Value = Vec<(Range<usize>, &'static [u8])>> {
    let edit = (0..25_usize, 0..5_usize).prop_map(|(start, length)| (start..start + length, &b"#"[..]));
    proptest::collection::vec(edit, 0..5)
}

/// Something inserted into a body, often breaking it.
fn damage() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &[&[u8]] =
        &[b"", b" ", b"0", b"-", b".", b"e", b"\"", b"\\", b"\\u12", b",", b":", b"{", b"}", b"]", b"\n", b"\xff", b"\xc3\xa9", b"null"];
    let tokens: Vec<Vec<u8>> = tokens.iter().map(|token| token.to_vec()).collect();
    select(tokens)
}

/// Contents of strings, mostly valid, with runs of backslashes and surrogates in all combinations.
fn content() -> impl Strategy<Value = String> {
    let tokens: &[&str] =
        &["a", "\u{e9}", "\u{1f600}", "\\\\", "\\\"", "\\n", "\\u0041", "\\ud83d", "\\ude00", "\\u00e9", "u0041", "d83d", "\\u12"];
    proptest::collection::vec((select(tokens.to_vec()), Just(())), 0..7)
        .prop_map(|tokens| tokens.into_iter().map(|(token, ())| token).collect())
}

fn check_fault(body: &[u8], offset: usize, fault: JsonFault) {
    assert_eq!(json::validate(body), Err(JsonError { offset, fault }), "{}", String::from_utf8_lossy(body));
}

#[test]
fn faults_are_named_where_they_stand() {
    check_fault(b"", 0, JsonFault::Truncated);
    check_fault(b"{\"a\":[1, 2}", 10, JsonFault::Unexpected);
    check_fault(b"[1,]", 3, JsonFault::Unexpected);
    check_fault(b"{\"a\":1,}", 7, JsonFault::Unexpected);
    check_fault(b"{} x", 3, JsonFault::Unexpected);
    check_fault(b"[01]", 2, JsonFault::Unexpected);
    check_fault(b"[-]", 2, JsonFault::Number);
    check_fault(b"1.", 2, JsonFault::Truncated);
    check_fault(b"\"a\\x\"", 2, JsonFault::Escape);
    check_fault(b"\"a\nb\"", 2, JsonFault::Control);
    check_fault(b"[\"a\xff\"]", 3, JsonFault::Utf8);
    check_fault(b"[\xff]", 1, JsonFault::Utf8);
    check_fault(b"\xef\xbb\xbf{}", 0, JsonFault::Unexpected);
    assert_eq!(json::validate(br#"["\ud800", "\udc00\ud800"]"#), Ok(()));
}

#[test]
fn pointers_follow_rfc_6901() {
    let body = br#" {"a/b": 1, "m~n": [10, {"": "x"}], "": {"": 2}, "\u0061": "first", "a": "last", "01": [0]} "#;
    let check = |pointer: &str, expected: Result<&str, LocateError>| {
        let found = json::locate(body, pointer).map(|range| str::from_utf8(&body[range]).unwrap());
        assert_eq!(found, expected, "{pointer}");
    };
    check("", Ok(str::from_utf8(body.trim_ascii()).unwrap()));
    check("/a~1b", Ok("1"));
    check("/m~0n/0", Ok("10"));
    check("/m~0n/1/", Ok("\"x\""));
    check("/", Ok("{\"\": 2}"));
    check("//", Ok("2"));
    check("/a", Ok("\"last\""));
    check("/01/0", Ok("0"));
    for nowhere in ["/m~0n/2", "/m~0n/01", "/m~0n/-", "/m~0n/+1", "/A", "/a/0", "/m~0n/99999999999999999999999"] {
        check(nowhere, Err(LocateError::NotFound));
    }
    for malformed in ["a", "/~", "/~2", "/a~"] {
        check(malformed, Err(LocateError::BadPointer));
    }
    assert_eq!(json::locate(br#"{"a":{"b":1},"a":{}}"#, "/a/b"), Err(LocateError::NotFound));
    assert!(matches!(json::locate(br#"{"a":1,"b"}"#, "/a"), Err(LocateError::NotJson(_))));
}

#[test]
fn depth_and_size_cost_no_stack_and_little_time() {
    let deep = [b"[".repeat(1_000_000), b"]".repeat(1_000_000)].concat();
    assert_eq!(json::validate(&deep), Ok(()));
    assert_eq!(json::array_elements(&deep), Some(vec![Range { start: 1, end: deep.len() - 1 }]));
    assert_eq!(json::strings(&deep).count(), 0);
    let pointer = "/0".repeat(100_000);
    assert_eq!(json::locate(&deep, &pointer).unwrap(), 100_000..deep.len() - 100_000);
    assert_eq!(json::locate(&deep, &"/1".repeat(100_000)), Err(LocateError::NotFound));
    check_fault(&b"{\"a\":".repeat(1_000_000), 5_000_000, JsonFault::Truncated);
    let mixed = [b"[{\"a\":".repeat(1000), b"1".to_vec(), b"]}".repeat(1000)].concat();
    check_fault(&mixed, 6001, JsonFault::Unexpected);
    let backslashes = b"\\\\".repeat(500_000);
    assert!(json::is_boundary(&backslashes, 999_998) && !json::is_boundary(&backslashes, 999_999));
}

#[test]
fn text_without_escapes_is_borrowed() {
    assert!(matches!(json::decode(b"plain"), Some(Cow::Borrowed("plain"))));
    assert_eq!(json::decode(br"\ud83d\ud83d\ude00\ude00").as_deref(), Some("\u{fffd}\u{1f600}\u{fffd}"));
    for broken in [&b"\\"[..], b"\\x", b"\\u12g4", b"\\u123", b"\xff", b"a\xc3\\n"] {
        assert_eq!(json::decode(broken), None);
    }
}
