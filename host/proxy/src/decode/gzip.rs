//! `gzip`: members one after the other, each with its head, its data and its checksum.

use flate2::Crc;

use super::deflate::Inflate;
use super::{Codec, DecodeError, Step};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The only compression method there is.
const DEFLATE: u8 = 8;
/// Head without the optional fields.
const HEAD_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

const HAS_HEAD_CHECKSUM: u8 = 0x02;
const HAS_EXTRA: u8 = 0x04;
const HAS_NAME: u8 = 0x08;
const HAS_COMMENT: u8 = 0x10;
const RESERVED: u8 = 0xe0;

/// Where in a member the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// So many bytes of the head are in `gathered`.
    Head,
    ExtraLength,
    Extra(u16),
    Name,
    Comment,
    HeadChecksum,
    Data,
    Trailer,
    /// A member has ended; another may follow.
    Between,
    /// What follows the last member is none.
    Ended,
}

/// Reads members as RFC 1952 defines them. The checksum over the head is not compared, as in every other reader.
pub(super) struct Gzip {
    at: At,
    /// Fields of known length, until they are whole.
    gathered: [u8; HEAD_BYTES],
    length: usize,
    /// Optional fields of the head that are still to come.
    flags: u8,
    inflate: Inflate,
    crc: Crc,
    started: bool,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self { at: At::Head, gathered: [0; HEAD_BYTES], length: 0, flags: 0, inflate: Inflate::new(false), crc: Crc::new(), started: false }
    }

    /// Gathers a field of `wanted` bytes: whether it is whole, and how many bytes were used.
    fn gather(&mut self, input: &[u8], wanted: usize) -> (bool, usize) {
        let used = input.len().min(wanted - self.length);
        self.gathered[self.length..self.length + used].copy_from_slice(&input[..used]);
        self.length += used;
        let whole = self.length == wanted;
        if whole {
            self.length = 0;
        }
        (whole, used)
    }

    /// One field outside the data: how many bytes were used.
    fn field(&mut self, input: &[u8]) -> Result<usize, DecodeError> {
        match self.at {
            At::Head => {
                let (whole, used) = self.gather(input, HEAD_BYTES);
                if whole {
                    self.begin_member()?;
                }
                Ok(used)
            }
            At::ExtraLength => {
                let (whole, used) = self.gather(input, 2);
                if whole {
                    self.at = At::Extra(u16::from_le_bytes([self.gathered[0], self.gathered[1]]));
                    self.skip_empty_extra();
                }
                Ok(used)
            }
            At::Extra(left) => {
                let used = input.len().min(usize::from(left));
                self.at = At::Extra(left - used as u16);
                self.skip_empty_extra();
                Ok(used)
            }
            At::Name | At::Comment => {
                let end = memchr::memchr(0, input);
                if end.is_some() {
                    self.next_field();
                }
                Ok(end.map_or(input.len(), |end| end + 1))
            }
            At::HeadChecksum => {
                let (whole, used) = self.gather(input, 2);
                if whole {
                    self.next_field();
                }
                Ok(used)
            }
            At::Trailer => {
                let (whole, used) = self.gather(input, TRAILER_BYTES);
                if whole {
                    self.end_member()?;
                }
                Ok(used)
            }
            At::Between => Ok(self.look_for_member(input)),
            At::Data | At::Ended => Ok(input.len()),
        }
    }

    fn begin_member(&mut self) -> Result<(), DecodeError> {
        let [first, second, method, flags, ..] = self.gathered;
        if [first, second] != MAGIC || method != DEFLATE || flags & RESERVED != 0 {
            return Err(DecodeError::Broken);
        }
        self.flags = flags;
        self.inflate.reset();
        self.crc.reset();
        self.next_field();
        Ok(())
    }

    /// Goes on to the next optional field of the head, or to the data.
    fn next_field(&mut self) {
        let fields =
            [(HAS_EXTRA, At::ExtraLength), (HAS_NAME, At::Name), (HAS_COMMENT, At::Comment), (HAS_HEAD_CHECKSUM, At::HeadChecksum)];
        let next = fields.into_iter().find(|(flag, _)| self.flags & flag != 0);
        self.at = next.map_or(At::Data, |(flag, at)| {
            self.flags &= !flag;
            at
        });
    }

    fn skip_empty_extra(&mut self) {
        if self.at == At::Extra(0) {
            self.next_field();
        }
    }

    fn end_member(&mut self) -> Result<(), DecodeError> {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|offset| self.gathered[at + offset]));
        if word(0) != self.crc.sum() || word(4) != self.crc.amount() {
            return Err(DecodeError::Broken);
        }
        self.at = At::Between;
        Ok(())
    }

    /// Another member begins with two bytes that padding and garbage do not begin with.
    fn look_for_member(&mut self, input: &[u8]) -> usize {
        for (used, byte) in input.iter().enumerate() {
            if *byte != MAGIC[self.length] {
                self.at = At::Ended;
                return input.len();
            }
            self.gathered[self.length] = *byte;
            self.length += 1;
            if self.length == MAGIC.len() {
                self.at = At::Head;
                return used + 1;
            }
        }
        input.len()
    }
}

impl Codec for Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        self.started |= !input.is_empty();
        let mut used = 0;
        while self.at != At::Data {
            if used == input.len() {
                return Ok(Step { used, written: 0 });
            }
            used += self.field(&input[used..])?;
        }
        let (data, ended) = self.inflate.step(&input[used..], output)?;
        self.crc.update(&output[..data.written]);
        if ended {
            self.at = At::Trailer;
        }
        Ok(Step { used: used + data.used, written: data.written })
    }

    fn may_end(&self) -> bool {
        !self.started || matches!(self.at, At::Between | At::Ended)
    }
}
