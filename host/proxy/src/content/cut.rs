//! JSON that was cut off, read as far as it goes.

use serde_json::Value;

/// An escape, half of a surrogate pair before it, or a character may have been cut: so many bytes hold what was begun.
const LONGEST_PIECE: usize = 12;

/// Where a text can end once what is open is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    /// Bytes that stay.
    length: usize,
    /// Whether they end within a string.
    in_string: bool,
    /// What closes the rest, the innermost last.
    open: Vec<u8>,
}

/// What stands in a text up to where it was cut: everything that was complete, and the beginning of a last string.
pub(super) fn read(text: &[u8]) -> Option<Value> {
    let end = end_of(text);
    let tries = if end.in_string { LONGEST_PIECE } else { 0 };
    (0..=tries).find_map(|less| serde_json::from_slice(&closed(text, &end, less)?).ok())
}

fn closed(text: &[u8], end: &End, less: usize) -> Option<Vec<u8>> {
    let mut closed = text.get(..end.length.checked_sub(less)?)?.to_vec();
    closed.extend(end.in_string.then_some(b'"'));
    closed.extend(end.open.iter().rev());
    Some(closed)
}

fn end_of(text: &[u8]) -> End {
    let mut open: Vec<u8> = Vec::new();
    // Behind the last complete value or opening bracket; brackets that close after it are such values themselves.
    let mut complete = 0;
    let (mut in_string, mut escaped, mut is_key) = (false, false, false);
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
            b'"' => in_string = true,
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
    let in_string = in_string && !is_key;
    End { length: if in_string { text.len() } else { complete }, in_string, open }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_complete_is_read() {
        let check = |text: &str, expected: &str| assert_eq!(read(text.as_bytes()).unwrap().to_string(), expected, "{text}");
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
            assert!(read(&text.as_bytes()[..length]).is_some(), "{:?}", String::from_utf8_lossy(&text.as_bytes()[..length]));
        }
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        for text in ["", "}", "x", "nul", "\u{1}", "]]"] {
            assert_eq!(read(text.as_bytes()), None, "{text:?}");
        }
    }
}
