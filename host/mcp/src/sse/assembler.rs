//! Event streams cut into whole events, each with its exact bytes.

use super::event::SseEvent;
use super::lines::{BOM, Lines, Step};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// An event is larger than the assembler gathers. What follows of it is dropped; the next event is read as usual.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {cap} bytes")]
pub struct EventTooLarge {
    /// The most bytes an event may have.
    pub cap: usize,
    /// What was gathered of it; its last line may be cut.
    pub partial: SseEvent,
}

/// Cuts a stream into events. The raw bytes of all events and of [`SseAssembler::take_rest`], joined, are the stream, as long as none
/// was too large.
pub struct SseAssembler {
    cap: usize,
    lines: Lines,
    /// What was pushed and not yet read.
    input: VecDeque<Bytes>,
    /// The beginning of the block being read, from chunks already read.
    held: BytesMut,
    block: Block,
    at_stream_start: bool,
    /// The block being read was too large.
    discarding: bool,
}

/// What has been seen of the block being read.
struct Block {
    /// It starts with the LF that belongs to the CR that ended the block before.
    starts_with_lf: bool,
    at_line_start: bool,
    any_line: bool,
    only_comments: bool,
}

impl Block {
    const NEW: Self = Self { starts_with_lf: false, at_line_start: true, any_line: false, only_comments: true };

    /// Whether all of it can go out although no blank line has come: keep-alives are often a single comment line.
    fn is_complete_comment(&self) -> bool {
        self.any_line && self.at_line_start && self.only_comments
    }
}

impl SseAssembler {
    /// An assembler of events of at most `cap_bytes` bytes each, all lines included.
    pub fn new(cap_bytes: usize) -> Self {
        Self {
            cap: cap_bytes,
            lines: Lines::new(),
            input: VecDeque::new(),
            held: BytesMut::new(),
            block: Block::NEW,
            at_stream_start: true,
            discarding: false,
        }
    }

    /// Adds the next bytes of the stream. They are kept until [`Self::next_event`] has read them: call it until it gives `None`.
    pub fn push(&mut self, chunk: impl Into<Bytes>) {
        let chunk = chunk.into();
        if !chunk.is_empty() {
            self.input.push_back(chunk);
        }
    }

    /// The next event that is whole: ended by a blank line, or nothing but comment lines.
    pub fn next_event(&mut self) -> Option<Result<SseEvent, EventTooLarge>> {
        while let Some(mut chunk) = self.input.pop_front() {
            let (used, ended) = self.read(&chunk);
            let ended = ended || (self.input.is_empty() && self.block.is_complete_comment());
            let piece = chunk.split_to(used);
            if !chunk.is_empty() {
                self.input.push_front(chunk);
            }
            let event = self.gather(piece, ended);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// Bytes that are held, or pushed and not yet read.
    pub fn len(&self) -> usize {
        self.held.len() + self.input.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether nothing is held: the next byte begins a block, or follows one that was too large and has ended.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.input.is_empty() && !self.discarding
    }

    /// The bytes of an event that the stream's end has cut off, and those not yet read; empty where there are none.
    pub fn take_rest(&mut self) -> Bytes {
        let mut rest = std::mem::take(&mut self.held);
        for chunk in self.input.drain(..) {
            rest.extend_from_slice(&chunk);
        }
        self.block = Block::NEW;
        rest.freeze()
    }

    /// Reads to the end of the block or of the chunk: how many bytes, and whether the block has ended.
    fn read(&mut self, chunk: &[u8]) -> (usize, bool) {
        let mut used = 0;
        while let Some((step, length)) = self.lines.next(&chunk[used..]) {
            used += length;
            let block = &mut self.block;
            match step {
                Step::Nothing => {
                    block.starts_with_lf |= !self.at_stream_start && self.held.is_empty() && !block.any_line && block.at_line_start;
                }
                Step::Text(text) => {
                    block.only_comments &= !block.at_line_start || text[0] == b':';
                    block.at_line_start = false;
                }
                Step::End if block.at_line_start => return (used, true),
                Step::End => {
                    block.at_line_start = true;
                    block.any_line = true;
                }
            }
        }
        (used, false)
    }

    /// Adds a piece to the block, which may be its last.
    fn gather(&mut self, piece: Bytes, ended: bool) -> Option<Result<SseEvent, EventTooLarge>> {
        if self.discarding {
            if ended {
                self.begin_block();
                self.discarding = false;
            }
            return None;
        }
        let too_large = self.held.len() + piece.len() > self.cap;
        if !ended && !too_large {
            self.held.extend_from_slice(&piece);
            return None;
        }
        let raw = if self.held.is_empty() {
            piece
        } else {
            self.held.extend_from_slice(&piece);
            std::mem::take(&mut self.held).freeze()
        };
        let lead = match () {
            () if self.at_stream_start && raw.starts_with(BOM) => BOM.len(),
            () => usize::from(self.block.starts_with_lf),
        };
        let event = SseEvent::new(raw, lead);
        self.discarding = too_large && !ended;
        if ended {
            self.begin_block();
        }
        self.at_stream_start = false;
        Some(if too_large { Err(EventTooLarge { cap: self.cap, partial: event }) } else { Ok(event) })
    }

    fn begin_block(&mut self) {
        self.block = Block::NEW;
    }
}
