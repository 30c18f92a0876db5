//! The push scanner: reads the envelopes of JSON-RPC messages out of bytes fed in any pieces, in constant memory at any depth and size.
//!
//! Two modes. Along the paths of [`role`] it follows the grammar of JSON and captures. Everything else it skips: there it looks only
//! for the end of strings and of containers. It observes and does not validate: what it calls complete may still not be JSON to the
//! letter, but what is obviously something else is [`ScanEnd::NotJson`].

mod draft;
mod listed;
mod lookalike;
mod role;
mod skipped;
mod string_end;
mod token;

use crate::envelope::Envelope;
use crate::json::decode;
use draft::Draft;
use lookalike::is_lookalike;
use role::{MAX_KEY_BYTES, Role};
use skipped::{Skipped, plain_length};
use string_end::string_end;
use token::{Held, MAX_SCALAR_BYTES, MAX_STRING_BYTES, is_number, scalar_length};

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

/// Reads envelopes from bytes fed in any pieces, in constant memory. It observes and does not validate: only what is obviously not
/// JSON is [`ScanEnd::NotJson`].
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
    held: Held,
    /// The chunk before ended inside a string, right behind a backslash.
    escape_pending: bool,
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
            held: Held::default(),
            escape_pending: false,
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
        let held = std::mem::take(&mut self.held);
        *self = Self { held, ..Self::new() };
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
            (Phase::FirstKey | Phase::NextKey, b'"') => self.begin_token(Phase::Key),
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
                self.skipped = Skipped::default();
                self.skipped.open(byte == b'{');
                self.phase = Phase::Skip;
            }
            b'"' => self.begin_token(Phase::String),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.begin_token(Phase::Scalar);
                return at;
            }
            _ => self.phase = Phase::Failed,
        }
        at + 1
    }

    fn push(&mut self, role: Role) {
        match self.frames.get_mut(self.depth) {
            Some(frame) => *frame = role,
            // Unreachable as long as the table of roles goes no deeper than MAX_FRAMES says; a panic would be worse.
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

    fn begin_token(&mut self, phase: Phase) {
        self.phase = phase;
        self.held.clear();
    }

    /// Reads within a key or a string value.
    fn string(&mut self, chunk: &[u8], at: usize) -> usize {
        let is_key = self.phase == Phase::Key;
        let is_wanted = is_key || self.role.is_captured();
        let Some(end) = string_end(chunk, at, &mut self.escape_pending) else {
            if is_wanted {
                self.held.keep(&chunk[at..], MAX_STRING_BYTES);
            }
            return chunk.len();
        };
        let (raw, _) = self.held.join(&chunk[at..end], MAX_STRING_BYTES);
        if is_key {
            let object = self.frames[self.depth.saturating_sub(1)];
            self.role = member_role(object, raw);
            if self.role == Role::Content && is_lookalike(object, raw) {
                self.draft.mark_ambiguous();
            }
            self.phase = Phase::Colon;
        } else {
            if is_wanted {
                self.draft.string(self.role, raw);
            }
            self.end_value(self.role, end + 1);
        }
        end + 1
    }

    /// Reads within a number or literal.
    fn scalar(&mut self, chunk: &[u8], at: usize) -> usize {
        let end = at + scalar_length(&chunk[at..]);
        if end == chunk.len() {
            self.held.keep(&chunk[at..], MAX_SCALAR_BYTES);
        } else {
            self.end_scalar(&chunk[at..end], end);
        }
        end
    }

    fn end_scalar(&mut self, last: &[u8], end: usize) {
        let (raw, is_whole) = self.held.join(last, MAX_SCALAR_BYTES);
        let is_literal = is_whole && matches!(raw, b"true" | b"false" | b"null");
        if !is_literal && !is_number(raw) {
            self.phase = Phase::Failed;
            return;
        }
        if self.role.is_captured() {
            self.draft.scalar(self.role, raw, is_whole);
        }
        self.end_value(self.role, end);
    }

    /// Reads within a value that is not captured, outside its strings.
    fn skip(&mut self, chunk: &[u8], mut at: usize) -> usize {
        loop {
            at += plain_length(&chunk[at..]);
            let Some(&byte) = chunk.get(at) else { return at };
            at += 1;
            match byte {
                b'"' => match string_end(chunk, at, &mut self.escape_pending) {
                    Some(end) => at = end + 1,
                    None => {
                        self.phase = Phase::SkipString;
                        return chunk.len();
                    }
                },
                b'{' | b'[' => self.skipped.open(byte == b'{'),
                b'}' | b']' if self.skipped.close(byte == b'}') => {
                    if self.skipped.is_over() {
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
        let Some(end) = string_end(chunk, at, &mut self.escape_pending) else { return chunk.len() };
        self.phase = Phase::Skip;
        end + 1
    }
}

/// The role of the value that the key `raw` of `object` announces.
fn member_role(object: Role, raw: &[u8]) -> Role {
    match () {
        () if raw.len() > MAX_KEY_BYTES => Role::Content,
        () if !raw.contains(&b'\\') => object.member(raw),
        () => decode(raw).map_or(Role::Content, |key| object.member(key.as_bytes())),
    }
}
