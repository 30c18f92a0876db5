//! A text as whoever unwraps it further will read it: escapes of any depth resolved, and line breaks left out where asked.
//!
//! Tool results often hold JSON inside a string: there `\\u0041KIA` reads `AKIA` once it is decoded again, and the `n` of `\\n` is no letter of
//! the word behind it.

use core::ops::Range;

use memchr::{memchr, memchr3};

/// The flat text. Where its bytes come from is not kept, because that would take several times its size: [`Flat::source_ranges`] reads the
/// source once more, in the few texts where something is found.
pub struct Flat<'a> {
    source: &'a [u8],
    line_breaks: LineBreaks,
    text: Vec<u8>,
}

/// What becomes of line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineBreaks {
    /// They stay.
    Keep,
    /// They are left out, so that what they cut is whole again.
    Join,
}

impl<'a> Flat<'a> {
    /// Flattens a text.
    #[must_use]
    pub fn new(source: &'a [u8], line_breaks: LineBreaks) -> Self {
        let mut text = Vec::with_capacity(source.len());
        for piece in (Pieces { source, line_breaks, at: 0 }) {
            text.extend_from_slice(piece.text());
        }
        Self { source, line_breaks, text }
    }

    /// The flat text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What each of some ranges of the flat text, none of them empty, stands for in the source. They may overlap and come in any order.
    #[must_use]
    pub fn source_ranges(&self, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
        let mut found = ranges.to_vec();
        if ranges.is_empty() {
            return found;
        }
        // The first and the last byte of each range, in the order of the text.
        let mut wanted: Vec<(usize, usize, Edge)> = Vec::with_capacity(2 * ranges.len());
        for (index, range) in ranges.iter().enumerate() {
            wanted.push((range.start, index, Edge::First));
            wanted.push((range.end - 1, index, Edge::Last));
        }
        wanted.sort_unstable_by_key(|(place, ..)| *place);
        let mut wanted = wanted.into_iter().peekable();
        let mut flat = 0;
        for piece in (Pieces { source: self.source, line_breaks: self.line_breaks, at: 0 }) {
            let end = flat + piece.text().len();
            while let Some((place, index, edge)) = wanted.next_if(|(place, ..)| *place < end) {
                match edge {
                    Edge::First => found[index].start = piece.source_of(place - flat).start,
                    Edge::Last => found[index].end = piece.source_of(place - flat).end,
                }
            }
            flat = end;
            if wanted.peek().is_none() {
                break;
            }
        }
        found
    }
}

#[derive(Debug, Clone, Copy)]
enum Edge {
    First,
    Last,
}

/// A stretch of the source, and its flat text.
enum Piece<'a> {
    /// Stands for itself.
    Plain { text: &'a [u8], start: usize },
    /// Stands for one character, or for nothing when it is a line break that is left out.
    Character { utf8: [u8; 4], length: usize, source: Range<usize> },
}

impl Piece<'_> {
    fn text(&self) -> &[u8] {
        match self {
            Self::Plain { text, .. } => text,
            Self::Character { utf8, length, .. } => &utf8[..*length],
        }
    }

    /// Where the byte at `offset` of its text comes from.
    fn source_of(&self, offset: usize) -> Range<usize> {
        match self {
            Self::Plain { start, .. } => start + offset..start + offset + 1,
            Self::Character { source, .. } => source.clone(),
        }
    }
}

struct Pieces<'a> {
    source: &'a [u8],
    line_breaks: LineBreaks,
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let start = self.at;
        let rest = self.source.get(start..).filter(|rest| !rest.is_empty())?;
        let (plain, is_joined) = match self.line_breaks {
            LineBreaks::Keep => (memchr(b'\\', rest), false),
            LineBreaks::Join => (memchr3(b'\\', b'\r', b'\n', rest), true),
        };
        let plain = plain.unwrap_or(rest.len());
        if plain > 0 {
            self.at += plain;
            return Some(Piece::Plain { text: &rest[..plain], start });
        }
        let (character, read) = if rest[0] == b'\\' { escape(rest) } else { (char::from(rest[0]), 1) };
        self.at += read;
        let mut utf8 = [0; 4];
        let is_left_out = is_joined && matches!(character, '\r' | '\n');
        let length = if is_left_out { 0 } else { character.encode_utf8(&mut utf8).len() };
        Some(Piece::Character { utf8, length, source: start..start + read })
    }
}

/// The character that the backslashes at the beginning of `rest` and what follows them stand for, and their length. Each level of wrapping
/// doubles the backslashes, so that any number of them belongs to one escape.
fn escape(rest: &[u8]) -> (char, usize) {
    let backslashes = rest.iter().take_while(|byte| **byte == b'\\').count();
    let simple = |character| (character, backslashes + 1);
    match rest.get(backslashes) {
        Some(b'n') => simple('\n'),
        Some(b'r') => simple('\r'),
        Some(b't') => simple('\t'),
        Some(b'b') => simple('\u{8}'),
        Some(b'f') => simple('\u{c}'),
        Some(b'/') => simple('/'),
        Some(b'"') => simple('"'),
        Some(b'u') => match code_unit(&rest[backslashes + 1..]) {
            // Half of a surrogate pair stands for something beyond ASCII, where no secret is.
            Some(unit) => (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), backslashes + 5),
            None => ('\\', backslashes),
        },
        _ => ('\\', backslashes),
    }
}

fn code_unit(rest: &[u8]) -> Option<u32> {
    rest.get(..4)?.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}
