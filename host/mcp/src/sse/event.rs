//! One whole event: its exact bytes, what they say, and the same event with other data.

use super::lines::Field;
use bytes::Bytes;
use memchr::memchr2;
use std::borrow::Cow;

/// One event of a stream, or a block that is none: comments, or a blank line by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    raw: Bytes,
    /// Bytes in front that belong to no line of it: a byte order mark, or the LF of the CRLF that ended the event before.
    lead: usize,
}

/// One line of an event.
struct Line<'a> {
    /// With its ending.
    whole: &'a [u8],
    /// CR, LF, CRLF, or nothing where the stream was cut.
    ending: &'a [u8],
    /// `None` for a blank line.
    field: Option<Field>,
    value: &'a [u8],
}

impl<'a> Line<'a> {
    fn new(content: &'a [u8], ending: &'a [u8], whole: &'a [u8]) -> Self {
        if content.is_empty() {
            return Self { whole, ending, field: None, value: content };
        }
        let (name, value) = match content.iter().position(|byte| *byte == b':') {
            Some(colon) => (&content[..colon], &content[colon + 1..]),
            None => (content, &content[..0]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        Self { whole, ending, field: Some(Field::named(name)), value }
    }
}

/// The lines of complete bytes.
struct LinesOf<'a>(&'a [u8]);

impl<'a> Iterator for LinesOf<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.0;
        if rest.is_empty() {
            return None;
        }
        let content = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let ending = match &rest[content..] {
            [] => 0,
            [b'\r', b'\n', ..] => 2,
            _ => 1,
        };
        let (whole, rest) = rest.split_at(content + ending);
        self.0 = rest;
        Some(Line::new(&whole[..content], &whole[content..], whole))
    }
}

impl SseEvent {
    pub(super) fn new(raw: Bytes, lead: usize) -> Self {
        Self { raw, lead }
    }

    /// The exact bytes, the blank line at the end included.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The exact bytes, owned.
    pub fn into_raw(self) -> Bytes {
        self.raw
    }

    /// The `data` lines joined by LF. `None` without any: nothing is dispatched to the client then.
    pub fn data(&self) -> Option<Bytes> {
        let mut lines = self.values(Field::Data);
        let first = lines.next()?;
        let Some(second) = lines.next() else { return Some(self.raw.slice_ref(first)) };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(lines) {
            joined.push(b'\n');
            joined.extend_from_slice(value);
        }
        Some(joined.into())
    }

    /// The event's name, if it gives one; `message` is meant otherwise.
    pub fn event_name(&self) -> Option<Cow<'_, str>> {
        self.values(Field::Event).last().filter(|name| !name.is_empty()).map(String::from_utf8_lossy)
    }

    /// Whether it has an `id` or a `retry` line, which a client needs to resume.
    pub fn has_id_or_retry(&self) -> bool {
        self.lines().any(|line| matches!(line.field, Some(Field::Id | Field::Retry)))
    }

    /// The same event with `data` as its data: the `data` lines are replaced at the place of the first one (or put before the blank
    /// line), every other line stays byte for byte, and new lines end as the event's lines do. A CR, LF or CRLF in `data` starts
    /// another `data` line, so that the client reads a LF there.
    pub fn with_data(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len() + data.len() + 8);
        out.extend_from_slice(&self.raw[..self.lead]);
        let ending = self.line_ending();
        let mut written = false;
        let mut closed = false;
        for line in self.lines() {
            closed = line.field.is_none();
            if (closed || line.field == Some(Field::Data)) && !written {
                written = true;
                write_data(&mut out, data, ending);
            }
            if line.field != Some(Field::Data) {
                write_line(&mut out, line.whole);
                if line.ending.is_empty() {
                    out.extend_from_slice(ending);
                }
            }
        }
        if !written {
            write_data(&mut out, data, ending);
        }
        if !closed {
            write_line(&mut out, ending);
        }
        out
    }

    /// What is left when the data must not pass: `id`, `retry` and comment lines byte for byte, ended by a blank line; `data`, `event`
    /// and unknown lines are gone, and a line that was cut off too. Empty when nothing is left.
    pub fn without_data(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for line in self.lines() {
            let kept = matches!(line.field, Some(Field::Id | Field::Retry | Field::Comment));
            if kept && !line.ending.is_empty() {
                out.extend_from_slice(line.whole);
            }
        }
        if !out.is_empty() {
            write_line(&mut out, self.line_ending());
            out.splice(..0, self.raw[..self.lead].iter().copied());
        }
        out
    }

    fn lines(&self) -> LinesOf<'_> {
        LinesOf(&self.raw[self.lead..])
    }

    fn values(&self, field: Field) -> impl Iterator<Item = &[u8]> {
        self.lines().filter(move |line| line.field == Some(field)).map(|line| line.value)
    }

    /// How its `data` lines end, or else its first line.
    fn line_ending(&self) -> &[u8] {
        let ending = |line: Line<'_>| -> &'static [u8] {
            match line.ending {
                b"\r" => b"\r",
                b"\r\n" => b"\r\n",
                _ => b"\n",
            }
        };
        let data = self.lines().find(|line| line.field == Some(Field::Data) && !line.ending.is_empty());
        data.or_else(|| self.lines().next()).map_or(b"\n", ending)
    }
}

/// Writes a line with its ending. A blank line that is a LF must not become the second half of a CRLF where lines of mixed endings
/// have come to stand next to each other: the event would not end.
fn write_line(out: &mut Vec<u8>, whole: &[u8]) {
    if whole == b"\n" && out.last() == Some(&b'\r') {
        out.push(b'\n');
    }
    out.extend_from_slice(whole);
}

fn write_data(out: &mut Vec<u8>, data: &[u8], ending: &[u8]) {
    let mut rest = data;
    loop {
        let length = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(length);
        out.extend_from_slice(if line.is_empty() { b"data:" } else { b"data: " });
        out.extend_from_slice(line);
        out.extend_from_slice(ending);
        rest = match tail {
            [] => return,
            [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
        };
    }
}
