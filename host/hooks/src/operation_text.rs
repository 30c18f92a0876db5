//! Replaces the texts of an operation by what the live policies let out.

use bytes::Bytes;

use crate::chain::RedactionChain;
use crate::cleared::{ClearedRecord, UnclearedRecord, clear as clear_record};
use crate::policy::Operation;

/// How much of a message a derivation sees, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// How much of a name a derivation sees, in bytes.
const MAX_NAME_BYTES: usize = 256;

const NAME: &str = "name";
const REQUEST: &str = "request";
const RESPONSE: &str = "response";

/// What became of an operation's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// They passed, edited or not.
    Cleared,
    /// A policy failed: the operation has no texts any more.
    Lost,
    /// A policy denied the record: the operation is not to be seen.
    Denied,
}

/// Bytes that an operation takes while it waits.
pub(crate) fn size(operation: &Operation) -> usize {
    let texts = [&operation.request_text, &operation.response_text].into_iter().flatten().map(Bytes::len);
    let names = [&operation.name, &operation.protocol_version].into_iter().flatten().map(|name| name.len());
    size_of::<Operation>() + operation.method.len() + names.sum::<usize>() + texts.sum::<usize>()
}

/// Shows name, request and response to the chain in one record, and puts back what it makes of them.
pub(crate) async fn clear(chain: &RedactionChain, operation: &mut Operation) -> Texts {
    let texts = [(REQUEST, &operation.request_text), (RESPONSE, &operation.response_text)];
    let texts = texts.into_iter().filter_map(|(field, text)| Some((field, plain_text(text.as_ref()?))));
    let name = operation.name.as_ref().map(|name| (NAME, String::from(&**name)));
    let record = UnclearedRecord {
        server: operation.server.clone(),
        direction: operation.direction,
        method: Some(operation.method.clone()),
        name: operation.name.clone(),
        fields: name.into_iter().chain(texts).collect(),
    };
    let fields = match clear_record(chain, record).await {
        ClearedRecord::Fields(fields) => fields,
        ClearedRecord::Denied => return Texts::Denied,
        ClearedRecord::Failed => return drop_all(operation),
    };
    drop_all(operation);
    for (field, text) in fields {
        let mut text = text.into_string();
        text.truncate(text.floor_char_boundary(if field == NAME { MAX_NAME_BYTES } else { MAX_TEXT_BYTES }));
        match field {
            NAME => operation.name = Some(text.into()),
            REQUEST => operation.request_text = Some(text.into()),
            _ => operation.response_text = Some(text.into()),
        }
    }
    Texts::Cleared
}

/// Takes all texts away.
pub(crate) fn drop_all(operation: &mut Operation) -> Texts {
    operation.name = None;
    operation.request_text = None;
    operation.response_text = None;
    Texts::Lost
}

/// The text of a message, at most 64 KiB, with every needless escape of ASCII undone. Inside a record the message is a string, so a policy
/// that decodes strings sees the message's own escapes as they are: what they hide must be laid open before.
fn plain_text(message: &Bytes) -> String {
    let cut = &message[..message.len().min(MAX_TEXT_BYTES)];
    let text = String::from_utf8_lossy(cut);
    // A character that the cut split is not part of the text.
    let text = if cut.len() < message.len() { text.trim_end_matches('\u{fffd}') } else { &text };
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let (character, length) = needless_escape(&rest[at..]).unzip();
        let length = length.unwrap_or_else(|| rest[at..].chars().take(2).map(char::len_utf8).sum());
        match character {
            Some(character) => plain.push(character),
            None => plain.push_str(&rest[at..at + length]),
        }
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
    plain
}

/// The ASCII character that JSON lets stand for itself, and the length of the escape in front that is written for it.
fn needless_escape(text: &str) -> Option<(char, usize)> {
    if text.starts_with(r"\/") {
        return Some(('/', 2));
    }
    let digits = text.strip_prefix(r"\u")?.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let character = char::from(u8::from_str_radix(digits, 16).ok()?);
    let needless = matches!(character, ' '..='~') && !matches!(character, '"' | '\\');
    needless.then_some((character, 6))
}

#[cfg(test)]
mod tests {
    use super::{MAX_TEXT_BYTES, plain_text};
    use bytes::Bytes;
    use proptest::prelude::{any, proptest};

    fn check(message: &str, expected: &str) {
        assert_eq!(plain_text(&Bytes::from(message.to_owned())), expected);
    }

    #[test]
    fn escapes_that_hide_ascii_are_undone() {
        check(r#"{"a":"\u0041KI\u0041\/"}"#, r#"{"a":"AKIA/"}"#);
        check(r#"{"a":"\"\\\n\u0022\u005c\u000a\u00e9\ud83d\ude00"}"#, r#"{"a":"\"\\\n\u0022\u005c\u000a\u00e9\ud83d\ude00"}"#);
        check(r#"{"a":"\\u0041"}"#, r#"{"a":"\\u0041"}"#);
        check("\\", "\\");
        check("\\u00", "\\u00");
        check("\\\u{e9}\\u+041", "\\\u{e9}\\u+041");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let text = "\u{e9}".repeat(MAX_TEXT_BYTES);
        let plain = plain_text(&Bytes::from(format!("x{text}")));
        assert_eq!(plain.len(), MAX_TEXT_BYTES - 1);
        assert!(plain.ends_with('\u{e9}'));
    }

    proptest! {
        #[test]
        fn the_meaning_of_json_stays(text in any::<String>()) {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let plain = plain_text(&Bytes::from(format!("\"{escaped}\"")));
            assert_eq!(serde_json::from_str::<String>(&plain).unwrap(), text);
        }

        #[test]
        fn any_bytes_have_a_text(bytes in any::<Vec<u8>>()) {
            let _ = plain_text(&Bytes::from(bytes));
        }
    }
}
