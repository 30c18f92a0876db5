//! `zstd`: frames one after the other.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{Codec, DecodeError, Step};

/// Base-2 logarithm of the largest window, 8 MiB: what RFC 9659 asks receivers to support, and lets senders use.
const MAX_WINDOW_LOG: u32 = 23;

/// Lower three bytes of the magic numbers of frames that are to be skipped; the lowest byte is 0x50 to 0x5f.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Reads frames as RFC 8878 defines them.
pub(super) struct Zstd {
    at: At,
    /// What has come of the next frame's magic number.
    magic: [u8; 4],
    length: usize,
    any_frame: bool,
}

enum At {
    /// Before a frame. The decoder of the last one is kept.
    Between(Option<Decoder<'static>>),
    Frame(Decoder<'static>),
    Ended,
}

impl Zstd {
    pub(super) fn new() -> Self {
        Self { at: At::Between(None), magic: [0; 4], length: 0, any_frame: false }
    }

    /// Gathers the magic number, and stops reading when it is none and a frame has come before.
    fn between(&mut self, input: &[u8]) -> Result<usize, DecodeError> {
        let used = input.len().min(self.magic.len() - self.length);
        self.magic[self.length..self.length + used].copy_from_slice(&input[..used]);
        self.length += used;
        if !may_be_magic(&self.magic[..self.length]) {
            if !self.any_frame {
                return Err(DecodeError::Broken);
            }
            self.at = At::Ended;
            return Ok(input.len());
        }
        if self.length == self.magic.len() {
            self.length = 0;
            self.any_frame = true;
            if let At::Between(decoder) = std::mem::replace(&mut self.at, At::Ended) {
                let mut decoder = decoder.map_or_else(decoder_of_frames, Ok)?;
                // A magic number alone is always read whole, and decodes to nothing.
                decode(&mut decoder, &self.magic, &mut [])?;
                self.at = At::Frame(decoder);
            }
        }
        Ok(used)
    }
}

fn may_be_magic(seen: &[u8]) -> bool {
    match seen {
        [first, rest @ ..] if first & 0xf0 == 0x50 => SKIPPABLE.starts_with(rest),
        seen => MAGIC.starts_with(seen),
    }
}

fn decoder_of_frames() -> Result<Decoder<'static>, DecodeError> {
    let mut decoder = Decoder::new().map_err(|_| DecodeError::Broken)?;
    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(|_| DecodeError::Broken)?;
    Ok(decoder)
}

/// One step of the decoder, and whether a frame has ended with it.
fn decode(decoder: &mut Decoder<'static>, input: &[u8], output: &mut [u8]) -> Result<(Step, bool), DecodeError> {
    let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
    let hint = decoder.run(&mut from, &mut to).map_err(|_| DecodeError::Broken)?;
    Ok((Step { used: from.pos(), written: to.pos() }, hint == 0))
}

impl Codec for Zstd {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        match &mut self.at {
            At::Between(_) => Ok(Step { used: self.between(input)?, written: 0 }),
            At::Frame(decoder) => {
                let (step, ended) = decode(decoder, input, output)?;
                if ended && let At::Frame(decoder) = std::mem::replace(&mut self.at, At::Ended) {
                    self.at = At::Between(Some(decoder));
                }
                Ok(step)
            }
            At::Ended => Ok(Step { used: input.len(), written: 0 }),
        }
    }

    fn may_end(&self) -> bool {
        match self.at {
            At::Between(_) => self.length == 0 || self.any_frame,
            At::Frame(_) => false,
            At::Ended => true,
        }
    }
}
