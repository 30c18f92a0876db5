//! The headers that mirror a message (2026-07-28, SEP-2243), and the codec of their values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// The protocol revision of a request.
pub const MCP_PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The session of a legacy exchange.
pub const MCP_SESSION_ID: &str = "mcp-session-id";
/// Mirrors the method.
pub const MCP_METHOD: &str = "mcp-method";
/// Mirrors what the method acts on.
pub const MCP_NAME: &str = "mcp-name";
/// Begins the name of each header that mirrors a tool's annotated argument. Their values are content.
pub const MCP_PARAM_PREFIX: &str = "mcp-param-";
/// Where a legacy client resumes a stream.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// Both markers are case-sensitive.
const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// Why a header's value cannot be read. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderCodecError {
    /// A byte outside visible ASCII, space and tab, and no base64 markers around it.
    #[error("the header's value holds a character that must be encoded")]
    NotAscii,
    /// The text between the markers is not base64.
    #[error("the header's value is marked as base64 and is not")]
    NotBase64,
    /// The decoded bytes are not UTF-8.
    #[error("the header's value does not decode to UTF-8")]
    NotUtf8,
}

/// The text that the value of an `Mcp-Name` or `Mcp-Param-*` header stands for.
///
/// # Errors
/// When the value is neither plain ASCII nor marked, valid base64 of UTF-8.
pub fn decode(value: &[u8]) -> Result<Cow<'_, str>, HeaderCodecError> {
    let value = value.trim_ascii();
    if let Some(encoded) = marked(value) {
        let bytes = STANDARD.decode(encoded).map_err(|_| HeaderCodecError::NotBase64)?;
        let text = String::from_utf8(bytes).map_err(|_| HeaderCodecError::NotUtf8)?;
        return Ok(Cow::Owned(text));
    }
    if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(HeaderCodecError::NotAscii);
    }
    str::from_utf8(value).map(Cow::Borrowed).map_err(|_| HeaderCodecError::NotAscii)
}

/// The value of an `Mcp-Name` or `Mcp-Param-*` header that stands for `text`: plain where it survives as such, else base64 in markers.
pub fn encode(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let plain = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let padded = bytes.first() == Some(&b' ') || bytes.last() == Some(&b' ');
    if plain && !padded && marked(bytes).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(bytes)))
}

fn marked(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(PREFIX.as_bytes())?.strip_suffix(SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{HeaderCodecError, decode, encode};
    use proptest::prelude::{any, proptest};
    use std::borrow::Cow;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in any::<String>()) {
            let encoded = encode(&text);
            assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{encoded}");
            assert_eq!(decode(encoded.as_bytes()), Ok(Cow::Borrowed(text.as_str())));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in any::<Vec<u8>>()) {
            if let Ok(text) = decode(&bytes) {
                assert_eq!(decode(encode(&text).as_bytes()).as_ref(), Ok(&text));
            }
        }
    }

    fn check(text: &str, encoded: &str) {
        assert_eq!(encode(text), encoded);
        assert_eq!(decode(encoded.as_bytes()).as_deref(), Ok(text));
    }

    #[test]
    fn only_what_needs_it_is_wrapped() {
        check("get_weather", "get_weather");
        check("two words", "two words");
        check("", "");
        check("caf\u{e9}", "=?base64?Y2Fmw6k=?=");
        check(" padded", "=?base64?IHBhZGRlZA==?=");
        check("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?=");
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        assert_eq!(decode(b"caf\xc3\xa9"), Err(HeaderCodecError::NotAscii));
        assert_eq!(decode(b"=?base64?*?="), Err(HeaderCodecError::NotBase64));
        assert_eq!(decode(b"=?base64?/w==?="), Err(HeaderCodecError::NotUtf8));
        assert_eq!(decode(b"=?BASE64?YQ==?=").as_deref(), Ok("=?BASE64?YQ==?="));
        assert_eq!(decode(b"=?base64?="), Ok(Cow::Borrowed("=?base64?=")));
    }
}
