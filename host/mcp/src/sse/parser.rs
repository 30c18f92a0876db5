//! Event streams read on the fly: the data passes through in pieces, nothing is gathered.

use super::lines::{Field, Lines, Step};

/// Longest event name that is reported whole.
const MAX_EVENT_NAME_BYTES: usize = 64;

/// One piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SsePart<'a> {
    /// Content of a `data` line, or a piece of it, never empty. The space behind the colon is not part of it.
    Data(&'a [u8]),
    /// A `data` line has ended; between two of them the data has a LF.
    DataLineEnd,
    /// An `event` line has ended: the event's name, cut at 64 bytes.
    EventName(&'a [u8]),
    /// An `id` line has ended.
    Id,
    /// A `retry` line has ended.
    Retry,
    /// A comment line has ended.
    Comment,
    /// A blank line has ended an event.
    EventEnd {
        /// Whether it had a `data` line, be it an empty one.
        had_data: bool,
    },
}

/// Reads an event stream in chunks cut anywhere, in constant memory.
pub struct SseParser {
    lines: Lines,
    line: Line,
    /// The field's name while it is being read, one byte more than any known one at most.
    name: [u8; Field::MAX_NAME_BYTES + 1],
    name_length: usize,
    event_name: Vec<u8>,
    any_line: bool,
    had_data: bool,
}

/// Where in its line the parser is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Start,
    Name,
    /// Behind the colon, where one space is dropped.
    AfterColon(Field),
    Value(Field),
}

impl Default for SseParser {
    fn default() -> Self {
        Self::new()
    }
}

impl SseParser {
    /// A parser at the start of a stream.
    pub fn new() -> Self {
        Self {
            lines: Lines::new(),
            line: Line::Start,
            name: [0; Field::MAX_NAME_BYTES + 1],
            name_length: 0,
            event_name: Vec::new(),
            any_line: false,
            had_data: false,
        }
    }

    /// Reads the next bytes; `sink` gets each part as soon as it is seen.
    pub fn feed(&mut self, chunk: &[u8], sink: &mut impl FnMut(SsePart<'_>)) {
        let mut rest = chunk;
        while let Some((step, used)) = self.lines.next(rest) {
            match step {
                Step::Text(text) => self.text(text, sink),
                Step::End => self.line_end(sink),
                Step::Nothing => {}
            }
            rest = &rest[used..];
        }
    }

    fn text(&mut self, mut text: &[u8], sink: &mut impl FnMut(SsePart<'_>)) {
        if matches!(self.line, Line::Start | Line::Name) {
            self.line = Line::Name;
            let colon = text.iter().position(|byte| *byte == b':');
            let name = &text[..colon.unwrap_or(text.len())];
            let room = &mut self.name[self.name_length..];
            let kept = name.len().min(room.len());
            room[..kept].copy_from_slice(&name[..kept]);
            self.name_length += kept;
            let Some(colon) = colon else { return };
            self.line = Line::AfterColon(self.field());
            text = &text[colon + 1..];
        }
        if let (Line::AfterColon(field), [first, ..]) = (self.line, text) {
            self.line = Line::Value(field);
            if *first == b' ' {
                text = &text[1..];
            }
        }
        match self.line {
            Line::Value(Field::Data) if !text.is_empty() => sink(SsePart::Data(text)),
            Line::Value(Field::Event) => {
                let room = MAX_EVENT_NAME_BYTES - self.event_name.len();
                self.event_name.extend_from_slice(&text[..text.len().min(room)]);
            }
            _ => {}
        }
    }

    fn field(&self) -> Field {
        Field::named(&self.name[..self.name_length])
    }

    fn line_end(&mut self, sink: &mut impl FnMut(SsePart<'_>)) {
        let field = match self.line {
            Line::Start => {
                if std::mem::take(&mut self.any_line) {
                    sink(SsePart::EventEnd { had_data: self.had_data });
                }
                self.had_data = false;
                return;
            }
            Line::Name => self.field(),
            Line::AfterColon(field) | Line::Value(field) => field,
        };
        self.any_line = true;
        self.line = Line::Start;
        self.name_length = 0;
        match field {
            Field::Data => {
                self.had_data = true;
                sink(SsePart::DataLineEnd);
            }
            Field::Event => {
                sink(SsePart::EventName(&self.event_name));
                self.event_name.clear();
            }
            Field::Id => sink(SsePart::Id),
            Field::Retry => sink(SsePart::Retry),
            Field::Comment => sink(SsePart::Comment),
            Field::Unknown => {}
        }
    }
}
