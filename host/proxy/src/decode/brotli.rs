//! `br`: one stream that knows its own end.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

use super::{Codec, DecodeError, Step};

type State = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// Windows of up to 16 MiB, as RFC 7932 allows; the larger ones of its extension are refused.
pub(super) struct Brotli {
    state: Box<State>,
    started: bool,
    ended: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let allocator = StandardAlloc::default;
        Self { state: Box::new(State::new_strict(allocator(), allocator(), allocator())), started: false, ended: false }
    }
}

impl Codec for Brotli {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        if self.ended {
            return Ok(Step { used: input.len(), written: 0 });
        }
        self.started |= !input.is_empty();
        let (mut left, mut used) = (input.len(), 0);
        let (mut room, mut written, mut total) = (output.len(), 0, 0);
        match BrotliDecompressStream(&mut left, &mut used, input, &mut room, &mut written, output, &mut total, &mut self.state) {
            BrotliResult::ResultFailure => return Err(DecodeError::Broken),
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { used, written })
    }

    fn may_end(&self) -> bool {
        !self.started || self.ended
    }
}
