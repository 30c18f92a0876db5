//! A text as whoever unwraps it further will read it: escapes of any depth resolved, and line breaks left out where asked.
//!
//! Tool results often hold JSON inside a string: there `\\u0041KIA` reads `AKIA` once it is decoded again, and the `n` of `\\n` is no letter of
//! the word behind it.

use core::ops::Range;

/// The flat text, and where each byte of it comes from.
pub struct Flat {
    text: Vec<u8>,
    sources: Vec<(usize, usize)>,
}

/// What becomes of line breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineBreaks {
    /// They stay.
    Keep,
    /// They are left out, so that what they cut is whole again.
    Join,
}

impl Flat {
    /// Flattens a text.
    #[must_use]
    pub fn new(source: &[u8], line_breaks: LineBreaks) -> Self {
        let mut flat = Self { text: Vec::with_capacity(source.len()), sources: Vec::with_capacity(source.len()) };
        let mut at = 0;
        while let Some(&byte) = source.get(at) {
            let (character, length) = match byte {
                b'\\' => escape(&source[at..]),
                _ => (Character::Byte(byte), 1),
            };
            let end = at + length;
            match character {
                Character::Byte(b'\r' | b'\n') if line_breaks == LineBreaks::Join => {}
                Character::Byte(byte) => flat.push(byte, at, end),
                Character::Unicode(character) => {
                    let mut utf8 = [0; 4];
                    character.encode_utf8(&mut utf8).bytes().for_each(|byte| flat.push(byte, at, end));
                }
            }
            at = end;
        }
        flat
    }

    fn push(&mut self, byte: u8, start: usize, end: usize) {
        self.text.push(byte);
        self.sources.push((start, end));
    }

    /// The flat text.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What a range of the flat text, not empty, stands for in the source.
    #[must_use]
    pub fn source_range(&self, range: &Range<usize>) -> Range<usize> {
        self.sources[range.start].0..self.sources[range.end - 1].1
    }
}

enum Character {
    Byte(u8),
    Unicode(char),
}

/// The character that the backslashes at the beginning of `rest` and what follows them stand for, and their length. Each level of wrapping
/// doubles the backslashes, so that any number of them belongs to one escape.
fn escape(rest: &[u8]) -> (Character, usize) {
    let backslashes = rest.iter().take_while(|byte| **byte == b'\\').count();
    let simple = |byte| (Character::Byte(byte), backslashes + 1);
    match rest.get(backslashes) {
        Some(b'n') => simple(b'\n'),
        Some(b'r') => simple(b'\r'),
        Some(b't') => simple(b'\t'),
        Some(b'b') => simple(8),
        Some(b'f') => simple(12),
        Some(b'/') => simple(b'/'),
        Some(b'"') => simple(b'"'),
        Some(b'u') => match code_unit(&rest[backslashes + 1..]) {
            // Half of a surrogate pair stands for something beyond ASCII, where no secret is.
            Some(unit) => (Character::Unicode(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)), backslashes + 5),
            None => (Character::Byte(b'\\'), backslashes),
        },
        _ => (Character::Byte(b'\\'), backslashes),
    }
}

fn code_unit(rest: &[u8]) -> Option<u32> {
    rest.get(..4)?.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}
