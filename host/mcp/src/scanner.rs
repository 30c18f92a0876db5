//! The push scanner: reads the envelopes of JSON-RPC messages out of bytes fed in any pieces, in constant memory at any depth and size.
//!
//! Two modes. Along the paths of [`role`] it follows the grammar of JSON and captures. Everything else it skips: there it looks only
//! for the end of strings and of containers. It observes and does not validate: what it calls complete may still not be JSON to the
//! letter, but what is obviously something else is [`ScanEnd::NotJson`].

mod draft;
mod role;

use crate::envelope::Envelope;
use crate::json::{decode, quote_or_backslash};
use draft::Draft;
use role::{MAX_KEY_BYTES, Role};

/// More raw bytes of a captured string than any capture needs: 260 bytes of text, each written as an escape of six.
const MAX_HELD_BYTES: usize = 6 * 260 + 6;
/// More bytes than any number or literal that means something here.
const MAX_SCALAR_BYTES: usize = 64;
/// Batch, message, result, content, element; or batch, message, params, `_meta`, client info.
const MAX_FRAMES: usize = 5;

/// How the bytes that were fed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanEnd {
    /// No bytes, or white space only.
    Empty,
    /// One message or one batch, whole.
    Complete,
    /// They ended within a message or batch.
    Truncated,
    /// They are not one JSON text.
    NotJson,
}

/// Reads envelopes from bytes fed in any pieces: see the [module's description](self).
///
/// ```
/// # use watchgate_mcp::{ScanEnd, Scanner};
/// let (mut scanner, mut methods) = (Scanner::new(), Vec::new());
/// let mut sink = |envelope: watchgate_mcp::Envelope| methods.push(envelope.method);
/// scanner.feed(br#"{"method":"ping","jsonr"#, &mut sink);
/// scanner.feed(br#"pc":"2.0","id":0}"#, &mut sink);
/// assert_eq!(scanner.finish(&mut sink), ScanEnd::Complete);
/// assert_eq!(methods[0].as_ref().map(|method| method.as_str()), Some("ping"));
/// ```
pub struct Scanner {
    phase: Phase,
    /// The open containers along the path, outermost first.
    frames: [Role; MAX_FRAMES],
    depth: usize,
    /// Of the value expected or being read.
    role: Role,
    draft: Draft,
    string: StringState,
    skipped: Skipped,
    /// Bytes fed before the current chunk.
    offset: u64,
    message_start: u64,
    /// Of the value whose length is wanted: `arguments` and `result` never stand in each other.
    measured_start: u64,
    is_batch: bool,
    message_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Value,
    /// After `[`.
    FirstElement,
    /// After `{`.
    FirstKey,
    /// After `,` in an object.
    NextKey,
    Colon,
    /// After a value inside a container.
    Next,
    Key,
    String,
    Scalar,
    Skip,
    SkipString,
    /// After the outermost value.
    End,
    Failed,
}

/// A string or scalar that began and has not ended.
#[derive(Default)]
struct StringState {
    /// The chunk ended right behind a backslash.
    escape_pending: bool,
    /// What earlier chunks held of it; empty when it began in the current one.
    held: Vec<u8>,
    /// It is longer than what is held.
    cut: bool,
}

