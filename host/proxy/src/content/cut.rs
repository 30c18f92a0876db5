//! JSON that was cut off, read as far as it goes.

use serde_json::Value;

/// An escape, half of a surrogate pair before it, or a character may have been cut: so many bytes hold what was begun.
const LONGEST_PIECE: usize = 12;
/// Left out at the end of a string that was cut: what begins there may be a secret that nobody could recognise.
const UNCERTAIN: usize = 1024;

/// Where a text can end once what is open is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    /// Bytes that stay.
    length: usize,
    /// Bytes of the string that they end in, if they do.
    begun: Option<usize>,
    /// What closes the rest, the innermost last.
    open: Vec<u8>,
}

/// What stands in a text up to where it was cut: everything that was complete, and the beginning of a last string that is long.
pub(super) fn read(text: &[u8]) -> Option<Value> {
    read_leaving(text, UNCERTAIN)
}

fn read_leaving(text: &[u8], uncertain: usize) -> Option<Value> {
    let end = end_of(text, uncertain);
    let tries = end.begun.unwrap_or(0).min(LONGEST_PIECE);
    (0..=tries).find_map(|less| serde_json::from_slice(&closed(text, &end, less)?).ok())
}

fn closed(text: &[u8], end: &End, less: usize) -> Option<Vec<u8>> {
    let mut closed = text.get(..end.length.checked_sub(less)?)?.to_vec();
    closed.extend(end.begun.map(|_| b'"'));
    closed.extend(end.open.iter().rev());
    Some(closed)
}

fn end_of(text: &[u8], uncertain: usize) -> End {
    let mut open: Vec<u8> = Vec::new();
    // Behind the last complete value or opening bracket; brackets that close after it are such values themselves.
    let mut complete = 0;
    let (mut in_string, mut escaped, mut is_key) = (false, false, false);
    let mut string_at = 0;
    for (place, byte) in text.iter().copied().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    if !is_key {
                        complete = place + 1;
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => (in_string, string_at) = (true, place),
            b'{' | b'[' => {
                open.push(if byte == b'{' { b'}' } else { b']' });
                is_key = byte == b'{';
                complete = place + 1;
            }
            b'}' | b']' => {
                open.pop();
                complete = place + 1;
            }
            b':' => is_key = false,
            b',' => {
                is_key = open.last() == Some(&b'}');
                complete = place;
            }
            _ => {}
        }
    }
    let certain = text.len().saturating_sub(uncertain);
    let begun = (in_string && !is_key).then(|| certain.checked_sub(string_at + 1)).flatten();
    End { length: if begun.is_some() { certain } else { complete }, begun, open }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_complete_is_read() {
        let check = |text: &str, expected: &str| assert_eq!(read_leaving(text.as_bytes(), 0).unwrap().to_string(), expected, "{text}");
        check(r#"{"#, "{}");
        check(r#"{"a"#, "{}");
        check(r#"{"a":"#, "{}");
        check(r#"{"a":12"#, "{}");
        check(r#"{"a":12,"#, r#"{"a":12}"#);
        check(r#"{"a":[1,{"b":"te"#, r#"{"a":[1,{"b":"te"}]}"#);
        check(r#"{"a":"x\"#, r#"{"a":"x"}"#);
        check(r#"{"a":"x\u00"#, r#"{"a":"x"}"#);
        check(r#"{"a":"x\ud83d\ude"#, r#"{"a":"x"}"#);
        check(r#"{"a":"}{,:\"","b":[],"c":nu"#, r#"{"a":"}{,:\"","b":[]}"#);
    }

    #[test]
    fn every_beginning_can_be_read() {
        let text = r#"{"jsonrpc":"2.0","id":1.5e3,"result":{"content":[{"type":"text","text":"é😀 \ud83d\ude00 \"q\" \\ [x]"},[],{},null,true,-7],"z":"","k\"y":{"a":[[{"b":"c"}]]}}}"#;
        let whole: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read(text.as_bytes()).as_ref(), Some(&whole));
        for length in 1..text.len() {
            assert!(read_leaving(&text.as_bytes()[..length], 0).is_some(), "{:?}", String::from_utf8_lossy(&text.as_bytes()[..length]));
        }
    }

    #[test]
    fn of_a_string_that_was_cut_what_is_certain_is_read() {
        let check = |bytes: usize, expected: usize| {
            let text = format!(r#"{{"a":"{}"#, "x".repeat(bytes));
            let read = read(text.as_bytes()).unwrap();
            assert_eq!(read["a"].as_str().map_or(0, str::len), expected, "{bytes}");
        };
        check(UNCERTAIN - 1, 0);
        check(UNCERTAIN + 1, 1);
        check(9000, 9000 - UNCERTAIN);
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        for text in ["", "}", "x", "nul", "\u{1}", "]]"] {
            assert_eq!(read(text.as_bytes()), None, "{text:?}");
        }
    }
}
