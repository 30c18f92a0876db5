//! The line-state machine of event streams: where lines end, in chunks cut anywhere, and what a line is.

use memchr::memchr2;

/// May stand at the very start of a stream, and is then no part of the first line.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Data,
    Event,
    Id,
    Retry,
    Comment,
    /// A field the specification does not know: ignored.
    Unknown,
}

impl Field {
    /// No known name is longer.
    pub(super) const MAX_NAME_BYTES: usize = 5;

    /// By what stands before the colon; nothing before it makes a comment.
    pub(super) const fn named(name: &[u8]) -> Self {
        match name {
            b"" => Self::Comment,
            b"data" => Self::Data,
            b"event" => Self::Event,
            b"id" => Self::Id,
            b"retry" => Self::Retry,
            _ => Self::Unknown,
        }
    }
}

/// What the next bytes of a stream are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Content of a line, or a piece of it; never empty.
    Text(&'a [u8]),
    /// A line has ended.
    End,
    /// Bytes that mean nothing: a byte order mark, or the LF of a CRLF whose CR ended the line already.
    Nothing,
}

/// Finds the lines of a stream.
#[derive(Default)]
pub(super) struct Lines {
    /// The last chunk ended in a CR, which has ended its line; a LF that follows belongs to it.
    after_cr: bool,
    bom: Bom,
}

#[derive(Default)]
enum Bom {
    /// So many bytes of it have been seen, at the start of the stream.
    Seen(usize),
    #[default]
    Past,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { after_cr: false, bom: Bom::Seen(0) }
    }

    /// The next step in `input`, and how many bytes it takes; `None` when `input` is empty.
    pub(super) fn next<'a>(&mut self, input: &'a [u8]) -> Option<(Step<'a>, usize)> {
        let first = *input.first()?;
        match self.bom {
            Bom::Seen(seen) if first == BOM[seen] => {
                self.bom = if seen + 1 == BOM.len() { Bom::Past } else { Bom::Seen(seen + 1) };
                return Some((Step::Nothing, 1));
            }
            Bom::Seen(seen) => {
                self.bom = Bom::Past;
                if seen > 0 {
                    return Some((Step::Text(&BOM[..seen]), 0));
                }
            }
            Bom::Past => {}
        }
        if std::mem::take(&mut self.after_cr) && first == b'\n' {
            return Some((Step::Nothing, 1));
        }
        match memchr2(b'\r', b'\n', input) {
            Some(0) if first == b'\n' => Some((Step::End, 1)),
            Some(0) => match input.get(1) {
                Some(b'\n') => Some((Step::End, 2)),
                Some(_) => Some((Step::End, 1)),
                None => {
                    self.after_cr = true;
                    Some((Step::End, 1))
                }
            },
            Some(length) => Some((Step::Text(&input[..length]), length)),
            None => Some((Step::Text(input), input.len())),
        }
    }
}
