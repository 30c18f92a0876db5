//! Strings, numbers and literals that may begin in one chunk and end in another.

/// More raw bytes of a string than any capture needs: 260 bytes of text, each written as an escape of six.
pub(super) const MAX_STRING_BYTES: usize = 6 * 260 + 6;
/// More bytes than any number or literal that means something here.
pub(super) const MAX_SCALAR_BYTES: usize = 64;

/// What earlier chunks held of the token that ends in this one. Its buffer is used again for every token.
#[derive(Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// The token is longer than what is held.
    is_cut: bool,
}

impl Held {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.is_cut = false;
    }

    /// Keeps the bytes of a token that goes on in the next chunk, up to `limit` in all.
    pub(super) fn keep(&mut self, bytes: &[u8], limit: usize) {
        let room = limit.saturating_sub(self.bytes.len());
        self.is_cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The token that ends with `last`, at most `limit` bytes of it, and whether that is all. One that lies in one chunk is not
    /// copied, but cut like any other: what is captured must not depend on how the bytes came.
    pub(super) fn join<'a>(&'a mut self, last: &'a [u8], limit: usize) -> (&'a [u8], bool) {
        if self.bytes.is_empty() {
            return (&last[..last.len().min(limit)], last.len() <= limit);
        }
        self.keep(last, limit);
        (&self.bytes, !self.is_cut)
    }
}

/// How many bytes a number or literal goes on for.
pub(super) fn scalar_length(bytes: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"');
    bytes.iter().position(is_end).unwrap_or(bytes.len())
}

/// Whether it looks like a number: made of what numbers are made of, with a digit where one must be.
pub(super) fn is_number(raw: &[u8]) -> bool {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    digits.first().is_some_and(u8::is_ascii_digit)
        && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
}
