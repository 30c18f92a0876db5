//! JSON-RPC request ids, compared by value.

use crate::json;
use std::fmt;

/// Longest id, in bytes of decoded text, that is kept; a longer one cannot be correlated.
pub(crate) const MAX_ID_BYTES: usize = 256;

/// A JSON-RPC id, string or integer, kept as canonical JSON text so that equal values are equal ids:
/// `"a"` is `"\u0061"`, `7` is `7.0`, and `1` is not `"1"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The id written as the JSON value `text`: a string of at most 256 bytes, or an integer within `i64`.
    /// `None` for every other value, and for a string that is not valid Unicode (two such ids could not be told apart).
    pub fn from_json(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        match text {
            [b'"', content @ .., b'"'] => Self::from_string_content(content),
            _ => integer(text).map(Self::from),
        }
    }

    /// The id whose string content (between the quotes, escapes intact) is `content`.
    pub(crate) fn from_string_content(content: &[u8]) -> Option<Self> {
        if content.len() > 6 * MAX_ID_BYTES {
            return None;
        }
        let text = json::decode_exact(content)?;
        (text.len() <= MAX_ID_BYTES).then(|| Self::from(&*text))
    }

    /// The id as canonical JSON text, ready to be written as the value of `"id"`.
    pub fn as_json(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_json(self) -> Box<str> {
        self.0
    }
}

/// The integer a JSON number stands for: `7`, `-0`, `7.0` and `7e0`, but neither `7.5` nor what `i64` or an exact `f64` cannot hold.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    /// Above 2^53 a float no longer stands for one integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !matches!(text, [b'-' | b'0'..=b'9', ..]) {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer);
    }
    let float = text.parse::<f64>().ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53")]
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
}

impl From<i64> for RequestId {
    fn from(id: i64) -> Self {
        Self(id.to_string().into())
    }
}

impl From<i32> for RequestId {
    fn from(id: i32) -> Self {
        Self::from(i64::from(id))
    }
}

impl From<u32> for RequestId {
    fn from(id: u32) -> Self {
        Self::from(i64::from(id))
    }
}

impl From<&str> for RequestId {
    /// A string id. The caller sees to it that it is short: at most 256 bytes are recognised on the way back.
    fn from(id: &str) -> Self {
        let mut text = Vec::with_capacity(id.len() + 2);
        text.push(b'"');
        json::escape_into(&mut text, id);
        text.push(b'"');
        Self(String::from_utf8(text).expect("escaping keeps UTF-8").into())
    }
}

impl From<&RequestId> for RequestId {
    fn from(id: &RequestId) -> Self {
        id.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    fn check(json: &str, canonical: Option<&str>) {
        let id = RequestId::from_json(json.as_bytes());
        assert_eq!(id.as_ref().map(RequestId::as_json), canonical, "{json}");
    }

    #[test]
    fn strings_and_integers_are_canonical() {
        check("0", Some("0"));
        check("-0", Some("0"));
        check("-12", Some("-12"));
        check("9223372036854775807", Some("9223372036854775807"));
        check("7.0", Some("7"));
        check("7e2", Some("700"));
        check(r#""1""#, Some(r#""1""#));
        check(r#""\u0061\/\n""#, Some(r#""a/\n""#));
        check(r#""\ud83d\ude00""#, Some("\"\u{1f600}\""));
        check(r#""""#, Some(r#""""#));
    }

    #[test]
    fn everything_else_is_refused() {
        for json in ["", "null", "true", "1.5", "1e300", "9223372036854775808", "NaN", "inf", "+1", "{}", "[1]", "\"", "\"a", r#""\""#] {
            check(json, None);
        }
        check(r#""\ud800""#, None);
        check(&format!("\"{}\"", "a".repeat(257)), None);
        let longest = format!("\"{}\"", "a".repeat(256));
        check(&longest, Some(&longest));
        assert_eq!(RequestId::from_json(b"\"\xff\""), None);
    }
}
