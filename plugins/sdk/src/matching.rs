//! Finding text in a JSON body as its reader will see it, and saying which raw bytes it stands in.
//!
//! `\u0041KIA` reads `AKIA`: who searches the raw bytes misses it. Here every string, keys included, is decoded before it is searched, and
//! what is found is mapped back to raw bytes that cut neither an escape nor a character.

use core::ops::Range;

use watchgate_mcp::json;

/// A stretch of decoded text, and what is to stand there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Bytes of the decoded text.
    pub range: Range<usize>,
    /// Plain text; it is escaped where it goes into JSON.
    pub replacement: String,
}

/// One string of a JSON body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonString<'a> {
    /// Its text, decoded. A surrogate without its partner reads as U+FFFD.
    pub text: &'a str,
    /// Whether it is a member's name.
    pub is_key: bool,
    /// Where its content begins in the body; strings come in this order.
    pub offset: usize,
}

/// A stretch of the raw body that lies inside one JSON string, and what is to stand there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Bytes of the body.
    pub range: Range<usize>,
    /// Plain text, not escaped.
    pub replacement: String,
}

/// Shows `find` every string of a JSON body in order, and returns its matches as edits of the body, sorted. Matches that overlap become one
/// edit with the replacement of the first. Strings without escapes are not copied.
///
/// # Errors
/// A sentence: the body is not JSON, or a match lies outside its text.
pub fn find_in_json(body: &[u8], mut find: impl FnMut(JsonString<'_>) -> Vec<Match>) -> Result<Vec<Edit>, String> {
    json::validate(body).map_err(|error| error.to_string())?;
    let mut edits = Vec::new();
    let mut decoded = String::new();
    let mut offsets = Vec::new();
    for string in json::strings(body) {
        let content = &body[string.content.clone()];
        let offset = string.content.start;
        let text = if string.has_escape {
            if !json::decode_mapped(content, &mut decoded, &mut offsets) {
                return Err("a string cannot be decoded".to_owned());
            }
            &decoded
        } else {
            core::str::from_utf8(content).map_err(|error| error.to_string())?
        };
        let first = edits.len();
        for found in find(JsonString { text, is_key: string.is_key, offset }) {
            let raw = if string.has_escape { json::raw_range(&offsets, found.range) } else { whole_characters(text, found.range) };
            let raw = raw.ok_or("a match lies outside its text")?;
            edits.push(Edit { range: raw.start + offset..raw.end + offset, replacement: found.replacement });
        }
        merge_overlapping(&mut edits, first);
    }
    Ok(edits)
}

/// As [`find_in_json`] for a text that is not JSON.
///
/// # Errors
/// A match lies outside the text.
pub fn find_in_text(text: &str, find: impl FnOnce(&str) -> Vec<Match>) -> Result<Vec<Edit>, String> {
    let mut edits = Vec::new();
    for found in find(text) {
        let range = whole_characters(text, found.range).ok_or("a match lies outside its text")?;
        edits.push(Edit { range, replacement: found.replacement });
    }
    merge_overlapping(&mut edits, 0);
    Ok(edits)
}

/// Applies edits to a JSON body, escaping the replacements.
#[must_use]
pub fn apply_to_json(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let escaped: Vec<(Range<usize>, Vec<u8>)> = edits
        .iter()
        .map(|edit| {
            let mut replacement = Vec::with_capacity(edit.replacement.len());
            json::escape_into(&mut replacement, &edit.replacement);
            (edit.range.clone(), replacement)
        })
        .collect();
    json::splice(body, &escaped)
}

/// Applies edits to a text that is not JSON.
#[must_use]
pub fn apply_to_text(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let replacements: Vec<(Range<usize>, &str)> = edits.iter().map(|edit| (edit.range.clone(), edit.replacement.as_str())).collect();
    json::splice(text, &replacements)
}

/// The range, widened so that it cuts no character.
fn whole_characters(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    if range.start > range.end || range.end > text.len() {
        return None;
    }
    Some(text.floor_char_boundary(range.start)..text.ceil_char_boundary(range.end))
}

/// Sorts the edits from `first` on, and joins those that overlap.
fn merge_overlapping(edits: &mut Vec<Edit>, first: usize) {
    if edits.len() <= first + 1 {
        return;
    }
    let mut unsorted = edits.split_off(first);
    unsorted.sort_unstable_by_key(|edit| (edit.range.start, edit.range.end));
    for edit in unsorted {
        match edits.get_mut(first..).and_then(<[Edit]>::last_mut) {
            Some(last) if edit.range.start < last.range.end => last.range.end = last.range.end.max(edit.range.end),
            _ => edits.push(edit),
        }
    }
}

#[cfg(test)]
mod tests;