impl StringState {
    fn hold(&mut self, bytes: &[u8], limit: usize) {
        let room = limit - self.held.len().min(limit);
        self.cut |= bytes.len() > room;
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// The containers of a skipped value: their number, and of the outermost 64 whether each is an object.
#[derive(Default)]
struct Skipped {
    depth: u64,
    objects: u64,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner that has seen nothing.
    pub fn new() -> Self {
        Self {
            phase: Phase::Start,
            frames: [Role::Content; MAX_FRAMES],
            depth: 0,
            role: Role::Message,
            draft: Draft::default(),
            string: StringState::default(),
            skipped: Skipped::default(),
            offset: 0,
            message_start: 0,
            measured_start: 0,
            is_batch: false,
            message_ended: false,
        }
    }

    /// Forgets everything that was fed.
    pub fn reset(&mut self) {
        let mut held = std::mem::take(&mut self.string.held);
        held.clear();
        *self = Self { string: StringState { held, ..StringState::default() }, ..Self::new() };
    }

    /// Whether the outermost value is an array: a batch of 2025-03-26.
    pub const fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// Reads the next bytes; `sink` gets each message that ends in them.
    pub fn feed(&mut self, chunk: &[u8], sink: &mut impl FnMut(Envelope)) {
        let mut rest = chunk;
        while let Some(used) = self.advance(rest) {
            sink(self.take_envelope());
            rest = &rest[used..];
        }
    }

    /// No more bytes follow. Only a message that is a bare number or literal can still end here; one that is cut off is not reported.
    pub fn finish(&mut self, sink: &mut impl FnMut(Envelope)) -> ScanEnd {
        if self.phase == Phase::Scalar && self.depth == 0 {
            self.end_scalar(&[], 0);
            if std::mem::take(&mut self.message_ended) {
                sink(self.take_envelope());
            }
        }
        match self.phase {
            Phase::Start => ScanEnd::Empty,
            Phase::End => ScanEnd::Complete,
            Phase::Failed => ScanEnd::NotJson,
            _ => ScanEnd::Truncated,
        }
    }

    fn take_envelope(&mut self) -> Envelope {
        std::mem::take(&mut self.draft).finish(self.offset - self.message_start)
    }

    /// Reads until a message ends, and says how many bytes that took; `None` when the chunk is used up without one.
    fn advance(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < chunk.len() && self.phase != Phase::Failed {
            at = match self.phase {
                Phase::Skip => self.skip(chunk, at),
                Phase::SkipString => self.skip_string(chunk, at),
                Phase::Key | Phase::String => self.string(chunk, at),
                Phase::Scalar => self.scalar(chunk, at),
                _ => self.structure(chunk[at], at),
            };
            if std::mem::take(&mut self.message_ended) {
                self.offset += at as u64;
                return Some(at);
            }
        }
        self.offset += chunk.len() as u64;
        None
    }

    /// Reads one byte between tokens.
    fn structure(&mut self, byte: u8, at: usize) -> usize {
        let next = at + 1;
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return next;
        }
        let container = self.frames[self.depth.saturating_sub(1)];
        match (self.phase, byte) {
            (Phase::Start, _) => {
                self.is_batch = byte == b'[';
                self.role = if self.is_batch { Role::Batch } else { Role::Message };
                return self.begin_value(byte, at);
            }
            (Phase::FirstElement, b']') => self.close(next),
            (Phase::FirstElement | Phase::Value, _) => return self.begin_value(byte, at),
            (Phase::FirstKey | Phase::NextKey, b'"') => self.begin_string(Phase::Key),
            (Phase::FirstKey, b'}') => self.close(next),
            (Phase::Colon, b':') => self.phase = Phase::Value,
            (Phase::Next, b',') if container.opens_array() => self.expect_element(container, Phase::Value),
            (Phase::Next, b',') => self.phase = Phase::NextKey,
            (Phase::Next, b']') if container.opens_array() => self.close(next),
            (Phase::Next, b'}') if !container.opens_array() => self.close(next),
            _ => self.phase = Phase::Failed,
        }
        next
    }

    fn expect_element(&mut self, container: Role, phase: Phase) {
        self.role = container.element();
        self.phase = phase;
    }

    /// Reads the first byte of a value in the role that was set.
    fn begin_value(&mut self, byte: u8, at: usize) -> usize {
        let role = self.role;
        let start = self.offset + at as u64;
        match role {
            Role::Message => self.message_start = start,
            Role::Arguments | Role::Result => self.measured_start = start,
            _ => {}
        }
        self.draft.begin(role);
        match byte {
            b'{' if role.opens_object() => {
                self.draft.open(role);
                self.push(role);
                self.phase = Phase::FirstKey;
            }
            b'[' if role.opens_array() => {
                self.push(role);
                self.expect_element(role, Phase::FirstElement);
            }
            b'{' | b'[' => {
                self.skipped = Skipped { depth: 1, objects: u64::from(byte == b'{') };
                self.phase = Phase::Skip;
            }
            b'"' => self.begin_string(Phase::String),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.begin_string(Phase::Scalar);
                return at;
            }
            _ => self.phase = Phase::Failed,
        }
        at + 1
    }

    fn push(&mut self, role: Role) {
        match self.frames.get_mut(self.depth) {
            Some(frame) => *frame = role,
            // The table of roles goes no deeper; if it ever does, that is content.
            None => self.phase = Phase::Failed,
        }
        self.depth += 1;
    }

    /// The innermost container of the path ends before `next`.
    fn close(&mut self, next: usize) {
        self.depth -= 1;
        self.end_value(self.frames[self.depth], next);
    }

    fn end_value(&mut self, role: Role, next: usize) {
        self.draft.end(role, (self.offset + next as u64) - self.measured_start);
        self.message_ended = role == Role::Message;
        self.phase = if self.depth == 0 { Phase::End } else { Phase::Next };
    }

    fn begin_string(&mut self, phase: Phase) {
        self.phase = phase;
        self.string.held.clear();
        self.string.cut = false;
    }

