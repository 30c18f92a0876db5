//! Tests of `matching`: what is found must be what the reader of the JSON would see, and what is written must still be JSON.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{JsonString, Match, apply_to_json, apply_to_text, find_in_json, find_in_text};

fn replace_word<'a>(word: &'a str, by: &'a str) -> impl FnMut(JsonString<'_>) -> Vec<Match> + 'a {
    move |string| string.text.match_indices(word).map(|(at, _)| Match { range: at..at + word.len(), replacement: by.to_owned() }).collect()
}

/// `KEY` is replaced by `x"y` wherever its decoded text stands.
fn check(body: &str, expected: &str) {
    let edits = find_in_json(body.as_bytes(), replace_word("KEY", "x\"y")).unwrap();
    assert_eq!(String::from_utf8(apply_to_json(body.as_bytes(), &edits)).unwrap(), expected, "{body}");
}

#[test]
fn finds_decoded_text_in_keys_and_values() {
    check(r#"{"a":"KEY"}"#, r#"{"a":"x\"y"}"#);
    check(r#"{"KEY":["aKEYb KEY",1,null]}"#, r#"{"x\"y":["ax\"yb x\"y",1,null]}"#);
    check(r#"{"a":"\u004b\u0045\u0059"}"#, r#"{"a":"x\"y"}"#);
    check(r#"{"a":"\nK\u0045Y\n"}"#, r#"{"a":"\nx\"y\n"}"#);
    check(r#"{"a":"\\u004bEY"}"#, r#"{"a":"\\u004bEY"}"#);
    check(r#"{"a":"\ud83d\ude00KEY\ud83d"}"#, r#"{"a":"\ud83d\ude00x\"y\ud83d"}"#);
    check(r#"{"a":"K","b":"EY"}"#, r#"{"a":"K","b":"EY"}"#);
    check(r#""KEY""#, r#""x\"y""#);
}

/// A match `range` of the one string in `body` covers exactly `expected` of the raw body.
fn check_range(body: &str, range: core::ops::Range<usize>, expected: &str) {
    let edits = find_in_json(body.as_bytes(), |_| vec![Match { range: range.clone(), replacement: String::new() }]).unwrap();
    assert_eq!(&body[edits[0].range.clone()], expected, "{body}");
}

#[test]
fn widens_to_whole_characters_and_escapes() {
    check_range(r#""a\u00e9b""#, 1..2, r"\u00e9");
    check_range(r#""aéb""#, 2..3, "é");
    check_range(r#""\ud83d\ude00!""#, 1..2, r"\ud83d\ude00");
    check_range(r#""\ud83d!""#, 0..1, r"\ud83d");
    check_range(r#""\n\n""#, 1..2, r"\n");
}

#[test]
fn joins_overlapping_matches() {
    let found = || {
        [(4, 6, "c"), (0, 3, "a"), (2, 5, "b"), (6, 7, "d")]
            .map(|(start, end, by): (usize, usize, &str)| Match { range: start..end, replacement: by.to_owned() })
            .to_vec()
    };
    let edits = find_in_json(br#""01234567""#, |_| found()).unwrap();
    assert_eq!(apply_to_json(br#""01234567""#, &edits), br#""ad7""#);
    let edits = find_in_text("01234567", |_| found()).unwrap();
    assert_eq!(apply_to_text(b"01234567", &edits), b"ad7");
}

#[test]
fn refuses_what_it_cannot_map() {
    assert!(find_in_json(b"{\"a\":", |_| Vec::new()).is_err());
    assert!(find_in_json(b"\"\xff\"", |_| Vec::new()).is_err());
    for range in [0..9, 9..9, 3..9] {
        assert!(find_in_json(b"\"abc\"", |_| vec![Match { range: range.clone(), replacement: String::new() }]).is_err());
        assert!(find_in_json(b"\"a\\nc\"", |_| vec![Match { range: range.clone(), replacement: String::new() }]).is_err());
        assert!(find_in_text("abc", |_| vec![Match { range: range.clone(), replacement: String::new() }]).is_err());
    }
}

/// A character, and one of the ways to write it in a JSON string.
fn written() -> impl Strategy<Value = (String, String)> {
    let character = prop_oneof![Just('K'), Just('E'), Just('Y'), Just('"'), Just('\\'), Just('\n'), Just('é'), Just('😀'), any::<char>()];
    (character, any::<bool>()).prop_map(|(character, escaped)| {
        let needs_escape = matches!(character, '"' | '\\' | '\0'..='\u{1f}');
        let mut raw = String::new();
        if escaped || needs_escape {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                raw += &format!("\\u{unit:04X}");
            }
        } else {
            raw.push(character);
        }
        (character.to_string(), raw)
    })
}

proptest! {
    #[test]
    fn agrees_with_replacing_in_the_decoded_text(parts in prop::collection::vec(written(), 0..40), by in any::<String>()) {
        let text: String = parts.iter().map(|(text, _)| text.as_str()).collect();
        let raw: String = parts.iter().map(|(_, raw)| raw.as_str()).collect();
        let body = format!("{{\"{raw}\": [\"{raw}\"]}}");
        let edits = find_in_json(body.as_bytes(), replace_word("KEY", &by)).unwrap();
        let edited: serde_json::Value = serde_json::from_slice(&apply_to_json(body.as_bytes(), &edits)).unwrap();
        let expected = text.replace("KEY", &by);
        prop_assert_eq!(edited, serde_json::json!({ &expected: [expected] }));
    }

    #[test]
    fn any_match_leaves_json(parts in prop::collection::vec(written(), 0..20), ranges in prop::collection::vec((0..60_usize, 0..60_usize), 0..6)) {
        let raw: String = parts.iter().map(|(_, raw)| raw.as_str()).collect();
        let body = format!("[\"{raw}\"]");
        let length: usize = parts.iter().map(|(text, _)| text.len()).sum();
        let matches: Vec<_> = ranges
            .iter()
            .map(|(start, end)| Match { range: *start.min(end)..*start.max(end), replacement: "\u{1}\"".to_owned() })
            .collect();
        let all_inside = matches.iter().all(|found| found.range.end <= length);
        match find_in_json(body.as_bytes(), |_| matches.clone()) {
            Ok(edits) => {
                prop_assert!(all_inside);
                prop_assert!(edits.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&apply_to_json(body.as_bytes(), &edits)).is_ok());
            }
            Err(_) => prop_assert!(!all_inside),
        }
    }

    #[test]
    fn survives_anything(body in any::<Vec<u8>>()) {
        let _either = find_in_json(&body, replace_word("K", "x"));
    }
}
