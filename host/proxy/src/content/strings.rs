//! The strings in a JSON value of which its text shows something escaped. Inside a text a policy meets `\"` and `\n` where the string has a quote and a
//! line's end, so what it looks for may not look like itself there.

use serde_json::Value;

/// Depths of JSON within strings that are looked into.
pub(super) const DEPTHS: u32 = 4;
/// More such strings than this are not shown to anybody.
const MOST: usize = 1000;

/// More strings than anybody looks at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The strings at one depth: 0 those of the value itself, 1 those of JSON that stands in its strings, and so on.
pub(super) fn at(value: &mut Value, depth: u32) -> Result<Vec<String>, TooMany> {
    let mut found = Vec::new();
    visit(value, depth, &mut |text| {
        if found.len() <= MOST {
            found.push(text.clone());
        }
        false
    });
    if found.len() > MOST { Err(TooMany) } else { Ok(found) }
}

/// Puts others in the place of those that [`at`] found.
pub(super) fn put(value: &mut Value, depth: u32, others: Vec<String>) {
    let mut others = others.into_iter();
    visit(value, depth, &mut |text| match others.next() {
        Some(other) if other != *text => {
            *text = other;
            true
        }
        _ => false,
    });
}

/// Calls `act` for each of the strings, in the order of the text; it says whether it changed it. Gives whether any was changed.
fn visit(value: &mut Value, depth: u32, act: &mut impl FnMut(&mut String) -> bool) -> bool {
    match value {
        Value::Object(members) => members.values_mut().fold(false, |changed, value| visit(value, depth, act) | changed),
        Value::Array(elements) => elements.iter_mut().fold(false, |changed, value| visit(value, depth, act) | changed),
        Value::String(text) if depth == 0 => text.contains(is_escaped) && act(text),
        Value::String(text) => {
            let Some(mut inner) = json_in(text) else { return false };
            let changed = visit(&mut inner, depth - 1, act);
            if changed {
                *text = inner.to_string();
            }
            changed
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The object or array that a string is the text of.
pub(super) fn json_in(text: &str) -> Option<Value> {
    text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text).ok()).flatten()
}

/// What JSON never writes as it is (RFC 8259, 7).
fn is_escaped(character: char) -> bool {
    matches!(character, '"' | '\\' | '\0'..='\u{1f}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_found_at_their_depth_and_put_back() {
        let inner = json!({"key": "-----BEGIN\nKEY", "plain": "x"}).to_string();
        let mut value = json!({"a": ["one\ttwo", "plain"], "b": inner, "c": "{not \"JSON\"", "d": 1});
        assert_eq!(at(&mut value, 1).unwrap(), ["-----BEGIN\nKEY"]);
        put(&mut value, 1, vec!["***".to_owned()]);
        let inner = r#"{"key":"***","plain":"x"}"#;
        assert_eq!(at(&mut value, 0).unwrap(), ["one\ttwo", inner, "{not \"JSON\""]);
        put(&mut value, 0, vec!["one".to_owned(), inner.to_owned(), "***".to_owned()]);
        assert_eq!(value, json!({"a": ["one", "plain"], "b": inner, "c": "***", "d": 1}));
        assert_eq!(at(&mut value, 2).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_changed_keeps_its_form() {
        let text = "{ \"a\" :  \"x\\ny\" }";
        let mut value = json!([text]);
        let found = at(&mut value, 1).unwrap();
        put(&mut value, 1, found);
        assert_eq!(value, json!([text]));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut value = json!(vec!["\n"; MOST]);
        assert_eq!(at(&mut value, 0).map(|found| found.len()), Ok(MOST));
        let mut value = json!(vec!["\n"; 5 * MOST]);
        assert_eq!(at(&mut value, 0), Err(TooMany));
    }
}
