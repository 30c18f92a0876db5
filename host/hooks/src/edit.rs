//! Collects the edits of one policy on one message, and applies them.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use watchgate_mcp::json;

use crate::message::{Edit, Kind};
use crate::string_index::StringIndex;

/// The largest body before and after edits, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The most edits on one message.
pub const MAX_EDITS: usize = 65_536;

/// How many bytes of body the pointers of one message may make the host read. Each `set-json` reads the body once: eight times for the largest
/// one, without limit in practice for small ones.
const MAX_LOOKUP_BYTES: usize = 128 * 1024 * 1024;

/// Why an edit is refused. Always the plugin's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The range ends before it starts or lies outside the body.
    #[error("the range lies outside the body")]
    OutOfRange,
    /// The range is not inside the content of one JSON string, or cuts an escape or a character.
    #[error("the range must lie inside the content of one JSON string and cut neither an escape nor a character")]
    NotInsideString,
    /// Another edit covers some of it.
    #[error("the edit overlaps another one")]
    Overlapping,
    /// Over [`MAX_EDITS`].
    #[error("there are more than {MAX_EDITS} edits")]
    TooMany,
    /// `mask` or `set-json` on an opaque body.
    #[error("an opaque body can only be replaced whole")]
    Opaque,
    /// `set-body` together with another edit.
    #[error("set-body cannot be combined with other edits")]
    Combined,
    /// The pointer is malformed or points at nothing.
    #[error("the body has no value at this pointer")]
    NoSuchValue,
    /// The new value is not one JSON text.
    #[error("the new value is not JSON")]
    NotJson,
    /// The result, or the replacements together, are larger than [`MAX_BODY_BYTES`].
    #[error("the result is larger than 16 MiB")]
    TooLarge,
    /// Over the limit on reading for pointers.
    #[error("too many pointers for a body of this size; use set-body")]
    TooMuchReading,
}

/// The edits made so far on one message. Each is checked when it is made, so that the plugin learns what is wrong with it.
#[derive(Debug)]
pub struct EditDraft {
    body: Bytes,
    kind: Kind,
    edits: Vec<Edit>,
    /// What of the body is replaced: start -> (end, index in `edits`). Never overlapping.
    spans: BTreeMap<usize, (usize, usize)>,
    /// Made for the first mask.
    strings: Option<StringIndex>,
    replacement_bytes: usize,
    lookup_bytes: usize,
}

impl EditDraft {
    /// No edits yet on `body`.
    pub fn new(body: Bytes, kind: Kind) -> Self {
        Self { body, kind, edits: Vec::new(), spans: BTreeMap::new(), strings: None, replacement_bytes: 0, lookup_bytes: 0 }
    }

    /// Replaces `start..end` of the body, inside one JSON string's content, by `replacement`, which is escaped when it is applied. An empty
    /// range inserts.
    ///
    /// # Errors
    /// See [`EditError`]; the draft is then unchanged.
    pub fn mask(&mut self, start: usize, end: usize, replacement: String) -> Result<(), EditError> {
        self.check_room(replacement.len())?;
        if start > end || end > self.body.len() {
            return Err(EditError::OutOfRange);
        }
        self.check_free(start..end)?;
        let strings = self.strings.get_or_insert_with(|| StringIndex::new(&self.body));
        let content = strings.content_at(&self.body, start);
        if content.is_none() || content != strings.content_at(&self.body, end) {
            return Err(EditError::NotInsideString);
        }
        self.replacement_bytes += replacement.len();
        self.add_span(start..end, Edit::Mask { start, end, replacement });
        Ok(())
    }

    /// Replaces the value at `pointer` (RFC 6901) by `json`.
    ///
    /// # Errors
    /// See [`EditError`]; the draft is then unchanged.
    pub fn set_json(&mut self, pointer: String, json: String) -> Result<(), EditError> {
        self.check_room(json.len())?;
        json::validate(json.as_bytes()).map_err(|_| EditError::NotJson)?;
        self.lookup_bytes += self.body.len();
        if self.lookup_bytes > MAX_LOOKUP_BYTES {
            return Err(EditError::TooMuchReading);
        }
        let span = json::locate(&self.body, &pointer).map_err(|_| EditError::NoSuchValue)?;
        self.check_free(span.clone())?;
        self.replacement_bytes += json.len();
        self.add_span(span, Edit::SetJson { pointer, json });
        Ok(())
    }

