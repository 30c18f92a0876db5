//! Edits: what a policy may change, and that nothing else changes.

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};
use watchgate_hooks::{ChainResult, DenyReason, Edit, EditDraft, EditError, FailureReason, Kind, MAX_BODY_BYTES, MAX_EDITS, Message};

use crate::scripted::{Scripted, chain, message, run};

const REQUEST: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get","arguments":{"a":"one\ttwo","b":[1, {"c/~":null}]}}}"#;

fn mask(start: usize, end: usize, replacement: &str) -> Edit {
    Edit::Mask { start, end, replacement: replacement.to_owned() }
}

fn set_json(pointer: &str, json: &str) -> Edit {
    Edit::SetJson { pointer: pointer.to_owned(), json: json.to_owned() }
}

fn set_body(body: &str) -> Edit {
    Edit::SetBody(body.to_owned().into())
}

/// Where `part` stands in [`REQUEST`].
fn at(part: &str) -> usize {
    REQUEST.find(part).unwrap()
}

/// The body after `edits`; `None` when they fail.
fn check_kind(kind: Kind, body: &str, edits: Vec<Edit>, expected: Option<&str>) {
    let described = format!("{edits:?}");
    match run(&chain(&[Scripted::editing(edits)]), message(kind, body)) {
        ChainResult::Unchanged => assert_eq!(Some(body), expected, "{described}"),
        ChainResult::Changed(edited, None) => assert_eq!(str::from_utf8(&edited).ok(), expected, "{described}"),
        ChainResult::Changed(_, Some(headers)) => panic!("{headers:?}"),
        ChainResult::Denied(denial) => {
            assert_eq!(denial.reason, DenyReason::Failed(FailureReason::InvalidOutput), "{described}");
            assert_eq!(None, expected, "{described}: {}", denial.detail);
        }
    }
}

fn check(edits: Vec<Edit>, expected: Option<&str>) {
    check_kind(Kind::Request, REQUEST, edits, expected);
}

