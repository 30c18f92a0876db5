//! `deflate`: a zlib frame as the standard says, or the bare data that some servers send in its place.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Codec, DecodeError, Step};

/// Decides by the first two bytes which of the two it is.
pub(super) struct Deflate {
    state: State,
}

enum State {
    Start,
    /// The first byte waits for the second.
    FirstByte(u8),
    Data(Inflate),
    Ended,
}

impl Deflate {
    pub(super) fn new() -> Self {
        Self { state: State::Start }
    }
}

impl Codec for Deflate {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        let (step, ended) = match &mut self.state {
            State::Start => {
                self.state = input.first().map_or(State::Start, |first| State::FirstByte(*first));
                return Ok(Step { used: input.len().min(1), written: 0 });
            }
            State::FirstByte(first) => {
                let Some(second) = input.first() else { return Ok(Step { used: 0, written: 0 }) };
                let head = [*first, *second];
                let mut inflate = Inflate::new(is_zlib(head));
                // Two bytes are always read: they decode to no more than a few.
                let (Step { written, .. }, ended) = inflate.step(&head, output)?;
                self.state = State::Data(inflate);
                (Step { used: 1, written }, ended)
            }
            State::Data(inflate) => inflate.step(input, output)?,
            State::Ended => (Step { used: input.len(), written: 0 }, true),
        };
        if ended {
            self.state = State::Ended;
        }
        Ok(step)
    }

    fn may_end(&self) -> bool {
        matches!(self.state, State::Start | State::Ended)
    }
}

/// The check that RFC 1950 gives for its two bytes. Bare data that passes it would begin with a stored block whose padding is not zero.
fn is_zlib([first, second]: [u8; 2]) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]) % 31 == 0 && second & 0x20 == 0
}

/// The data of RFC 1951, with or without a zlib frame. It has a box inside, and is small to move.
pub(super) struct Inflate(Decompress);

impl Inflate {
    pub(super) fn new(zlib: bool) -> Self {
        Self(Decompress::new(zlib))
    }

    pub(super) fn reset(&mut self) {
        self.0.reset(false);
    }

    /// One step, and whether the data has ended with it.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<(Step, bool), DecodeError> {
        let (read, wrote) = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(input, output, FlushDecompress::None).map_err(|_| DecodeError::Broken)?;
        let step = Step { used: (self.0.total_in() - read) as usize, written: (self.0.total_out() - wrote) as usize };
        Ok((step, status == Status::StreamEnd))
    }
}
