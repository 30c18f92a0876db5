//! Visits the scalars of a JSON value, each with a hash of the path that leads to it.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::ops::Range;

use watchgate_mcp::json;

/// Deeper values are not visited: the path costs memory for each level, and no tool nests its arguments so.
const MAX_DEPTH: usize = 1000;

/// The value is nested deeper than 1000 levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooDeep;

/// One open container.
struct Level {
    /// The path to the container.
    path: u64,
    /// The key of the member that is being read; `None` in an array.
    key: Option<Range<usize>>,
    /// How many elements ended so far.
    index: usize,
    is_object: bool,
}

/// Calls `visit` with path and range of each string, number, boolean and null in `value`, which is valid JSON. Equal keys in one object
/// have equal paths.
pub(crate) fn visit(value: &[u8], hasher: &impl BuildHasher, mut visit: impl FnMut(u64, Range<usize>)) -> Result<(), TooDeep> {
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        match byte {
            b'{' | b'[' => {
                if levels.len() == MAX_DEPTH {
                    return Err(TooDeep);
                }
                let path = path_here(value, &levels, hasher);
                levels.push(Level { path, key: None, index: 0, is_object: byte == b'{' });
                at += 1;
            }
            b'}' | b']' => {
                levels.pop();
                at += 1;
            }
            b',' => {
                if let Some(level) = levels.last_mut() {
                    level.index += 1;
                    level.key = None;
                }
                at += 1;
            }
            b':' | b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'"' => {
                let end = string_end(value, at);
                match levels.last_mut() {
                    Some(level) if level.is_object && level.key.is_none() => level.key = Some(at + 1..end.saturating_sub(1).max(at + 1)),
                    _ => visit(path_here(value, &levels, hasher), at..end),
                }
                at = end;
            }
            _ => {
                let length =
                    value[at..].iter().take_while(|byte| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')).count();
                visit(path_here(value, &levels, hasher), at..at + length);
                at += length;
            }
        }
    }
    Ok(())
}

fn path_here(value: &[u8], levels: &[Level], hasher: &impl BuildHasher) -> u64 {
    let Some(level) = levels.last() else { return 0 };
    match &level.key {
        Some(key) => {
            let content = &value[key.clone()];
            let decoded = json::decode(content);
            hasher.hash_one((level.path, decoded.as_deref().map_or(content, str::as_bytes)))
        }
        None => hasher.hash_one((level.path, level.index)),
    }
}

/// The end of the string that starts at `start`, its closing quote included.
fn string_end(value: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = value.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    value.len()
}

/// The text that a header uses for a scalar: a string's decoded text, a number or boolean as it is written. `None` for null, which no
/// header mirrors, and for containers.
pub(crate) fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    match value {
        [b'"', content @ .., b'"'] => json::decode(content),
        [b'{' | b'[' | b'n', ..] => None,
        _ => str::from_utf8(value).ok().map(Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, TooDeep, text, visit};
    use std::collections::HashMap;
    use std::hash::RandomState;

    /// The scalars of `json` as text, and how many different paths lead to them.
    fn check(json: &str, expected: &[Option<&str>], paths: usize) {
        let mut found = Vec::new();
        let mut seen = HashMap::new();
        visit(json.as_bytes(), &RandomState::new(), |path, range| {
            found.push(text(&json.as_bytes()[range]).map(std::borrow::Cow::into_owned));
            *seen.entry(path).or_insert(0) += 1;
        })
        .unwrap();
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{json}");
        assert_eq!(seen.len(), paths, "{json}");
    }

    #[test]
    fn every_scalar_has_its_path() {
        check(r#"{"a":"x","b":[1,true,null,{"c":-1.5e3}], "d" : {} }"#, &[Some("x"), Some("1"), Some("true"), None, Some("-1.5e3")], 5);
        check(r#"{"a":"x","\u0061":"y"}"#, &[Some("x"), Some("y")], 1);
        check(r#"[["\"",""],[{"":"\u0041"}]]"#, &[Some("\""), Some(""), Some("A")], 3);
        check(r#""alone""#, &[Some("alone")], 1);
        check("[]", &[], 0);
    }

    #[test]
    fn the_depth_is_bounded() {
        let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert_eq!(visit(&nested(MAX_DEPTH), &RandomState::new(), |_, _| ()), Ok(()));
        assert_eq!(visit(&nested(MAX_DEPTH + 1), &RandomState::new(), |_, _| ()), Err(TooDeep));
    }
}