    /// Replaces the whole body; a second call replaces the first.
    ///
    /// # Errors
    /// See [`EditError`]; the draft is then unchanged.
    pub fn set_body(&mut self, body: Bytes) -> Result<(), EditError> {
        if !self.spans.is_empty() {
            return Err(EditError::Combined);
        }
        if body.len() > MAX_BODY_BYTES {
            return Err(EditError::TooLarge);
        }
        self.edits.clear();
        self.edits.push(Edit::SetBody(body));
        Ok(())
    }

    /// The edits in the order they were made.
    pub fn into_edits(self) -> Vec<Edit> {
        self.edits
    }

    /// The edited body, not yet checked for what must stay the same. What no edit covers is the same byte for byte.
    pub(crate) fn apply(self) -> Result<Bytes, EditError> {
        if let [Edit::SetBody(body)] = self.edits.as_slice() {
            return Ok(body.clone());
        }
        let mut pieces = Vec::with_capacity(self.spans.len());
        let mut length = self.body.len();
        for (start, (end, index)) in self.spans {
            let replacement = match &self.edits[index] {
                Edit::Mask { replacement, .. } => {
                    let mut content = Vec::with_capacity(replacement.len());
                    json::escape_into(&mut content, replacement);
                    content
                }
                Edit::SetJson { json, .. } => json.as_bytes().to_vec(),
                Edit::SetBody(_) => return Err(EditError::Combined),
            };
            length = length - (end - start) + replacement.len();
            pieces.push((start..end, replacement));
        }
        if length > MAX_BODY_BYTES {
            return Err(EditError::TooLarge);
        }
        Ok(json::splice(&self.body, &pieces).into())
    }

    fn add(&mut self, edit: Edit) -> Result<(), EditError> {
        match edit {
            Edit::Mask { start, end, replacement } => self.mask(start, end, replacement),
            Edit::SetJson { pointer, json } => self.set_json(pointer, json),
            Edit::SetBody(body) => self.set_body(body),
        }
    }

    fn check_room(&self, bytes: usize) -> Result<(), EditError> {
        if self.kind == Kind::Opaque {
            return Err(EditError::Opaque);
        }
        if self.edits.len() > self.spans.len() {
            return Err(EditError::Combined);
        }
        if self.edits.len() >= MAX_EDITS {
            return Err(EditError::TooMany);
        }
        if self.replacement_bytes + bytes > MAX_BODY_BYTES {
            return Err(EditError::TooLarge);
        }
        Ok(())
    }

    /// Two edits that start at the same place overlap even when one is empty: their order would be a guess.
    fn check_free(&self, span: Range<usize>) -> Result<(), EditError> {
        let before = self.spans.range(..=span.start).next_back();
        let after = self.spans.range(span.start + 1..).next();
        let overlaps_before = before.is_some_and(|(start, (end, _))| *start == span.start || *end > span.start);
        let overlaps_after = after.is_some_and(|(start, _)| *start < span.end);
        if overlaps_before || overlaps_after { Err(EditError::Overlapping) } else { Ok(()) }
    }

    fn add_span(&mut self, span: Range<usize>, edit: Edit) {
        self.spans.insert(span.start, (span.end, self.edits.len()));
        self.edits.push(edit);
    }
}

/// Applies the edits of a policy's reply, each checked again: a policy is not trusted to have used a draft.
pub(crate) fn apply(body: &Bytes, kind: Kind, edits: Vec<Edit>) -> Result<Bytes, EditError> {
    let mut draft = EditDraft::new(body.clone(), kind);
    for edit in edits {
        draft.add(edit)?;
    }
    if draft.edits.is_empty() {
        return Ok(body.clone());
    }
    draft.apply()
}