#[test]
fn masks_replace_text_inside_strings() {
    let one = at("one");
    check(vec![mask(one, one + 3, "1")], Some(&REQUEST.replace("one", "1")));
    check(vec![mask(one, one + 3, "\"\\\n\u{1}\u{e9}")], Some(&REQUEST.replace("one", r#"\"\\\n\u0001é"#)));
    check(vec![mask(one + 5, one + 8, "2"), mask(one, one + 3, "1")], Some(&REQUEST.replace(r"one\ttwo", r"1\t2")));
    check(vec![mask(one, one, "<"), mask(one + 8, one + 8, ">")], Some(&REQUEST.replace(r"one\ttwo", r"<one\ttwo>")));
    check(vec![mask(one, one + 8, "")], Some(&REQUEST.replace(r"one\ttwo", "")));
    // Keys count.
    check(vec![mask(at("c/~"), at("c/~") + 1, "d")], Some(&REQUEST.replace("c/~", "d/~")));
    check(vec![mask(one, one + 3, "one")], Some(REQUEST));
    check(Vec::new(), Some(REQUEST));
}

#[test]
fn masks_elsewhere_fail() {
    let one = at("one");
    check(vec![mask(one - 1, one + 3, "x")], None);
    check(vec![mask(one, one + 9, "x")], None);
    check(vec![mask(one, at("b\":"), "x")], None);
    check(vec![mask(one, one + 4, "x")], None);
    check(vec![mask(one + 4, one + 8, "x")], None);
    check(vec![mask(at("[1"), at("[1") + 2, "x")], None);
    check(vec![mask(one + 3, one, "x")], None);
    check(vec![mask(0, REQUEST.len() + 1, "x")], None);
    check(vec![mask(usize::MAX, usize::MAX, "x")], None);
    check(vec![mask(one, one + 2, "x"), mask(one + 1, one + 3, "y")], None);
    check(vec![mask(one, one, "x"), mask(one, one, "y")], None);
}

#[test]
fn json_is_set_by_pointer() {
    check(vec![set_json("/params/arguments/a", r#"{"n":[]}"#)], Some(&REQUEST.replace(r#""one\ttwo""#, r#"{"n":[]}"#)));
    check(vec![set_json("/params/arguments/b/0", "-2.5e1")], Some(&REQUEST.replace("[1,", "[-2.5e1,")));
    check(vec![set_json("/params/arguments/b/1/c~1~0", "true")], Some(&REQUEST.replace("null", "true")));
    check(vec![set_json("/params/arguments", "{}")], Some(&format!("{}{}}}}}", &REQUEST[..at(r#"{"a""#)], "{}")));
    let both = vec![set_json("/params/arguments/b/0", "2"), mask(at("two"), at("two") + 3, "2")];
    check(both, Some(&REQUEST.replace("two", "2").replace("[1,", "[2,")));
    check(vec![set_json("/params/arguments/z", "1")], None);
    check(vec![set_json("/params/arguments/b/-", "1")], None);
    check(vec![set_json("params", "1")], None);
    check(vec![set_json("/params/arguments/a", "")], None);
    check(vec![set_json("/params/arguments/a", "1,2")], None);
    check(vec![set_json("/params/arguments/a", "{")], None);
    check(vec![set_json("/params/arguments", "{}"), mask(at("one"), at("two"), "x")], None);
    check(vec![set_json("/params/arguments/a", "1"), set_json("/params", "{}")], None);
}

#[test]
fn the_body_is_set_whole() {
    let other = r#"{"method":"tools/call","jsonrpc":"2.0","id":7}"#;
    check(vec![set_body(other)], Some(other));
    check(vec![set_body("x"), set_body(other)], Some(other));
    check(vec![set_body(other), mask(at("one"), at("two"), "x")], None);
    check(vec![set_json("/params", "{}"), set_body(other)], None);
    check(vec![set_body("")], None);
    check(vec![set_body("{}")], None);
    check(vec![set_body("not JSON")], None);
}

#[test]
fn the_envelope_stays() {
    check(vec![set_json("/id", "8")], None);
    check(vec![set_json("/id", "7.0")], Some(&REQUEST.replace(r#""id":7"#, r#""id":7.0"#)));
    check(vec![set_json("/jsonrpc", r#""1.0""#)], None);
    check(vec![set_json("/method", r#""tools/list""#)], None);
    check(vec![mask(at("tools/call"), at("tools/call") + 5, "x")], None);
    check(vec![mask(at("method"), at("method") + 6, "x")], None);
    check(vec![set_json("", r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)], None);
    let answer = r#"{"result":{"isError":true},"jsonrpc":"2.0","id":"a"}"#;
    check_kind(Kind::Response, answer, vec![set_json("/result", "{}")], Some(r#"{"result":{},"jsonrpc":"2.0","id":"a"}"#));
    check_kind(Kind::Response, answer, vec![mask(2, 8, "error")], None);
    check_kind(Kind::Response, answer, vec![set_json("/id", r#""\u0061""#)], Some(&answer.replace(r#""a""#, r#""\u0061""#)));
    check_kind(Kind::Response, answer, vec![set_json("/id", r#""b""#)], None);
}

#[test]
fn opaque_bodies_and_fields_have_their_own_rules() {
    check_kind(Kind::Opaque, "<p>hi</p>", vec![set_body("<p>")], Some("<p>"));
    check_kind(Kind::Opaque, r#"["text"]"#, vec![mask(2, 4, "x")], None);
    check_kind(Kind::Opaque, r#"["text"]"#, vec![set_json("/0", "1")], None);
    check_kind(Kind::Fields, r#"{"a":"text"}"#, vec![mask(6, 10, "x")], Some(r#"{"a":"x"}"#));
    check_kind(Kind::Fields, r#"{"a":"text"}"#, vec![mask(2, 3, "b")], None);
    check_kind(Kind::Fields, r#"{"a":"text"}"#, vec![set_json("/a", "1")], None);
}

#[test]
fn everything_is_bounded() {
    let long = "x".repeat(MAX_BODY_BYTES);
    check(vec![mask(at("one"), at("two"), &long)], None);
    check(vec![set_body(&format!("{long}x"))], None);
    check_kind(Kind::Opaque, "a", vec![set_body(&long)], Some(&long));

    let body = Bytes::from(format!(r#"["{}"]"#, "y".repeat(MAX_EDITS + 1)));
    let mut draft = EditDraft::new(body, Kind::Request);
    for at in 2..MAX_EDITS + 2 {
        assert_eq!(draft.mask(at, at + 1, "z".to_owned()), Ok(()));
    }
    assert_eq!(draft.mask(MAX_EDITS + 2, MAX_EDITS + 3, "z".to_owned()), Err(EditError::TooMany));
    assert_eq!(draft.into_edits().len(), MAX_EDITS);

    let mut draft = EditDraft::new(format!(r#"["{}"]"#, "y".repeat(MAX_BODY_BYTES / 2)).into(), Kind::Request);
    let refused = (0..100).map(|_| draft.set_json("/1".to_owned(), "1".to_owned())).find(|result| *result != Err(EditError::NoSuchValue));
    assert_eq!(refused, Some(Err(EditError::TooMuchReading)));
}

/// One character of a string, and how it is written.
fn written_char() -> impl Strategy<Value = (char, String)> {
    let unicode = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let literal = |c: char| if matches!(c, '"' | '\\' | '\0'..='\u{1f}') { None } else { Some(c.to_string()) };
    prop_oneof![
        any::<char>().prop_map(move |c| (c, literal(c).unwrap_or_else(|| unicode(c)))),
        any::<char>().prop_map(move |c| (c, unicode(c))),
        "[ -~]".prop_map(move |text| text.chars().next().unwrap()).prop_map(move |c| (c, literal(c).unwrap_or_else(|| unicode(c)))),
        prop_oneof![Just(('\n', "\\n")), Just(('"', "\\\"")), Just(('\\', "\\\\")), Just(('/', "\\/")), Just(('\u{8}', "\\b"))]
            .prop_map(|(c, written)| (c, written.to_owned())),
    ]
}

/// Strings of one request, and for each the part to mask, in characters, with its replacement.
type Plan = Vec<(Vec<(char, String)>, (usize, usize), String)>;

fn plan() -> impl Strategy<Value = Plan> {
    let string = (prop::collection::vec(written_char(), 0..12), (0..13_usize, 0..13_usize), any::<String>());
    let ordered = |(text, (a, b), replacement): (Vec<_>, (usize, usize), String)| {
        let (a, b) = (a.min(text.len()), b.min(text.len()));
        (text, (a.min(b), a.max(b)), replacement)
    };
    prop::collection::vec(string.prop_map(ordered), 1..8)
}

/// The body of a plan, and for each string the offsets at which an edit may start or end.
fn written(plan: &Plan) -> (String, Vec<Vec<usize>>) {
    let mut body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":["#.to_owned();
    let mut boundaries = Vec::new();
    for (index, (text, _, _)) in plan.iter().enumerate() {
        body.push_str(if index == 0 { "\"" } else { r#",{"k":[0]}, ""# });
        let mut offsets = vec![body.len()];
        for (_, written) in text {
            body.push_str(written);
            offsets.push(body.len());
        }
        body.push('"');
        boundaries.push(offsets);
    }
    body.push_str("]}}");
    (body, boundaries)
}

/// A lone low half that follows a lone high one would be read as a pair; `char` has no halves, so no plan writes one.
fn expected(plan: &Plan, body: &str) -> Value {
    let mut value: Value = serde_json::from_str(body).unwrap();
    for (index, (text, (start, end), replacement)) in plan.iter().enumerate() {
        let chars = || text.iter().map(|(c, _)| *c);
        let edited: String = chars().take(*start).chain(replacement.chars()).chain(chars().skip(*end)).collect();
        value["params"]["arguments"][2 * index] = json!(edited);
    }
    value
}

proptest! {
    #[test]
    fn masked_text_decodes_to_what_was_meant(plan in plan()) {
        let (body, boundaries) = written(&plan);
        let edits = plan.iter().zip(&boundaries).map(|((_, (start, end), replacement), offsets)| mask(offsets[*start], offsets[*end], replacement));
        let edits: Vec<Edit> = edits.rev().collect();
        let edited = match run(&chain(&[Scripted::editing(edits)]), message(Kind::Request, &body)) {
            ChainResult::Changed(edited, None) => edited,
            ChainResult::Unchanged => body.clone().into(),
            other => panic!("{other:?}"),
        };
        assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), expected(&plan, &body));
    }

    #[test]
    fn a_mask_is_accepted_exactly_between_characters_of_one_string(plan in plan(), start in 0..400_usize, length in 0..20_usize) {
        let (body, boundaries) = written(&plan);
        let content = body.find("[\"").unwrap() + 1;
        let (start, end) = (content + start, content + start + length);
        // The keys `k` between the strings are strings too.
        let keys = body.match_indices(r#"{"k":[0]}"#).map(|(at, _)| vec![at + 2, at + 3]).filter(|key| !boundaries.iter().any(|b| b[0] <= key[0] && key[0] < *b.last().unwrap()));
        let allowed = boundaries.iter().cloned().chain(keys).any(|offsets| offsets.contains(&start) && offsets.contains(&end));
        let result = EditDraft::new(body.clone().into(), Kind::Request).mask(start, end, "x".to_owned());
        assert_eq!(result.is_ok(), allowed, "{body} {start}..{end}: {result:?}");
    }

    #[test]
    fn any_edits_on_any_bytes_end_in_json_or_in_a_failure(
        body in any::<Vec<u8>>(), ranges in prop::collection::vec((0..64_usize, 0..64_usize), 0..4), json: String, whole: bool,
    ) {
        let masks = ranges.into_iter().map(|(start, end)| mask(start, end, &json));
        let edits = if whole { vec![set_body(&json)] } else { masks.chain([set_json("", &json)]).collect() };
        let message = Message { body: body.into(), ..message(Kind::Request, "") };
        match run(&chain(&[Scripted::editing(edits)]), message) {
            ChainResult::Changed(edited, _) => drop(serde_json::from_slice::<Value>(&edited).unwrap()),
            ChainResult::Unchanged => assert_eq!(json, ""),
            ChainResult::Denied(denial) => assert_eq!(denial.reason, DenyReason::Failed(FailureReason::InvalidOutput)),
        }
    }
}
