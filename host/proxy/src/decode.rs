//! Content codings, decoded as the bytes come and under a cap.
//!
//! What a server has flushed comes out of the push that brought it, so events in a compressed stream are not held back.

mod brotli;
mod deflate;
mod gzip;
#[cfg(test)]
mod tests;
mod zstd;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap};

/// No server stacks more; each costs a window of memory.
const MAX_CODINGS: usize = 4;

/// What one step of a coding may write: small enough that a bomb is noticed long before it is memory.
const STEP_BYTES: usize = 16 << 10;

/// A content coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952, also called `x-gzip`.
    Gzip,
    /// RFC 1950, and RFC 1951 without its frame, as some servers send.
    Deflate,
    /// RFC 7932, called `br`.
    Brotli,
    /// RFC 8878, with the window of RFC 9659.
    Zstd,
}

/// The body is coded in a way that cannot be undone here: an unknown coding, or too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownCoding;

/// The codings of a body in the order they were applied, `identity` left out.
pub(crate) fn parse_codings(headers: &HeaderMap) -> Result<Vec<Coding>, UnknownCoding> {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            if codings.len() == MAX_CODINGS {
                return Err(UnknownCoding);
            }
            codings.push(Coding::named(name)?);
        }
    }
    Ok(codings)
}

impl Coding {
    fn named(name: &[u8]) -> Result<Self, UnknownCoding> {
        match name.to_ascii_lowercase().as_slice() {
            b"gzip" | b"x-gzip" => Ok(Self::Gzip),
            b"deflate" => Ok(Self::Deflate),
            b"br" => Ok(Self::Brotli),
            b"zstd" => Ok(Self::Zstd),
            _ => Err(UnknownCoding),
        }
    }
}

/// How much may come out of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputCap {
    /// So many bytes from beginning to end: for documents.
    Total(usize),
    /// So many bytes from each push, without end: for event streams, whose events are capped by who reads them.
    PerPush(usize),
}

/// Why a body cannot be decoded. Nothing more comes out of the decoder then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// More would come out than the cap allows.
    #[error("the decoded body is larger than it may be")]
    TooLarge,
    /// The bytes are not of this coding, or end too early.
    #[error("the body is not coded as it says, or cut off")]
    Broken,
}

/// Undoes the codings of one body. Bytes behind the end of the coded data are ignored, as browsers do.
pub(crate) struct Decoder {
    /// The coding that was applied last comes first.
    stages: Vec<Stage>,
    cap: OutputCap,
    /// What came out so far, of the whole or of this push.
    produced: usize,
    /// Once it has failed it stays so.
    failed: Option<DecodeError>,
}

/// What a step of a coding did.
struct Step {
    /// Bytes of the input that are done with.
    used: usize,
    /// Bytes written to the output.
    written: usize,
}

/// One coding. A step reads from `input` and writes to `output`; it is to be asked again while there is input left or the output was filled.
/// Behind the end of the coded data it uses up whatever comes.
trait Codec: Send {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError>;

    /// Whether the coded data may end here. Also true before the first byte: an answer without a body can name a coding.
    fn may_end(&self) -> bool;
}

struct Stage {
    codec: Box<dyn Codec>,
    output: Box<[u8]>,
    /// What came out of it, counted as the cap counts.
    produced: usize,
}

impl Stage {
    fn new(coding: Coding) -> Self {
        let codec: Box<dyn Codec> = match coding {
            Coding::Gzip => Box::new(gzip::Gzip::new()),
            Coding::Deflate => Box::new(deflate::Deflate::new()),
            Coding::Brotli => Box::new(brotli::Brotli::new()),
            Coding::Zstd => Box::new(zstd::Zstd::new()),
        };
        Self { codec, output: vec![0; STEP_BYTES].into(), produced: 0 }
    }
}

/// Where the last stage writes.
struct Sink<'a> {
    out: Vec<u8>,
    produced: &'a mut usize,
    limit: usize,
}

impl Decoder {
    /// A decoder of a body with these codings, in the order they were applied.
    pub(crate) fn new(codings: &[Coding], cap: OutputCap) -> Self {
        Self { stages: codings.iter().rev().map(|coding| Stage::new(*coding)).collect(), cap, produced: 0, failed: None }
    }

    /// Everything that the next bytes of the body complete.
    ///
    /// # Errors
    /// When more would come out than the cap allows, and when the bytes are broken; what this push had decoded is lost then.
    pub(crate) fn push(&mut self, coded: &[u8]) -> Result<Bytes, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let limit = match self.cap {
            OutputCap::Total(limit) => limit,
            OutputCap::PerPush(limit) => {
                self.produced = 0;
                self.stages.iter_mut().for_each(|stage| stage.produced = 0);
                limit
            }
        };
        let mut sink = Sink { out: Vec::new(), produced: &mut self.produced, limit };
        match run(&mut self.stages, coded, &mut sink) {
            Ok(()) => Ok(sink.out.into()),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// Ends the body. All of it has come out before.
    ///
    /// # Errors
    /// When the coded data has not ended.
    pub(crate) fn finish(&mut self) -> Result<(), DecodeError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.stages.iter().all(|stage| stage.codec.may_end()) => Ok(()),
            None => Err(DecodeError::Broken),
        }
    }
}

fn run(stages: &mut [Stage], mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), DecodeError> {
    let Some((stage, inner)) = stages.split_first_mut() else { return sink.take(input) };
    let mut idle = false;
    loop {
        let Step { used, written } = stage.codec.step(input, &mut stage.output)?;
        input = &input[used..];
        if written > 0 {
            stage.produced = stage.produced.saturating_add(written);
            // Coded data that decodes to nothing must not be endless either; compression adds next to nothing to what cannot be compressed.
            if !inner.is_empty() && stage.produced > sink.limit.saturating_mul(2).saturating_add(STEP_BYTES) {
                return Err(DecodeError::TooLarge);
            }
            run(inner, &stage.output[..written], sink)?;
        }
        if input.is_empty() && written < stage.output.len() {
            return Ok(());
        }
        // A step can be that the data turns out to have ended; two in a row that do nothing are a coding that is stuck.
        let was_idle = std::mem::replace(&mut idle, used == 0 && written == 0);
        if idle && was_idle {
            return Err(DecodeError::Broken);
        }
    }
}

impl Sink<'_> {
    fn take(&mut self, decoded: &[u8]) -> Result<(), DecodeError> {
        *self.produced = self.produced.saturating_add(decoded.len());
        if *self.produced > self.limit {
            return Err(DecodeError::TooLarge);
        }
        self.out.extend_from_slice(decoded);
        Ok(())
    }
}
