//! What a redaction policy can do with a message beyond the contract's own methods.

use crate::matching::{self, Edit, Match};
use crate::{Kind, Message};

/// Beyond this many edits one new body costs less than as many calls of the gateway.
const MAX_SINGLE_MASKS: usize = 256;

impl Message {
    /// Replaces what `find` finds, and returns how many places that were. `find` sees the decoded text of every string of the body, keys
    /// included: `\u0041KIA` reads `AKIA`. Matches may overlap; they then become one with the replacement of the first.
    ///
    /// ```no_run
    /// # use watchgate_plugin::{Match, Message, RedactionPolicy, Verdict};
    /// # fn redact(message: &Message) -> Verdict {
    /// let found = message.mask_matches(|text| {
    ///     text.match_indices("Bluebird").map(|(at, word)| Match { range: at..at + word.len(), replacement: "[PROJECT]".to_owned() }).collect()
    /// });
    /// match found {
    ///     Ok(_) => Verdict::Pass,
    ///     Err(reason) => Verdict::Deny(reason),
    /// }
    /// # }
    /// ```
    ///
    /// An opaque body that is JSON is treated the same way; any other is one text for `find`.
    ///
    /// # Errors
    /// A sentence: a match lies outside its text, or in an opaque body that is not UTF-8, or the gateway refuses an edit. Deny the message
    /// then.
    pub fn mask_matches(&self, mut find: impl FnMut(&str) -> Vec<Match>) -> Result<usize, String> {
        let body = self.body();
        let is_opaque = self.kind() == Kind::Opaque;
        let in_json = matching::find_in_json(&body, |string| find(string.text));
        let edits = match in_json {
            Err(_) if is_opaque => return self.mask_in_opaque_text(&body, find),
            other => other?,
        };
        self.apply_edits(&body, is_opaque, &edits)?;
        Ok(edits.len())
    }

    /// Applies edits made by [`matching::find_in_json`] for `body`, which is what [`Message::body`] returned.
    ///
    /// # Errors
    /// A sentence, when the gateway refuses an edit.
    pub fn apply_edits(&self, body: &[u8], is_opaque: bool, edits: &[Edit]) -> Result<(), String> {
        if edits.is_empty() {
            return Ok(());
        }
        if is_opaque || edits.len() > MAX_SINGLE_MASKS {
            return self.set_body(&matching::apply_to_json(body, edits));
        }
        edits.iter().try_for_each(|edit| self.mask(offset(edit.range.start)?, offset(edit.range.end)?, &edit.replacement))
    }

    fn mask_in_opaque_text(&self, body: &[u8], find: impl FnOnce(&str) -> Vec<Match>) -> Result<usize, String> {
        let Ok(text) = core::str::from_utf8(body) else {
            return match find(&String::from_utf8_lossy(body)).len() {
                0 => Ok(0),
                _ => Err("a match lies in a body that is neither JSON nor UTF-8".to_owned()),
            };
        };
        let edits = matching::find_in_text(text, find)?;
        if !edits.is_empty() {
            self.set_body(&matching::apply_to_text(body, &edits))?;
        }
        Ok(edits.len())
    }
}

fn offset(bytes: usize) -> Result<u32, String> {
    u32::try_from(bytes).map_err(|_| "the body is too large".to_owned())
}
