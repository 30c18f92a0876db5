//! The text of a JSON string: decoding it, writing it, and mapping between the two.
//!
//! *Content* is what stands between a string's quotes, escapes intact.

use memchr::memchr;
use std::borrow::Cow;
use std::ops::Range;

/// One decoded piece of a string's content.
enum Piece<'a> {
    Plain(&'a [u8]),
    Escape {
        decoded: char,
        lone_surrogate: bool,
    },
    /// A backslash that starts no escape, or one that is cut off.
    Broken,
}

/// Yields each piece with the offset it starts at.
struct Pieces<'a> {
    content: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (usize, Piece<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let rest = self.content.get(start..).filter(|rest| !rest.is_empty())?;
        if rest[0] != b'\\' {
            let length = memchr(b'\\', rest).unwrap_or(rest.len());
            self.at += length;
            return Some((start, Piece::Plain(&rest[..length])));
        }
        let Some((decoded, length, lone_surrogate)) = escape_at(rest) else {
            self.at = self.content.len();
            return Some((start, Piece::Broken));
        };
        self.at += length;
        Some((start, Piece::Escape { decoded, lone_surrogate }))
    }
}

/// Reads the escape that `rest` starts with: its character, its length in bytes (12 for a surrogate pair), and whether it is a
/// surrogate without its partner, which stands for U+FFFD.
fn escape_at(rest: &[u8]) -> Option<(char, usize, bool)> {
    let plain = |decoded| Some((decoded, 2, false));
    match rest.get(1)? {
        b'"' => plain('"'),
        b'\\' => plain('\\'),
        b'/' => plain('/'),
        b'b' => plain('\u{8}'),
        b'f' => plain('\u{c}'),
        b'n' => plain('\n'),
        b'r' => plain('\r'),
        b't' => plain('\t'),
        b'u' => {
            let first = code_unit(rest)?;
            if let Some(decoded) = char::from_u32(first.into()) {
                return Some((decoded, 6, false));
            }
            let second = rest.get(6..).and_then(code_unit).filter(|unit| is_low_surrogate(*unit));
            match second {
                Some(second) if !is_low_surrogate(first) => {
                    let decoded = char::decode_utf16([first, second]).next()?.ok()?;
                    Some((decoded, 12, false))
                }
                _ => Some((char::REPLACEMENT_CHARACTER, 6, true)),
            }
        }
        _ => None,
    }
}

/// The code unit of the `\uXXXX` that `rest` starts with.
fn code_unit(rest: &[u8]) -> Option<u16> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit: u16, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

const fn is_low_surrogate(unit: u16) -> bool {
    matches!(unit, 0xdc00..=0xdfff)
}

/// The text of a string's content. A surrogate without its partner becomes U+FFFD. `None` when an escape or the UTF-8 is broken.
pub fn decode(content: &[u8]) -> Option<Cow<'_, str>> {
    decode_with(content, true)
}

/// Like [`decode`], but `None` for a surrogate without its partner: the text is exactly what was meant.
pub(crate) fn decode_exact(content: &[u8]) -> Option<Cow<'_, str>> {
    decode_with(content, false)
}

fn decode_with(content: &[u8], replace_lone: bool) -> Option<Cow<'_, str>> {
    if memchr(b'\\', content).is_none() {
        return str::from_utf8(content).ok().map(Cow::Borrowed);
    }
    let mut text = String::with_capacity(content.len());
    for (_, piece) in (Pieces { content, at: 0 }) {
        match piece {
            Piece::Plain(bytes) => text.push_str(str::from_utf8(bytes).ok()?),
            Piece::Escape { lone_surrogate: true, .. } if !replace_lone => return None,
            Piece::Escape { decoded, .. } => text.push(decoded),
            Piece::Broken => return None,
        }
    }
    Some(Cow::Owned(text))
}

/// The text of a string's content, at most `limit` bytes, cut at a character. Never fails: broken UTF-8 becomes U+FFFD, and a broken
/// escape ends the text.
pub(crate) fn decode_lossy(content: &[u8], limit: usize) -> String {
    // An escape of six bytes is the longest way to write one byte of text.
    let content = &content[..content.len().min(limit.saturating_mul(6).saturating_add(6))];
    let mut text = String::with_capacity(content.len().min(limit));
    for (_, piece) in (Pieces { content, at: 0 }) {
        match piece {
            Piece::Plain(bytes) => match str::from_utf8(bytes) {
                Ok(plain) => text.push_str(plain),
                Err(_) => text.push_str(&String::from_utf8_lossy(bytes)),
            },
            Piece::Escape { decoded, .. } => text.push(decoded),
            Piece::Broken => break,
        }
        if text.len() >= limit {
            break;
        }
    }
    text.truncate(text.floor_char_boundary(limit));
    text
}

