//! Private keys in PEM: everything from BEGIN to END, or to the end of the text when END is missing.

use core::ops::Range;

use super::reading::find;

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const DASHES: &[u8] = b"-----";
/// Longer labels do not exist.
const LONGEST_LABEL: usize = 64;
/// A line of a key is longer, except for the last.
const SHORTEST_LINE: usize = 16;

/// Whether `-----BEGIN` stands at `start`.
pub fn says_begin(text: &[u8], start: usize) -> bool {
    text.get(start..).is_some_and(|rest| rest.starts_with(BEGIN))
}

/// The private key that begins at `start`.
pub fn key_at(text: &[u8], start: usize) -> Option<Range<usize>> {
    if !says_begin(text, start) {
        return None;
    }
    let label_start = start + BEGIN.len();
    let label = text.get(label_start..text.len().min(label_start + LONGEST_LABEL))?;
    let label_length = find(label, DASHES)?;
    let is_private = find(&label[..label_length], b"PRIVATE KEY").is_some();
    is_private.then(|| start..end_after(text, label_start + label_length + DASHES.len()).unwrap_or(text.len()))
}

/// Where the END line that follows ends.
fn end_after(text: &[u8], from: usize) -> Option<usize> {
    let end = from + find(text.get(from..)?, END)? + END.len();
    let label = text.get(end..text.len().min(end + LONGEST_LABEL))?;
    Some(find(label, DASHES).map_or(end, |length| end + length + DASHES.len()))
}

/// Whether a key found begins here and does not end: it may go on in another string.
#[must_use]
pub fn is_unfinished_key(found: &[u8]) -> bool {
    found.starts_with(BEGIN) && find(found, END).is_none()
}

/// What a text that follows an unfinished key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLines {
    /// More of the key, all of it.
    Whole,
    /// The end of the key, this many bytes.
    Last(usize),
    /// Something else.
    Other,
}

/// Whether a text carries on a private key that an earlier one began: a key may be given line by line, one string each.
#[must_use]
pub fn continue_key(text: &[u8]) -> KeyLines {
    if let Some(end) = end_after(text, 0) {
        return KeyLines::Last(end);
    }
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || matches!(byte, b'+' | b'/' | b'=');
    if text.len() >= SHORTEST_LINE && text.iter().all(is_key) { KeyLines::Whole } else { KeyLines::Other }
}