    /// Reads within a key or a string value.
    fn string(&mut self, chunk: &[u8], at: usize) -> usize {
        let is_key = self.phase == Phase::Key;
        let wanted = is_key || self.role.is_captured();
        let Some(end) = string_end(chunk, at, &mut self.string.escape_pending) else {
            if wanted {
                self.string.hold(&chunk[at..], MAX_HELD_BYTES);
            }
            return chunk.len();
        };
        let mut held = std::mem::take(&mut self.string.held);
        let raw = if held.is_empty() {
            &chunk[at..end]
        } else {
            self.string.held = held;
            self.string.hold(&chunk[at..end], MAX_HELD_BYTES);
            held = std::mem::take(&mut self.string.held);
            &held
        };
        if is_key {
            self.end_key(raw);
        } else {
            if wanted {
                self.draft.string(self.role, raw);
            }
            self.end_value(self.role, end + 1);
        }
        self.string.held = held;
        end + 1
    }

    fn end_key(&mut self, raw: &[u8]) {
        let object = self.frames[self.depth.saturating_sub(1)];
        self.phase = Phase::Colon;
        self.role = match () {
            () if raw.len() > MAX_KEY_BYTES => Role::Content,
            () if raw.contains(&b'\\') => decode(raw).map_or(Role::Content, |key| object.member(key.as_bytes())),
            () => object.member(raw),
        };
    }

    /// Reads within a number or literal.
    fn scalar(&mut self, chunk: &[u8], at: usize) -> usize {
        let length = chunk[at..].iter().take_while(|byte| is_scalar(**byte)).count();
        let end = at + length;
        if end == chunk.len() {
            self.string.hold(&chunk[at..], MAX_SCALAR_BYTES);
        } else {
            self.end_scalar(&chunk[at..end], end);
        }
        end
    }

    fn end_scalar(&mut self, tail: &[u8], end: usize) {
        self.string.hold(tail, MAX_SCALAR_BYTES);
        let (raw, whole) = (&*self.string.held, !self.string.cut);
        if !is_number(raw) && !(whole && matches!(raw, b"true" | b"false" | b"null")) {
            self.phase = Phase::Failed;
            return;
        }
        if self.role.is_captured() {
            self.draft.scalar(self.role, raw, whole);
        }
        self.end_value(self.role, end);
    }

    /// Reads within a value that is not captured, outside its strings.
    fn skip(&mut self, chunk: &[u8], mut at: usize) -> usize {
        loop {
            while chunk.get(at).is_some_and(|byte| SKIPPED[usize::from(*byte)]) {
                at += 1;
            }
            let Some(&byte) = chunk.get(at) else { return at };
            at += 1;
            match byte {
                b'"' => match string_end(chunk, at, &mut self.string.escape_pending) {
                    Some(end) => at = end + 1,
                    None => {
                        self.phase = Phase::SkipString;
                        return chunk.len();
                    }
                },
                b'{' | b'[' => self.skipped.open(byte == b'{'),
                b'}' | b']' if self.skipped.close(byte == b'}') => {
                    if self.skipped.depth == 0 {
                        self.end_value(self.role, at);
                        return at;
                    }
                }
                _ => {
                    self.phase = Phase::Failed;
                    return at;
                }
            }
        }
    }

    fn skip_string(&mut self, chunk: &[u8], at: usize) -> usize {
        match string_end(chunk, at, &mut self.string.escape_pending) {
            Some(end) => {
                self.phase = Phase::Skip;
                end + 1
            }
            None => chunk.len(),
        }
    }
}

impl Skipped {
    fn open(&mut self, is_object: bool) {
        if self.depth < 64 {
            self.objects = self.objects & !(1 << self.depth) | u64::from(is_object) << self.depth;
        }
        self.depth += 1;
    }

    /// Whether the bracket is the one that belongs here; deeper than 64 every one is taken for it.
    fn close(&mut self, is_object: bool) -> bool {
        self.depth -= 1;
        self.depth >= 64 || (self.objects >> self.depth & 1 == 1) == is_object
    }
}

/// The offset of the quote that ends the string `at` lies in.
fn string_end(chunk: &[u8], mut at: usize, escape_pending: &mut bool) -> Option<usize> {
    if std::mem::take(escape_pending) {
        at += 1;
    }
    loop {
        let found = at + quote_or_backslash(chunk.get(at..)?)?;
        if chunk[found] == b'"' {
            return Some(found);
        }
        at = found + 2;
        if at > chunk.len() {
            *escape_pending = true;
            return None;
        }
    }
}

/// Bytes that stand between the strings and brackets of JSON: white space, separators, numbers, and the letters of the literals.
const SKIPPED: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b" \t\n\r,:+-.0123456789Eaeflnrstu";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

/// Every byte that does not end a number or literal.
const fn is_scalar(byte: u8) -> bool {
    !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"')
}

/// Loosely: made of what numbers are made of, and with a digit where one must be.
fn is_number(raw: &[u8]) -> bool {
    let digits = raw.strip_prefix(b"-").unwrap_or(raw);
    digits.first().is_some_and(u8::is_ascii_digit)
        && digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
}