/// Decodes a string's content as [`decode`] does into `text`, which is cleared first, so that one buffer serves many strings.
///
/// Returns `false`, leaving it cleared, when an escape or the UTF-8 is broken.
#[must_use]
pub fn decode_into(content: &[u8], text: &mut String) -> bool {
    text.clear();
    text.reserve(content.len());
    for (_, piece) in (Pieces { content, at: 0 }) {
        match piece {
            Piece::Plain(bytes) => match str::from_utf8(bytes) {
                Ok(plain) => text.push_str(plain),
                Err(_) => {
                    text.clear();
                    return false;
                }
            },
            Piece::Escape { decoded, .. } => text.push(decoded),
            Piece::Broken => {
                text.clear();
                return false;
            }
        }
    }
    true
}

/// Says which bytes of a string's content a stretch of its decoded text comes from. It keeps nothing of the string and reads it as it is asked: once
/// in all, if the stretches come in rising order, and again from the start for one that does not.
pub struct RawRanges<'a> {
    content: &'a [u8],
    pieces: Pieces<'a>,
    /// The piece last read: where it stands in the content and in the text, and its length in each.
    raw: Range<usize>,
    text: Range<usize>,
    is_plain: bool,
}

impl<'a> RawRanges<'a> {
    /// For content that [`decode`] can decode.
    pub fn new(content: &'a [u8]) -> Self {
        Self { content, pieces: Pieces { content, at: 0 }, raw: 0..0, text: 0..0, is_plain: true }
    }

    /// The range of the content. A range that cuts a character is widened to all of it, so that the result never cuts an escape or a
    /// character. `None` when it lies outside the text.
    pub fn of(&mut self, text: Range<usize>) -> Option<Range<usize>> {
        if text.start > text.end {
            return None;
        }
        let start = match self.character_at(text.start) {
            Some(character) => character.start,
            None if text.start == self.text.end => self.content.len(),
            None => return None,
        };
        let end = if text.is_empty() { start } else { self.character_at(text.end - 1)?.end };
        Some(start..end)
    }

    /// Where the character stands that the byte at `at` of the text belongs to.
    fn character_at(&mut self, at: usize) -> Option<Range<usize>> {
        if at < self.text.start {
            *self = Self::new(self.content);
        }
        while at >= self.text.end {
            let (start, piece) = self.pieces.next()?;
            let (length, is_plain) = match piece {
                Piece::Plain(bytes) => (bytes.len(), true),
                Piece::Escape { decoded, .. } => (decoded.len_utf8(), false),
                Piece::Broken => return None,
            };
            self.raw = start..self.pieces.at;
            self.text = self.text.end..self.text.end + length;
            self.is_plain = is_plain;
        }
        if !self.is_plain {
            return Some(self.raw.clone());
        }
        let is_continuation = |at: &usize| matches!(self.content[*at], 0x80..=0xbf);
        let at = self.raw.start + (at - self.text.start);
        let start = at - (self.raw.start + 1..=at).rev().take_while(is_continuation).count();
        let end = at + 1 + (at + 1..self.raw.end).take_while(is_continuation).count();
        Some(start..end)
    }
}

/// Appends `text` to `out` as a string's content: quote, backslash and control characters escaped, all else as it is.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x8 => b'b',
            0xc => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain_from..at]);
        plain_from = at + 1;
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
}

/// Whether an edit of a string's content may start or end at `offset`: it cuts neither an escape, nor the two escapes of a surrogate
/// pair, nor a UTF-8 character. `false` beyond the end. Costs as much as the run of backslashes before `offset` is long.
pub fn is_boundary(content: &[u8], offset: usize) -> bool {
    if offset == 0 || offset == content.len() {
        return true;
    }
    match content.get(offset) {
        None | Some(0x80..=0xbf) => return false,
        Some(_) => {}
    }
    // An escape that covers `offset` starts at one of the eleven bytes before it.
    for start in offset.saturating_sub(11)..offset {
        if content[start] == b'\\' && starts_escape(content, start) {
            let length = escape_at(&content[start..]).map_or(2, |(_, length, _)| length);
            if offset < start + length {
                return false;
            }
        }
    }
    true
}

/// Whether the backslash at `at` starts an escape: an even number of backslashes stands before it.
fn starts_escape(content: &[u8], at: usize) -> bool {
    content[..at].iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2)
}
