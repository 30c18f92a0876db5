//! Secrets in a body that is JSON: string by string, decoded, with what a string owes to the one before it.

use core::ops::Range;

use watchgate_mcp::json;
use watchgate_plugin::Match;
use watchgate_plugin::matching::{Edit, JsonString, find_in_json};

use super::{Decision, Replacement, Search};
use crate::class::Class;
use crate::detect::{KeyLines, NamedSecret, continue_key, is_unfinished_key, is_value_of, named_secret};
use crate::numbers::card_numbers;

/// Searches a body that the gateway says is JSON; should it not be, the message is denied.
pub fn search(search: &mut Search<'_>, body: &[u8]) -> Decision {
    match find(search, body) {
        Ok(found) if found.numbers.is_empty() && found.edits.is_empty() => Decision::Pass,
        Ok(found) if found.numbers.is_empty() => Decision::Edit(found.edits),
        Ok(found) => Decision::Replace(found.applied_to(body)),
        Err(reason) => Decision::Deny(reason),
    }
}

/// What was found in a JSON body.
pub struct Found {
    /// In strings.
    pub edits: Vec<Edit>,
    /// Numbers, and the strings that are to stand in their place. They lie outside of strings, so they overlap no edit.
    pub numbers: Vec<(Range<usize>, String)>,
}

impl Found {
    /// The body with everything replaced.
    pub fn applied_to(self, body: &[u8]) -> Vec<u8> {
        let strings = self.edits.into_iter().map(|edit| {
            let mut escaped = Vec::with_capacity(edit.replacement.len());
            json::escape_into(&mut escaped, &edit.replacement);
            (edit.range, escaped)
        });
        let numbers = self.numbers.into_iter().map(|(range, replacement)| (range, format!("\"{replacement}\"").into_bytes()));
        json::splice(body, &strings.chain(numbers).collect::<Vec<_>>())
    }
}

/// Finds everything in a JSON body.
///
/// # Errors
/// It is not JSON.
pub fn find(search: &mut Search<'_>, body: &[u8]) -> Result<Found, String> {
    let mut strings = Strings { search, name: None, key_is_open: false };
    let edits = find_in_json(body, |string| strings.take(string))?;
    let mut numbers = Vec::new();
    if search.policy.detector.looks_for(Class::Card) {
        for range in card_numbers(body) {
            let replacement = search.replace(range.clone(), Class::Card, body);
            numbers.push((range, replacement.text));
        }
    }
    Ok(Found { edits, numbers })
}

/// What one string says about the next.
struct Strings<'s, 'a> {
    search: &'s mut Search<'a>,
    /// The name of the member whose value comes next announces a secret.
    name: Option<NamedSecret>,
    /// A private key has begun in an earlier string and not ended.
    key_is_open: bool,
}

impl Strings<'_, '_> {
    fn take(&mut self, string: JsonString<'_>) -> Vec<Match> {
        let text = string.text.as_bytes();
        let mut found = self.search.in_text(text);
        if string.is_key {
            self.name = named_secret(text).filter(|name| self.search.policy.detector.looks_for(name.class()));
        } else {
            if let Some(name) = self.name.take().filter(|name| is_value_of(*name, text)) {
                found.push(self.search.replace(0..text.len(), name.class(), text));
            }
            if self.key_is_open {
                let lines = continue_key(text);
                let length = match lines {
                    KeyLines::Whole => text.len(),
                    KeyLines::Last(length) => length,
                    KeyLines::Other => 0,
                };
                if length > 0 {
                    found.push(self.search.replace(0..length, Class::PrivateKey, text));
                }
                self.key_is_open = lines == KeyLines::Whole;
            }
            let is_begun = |found: &Replacement| found.class == Class::PrivateKey && is_unfinished_key(&text[found.range.clone()]);
            self.key_is_open |= found.iter().any(is_begun);
        }
        found.into_iter().map(|found| Match { range: found.range, replacement: found.text }).collect()
    }
}
