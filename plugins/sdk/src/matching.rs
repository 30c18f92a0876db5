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
    for string in json::strings(body) {
        let content = &body[string.content.clone()];
        let offset = string.content.start;
        let text = if string.has_escape {
            if !json::decode_into(content, &mut decoded) {
                return Err("a string cannot be decoded".to_owned());
            }
            &decoded
        } else {
            core::str::from_utf8(content).map_err(|error| error.to_string())?
        };
        let mut found = find(JsonString { text, is_key: string.is_key, offset });
        // In the order of the text, so that the content is read once more and no more.
        found.sort_by_key(|found| (found.range.start, found.range.end));
        let mut raw_ranges = json::RawRanges::new(content);
        for Match { range, replacement } in joined(found) {
            let raw = if string.has_escape { raw_ranges.of(range) } else { whole_characters(text, range) };
            let raw = raw.ok_or("a match lies outside its text")?;
            push_edit(&mut edits, Edit { range: raw.start + offset..raw.end + offset, replacement }, offset);
        }
    }
    Ok(edits)
}

/// As [`find_in_json`] for a text that is not JSON.
///
/// # Errors
/// A match lies outside the text.
pub fn find_in_text(text: &str, find: impl FnOnce(&str) -> Vec<Match>) -> Result<Vec<Edit>, String> {
    let mut edits = Vec::new();
    let mut found = find(text);
    found.sort_by_key(|found| (found.range.start, found.range.end));
    for Match { range, replacement } in found {
        let range = whole_characters(text, range).ok_or("a match lies outside its text")?;
        push_edit(&mut edits, Edit { range, replacement }, 0);
    }
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

/// Sorted matches, with each that overlaps the one before made part of it.
fn joined(found: Vec<Match>) -> impl Iterator<Item = Match> {
    let mut found = found.into_iter().peekable();
    core::iter::from_fn(move || {
        let mut first = found.next()?;
        while let Some(next) = found.next_if(|next| next.range.start < first.range.end) {
            first.range.end = first.range.end.max(next.range.end);
        }
        Some(first)
    })
}

/// Adds an edit of the string whose content begins at `start`. Matches that met in one escape or character have become edits that overlap, and
/// those one edit with the replacement of the first.
fn push_edit(edits: &mut Vec<Edit>, edit: Edit, start: usize) {
    match edits.last_mut() {
        Some(last) if last.range.start >= start && edit.range.start < last.range.end => last.range.end = last.range.end.max(edit.range.end),
        _ => edits.push(edit),
    }
}

#[cfg(test)]
mod tests;
