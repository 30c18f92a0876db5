//! `traceparent`: which span of which trace called, and whether it is recorded.

use std::fmt;

use crate::trace::ids::{SpanId, TraceId};
use crate::words::InvalidTraceContext;

/// `00-` + 32 digits + `-` + 16 digits + `-` + 2 digits.
const LENGTH: usize = 55;
/// The flag that says that the caller records.
const SAMPLED: u8 = 1;
/// The flag of level 2 that says that the trace id is random; it is handed on as it came.
const RANDOM: u8 = 2;

/// One span, as its callees are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: TraceId,
    /// The span in it.
    pub span_id: SpanId,
    /// Whether the caller records it.
    pub sampled: bool,
    random: bool,
}

impl TraceParent {
    /// A span of ours, to be told to a callee.
    pub const fn new(trace_id: TraceId, span_id: SpanId, sampled: bool) -> Self {
        Self { trace_id, span_id, sampled, random: false }
    }

    /// What to tell a callee: the same trace, a span of ours in it, and whether that is recorded.
    #[must_use]
    pub const fn child(self, span_id: SpanId, sampled: bool) -> Self {
        Self { span_id, sampled, ..self }
    }

    /// Reads version 00, and of later versions what they share with it. Flags other than the two defined are ignored.
    ///
    /// # Errors
    /// When it is of version ff, has another length or other digits than lower-case ones, or an id is all zeros.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidTraceContext> {
        let malformed = InvalidTraceContext::TraceparentMalformed;
        let Some((known, rest)) = text.split_at_checked(LENGTH) else { return Err(malformed) };
        let (Some(version), Some(flags)) = (hex_byte(&known[..2]), hex_byte(&known[53..])) else { return Err(malformed) };
        if [known[2], known[35], known[52]] != [b'-'; 3] {
            return Err(malformed);
        }
        match version {
            0 if !rest.is_empty() => return Err(malformed),
            0xff => return Err(InvalidTraceContext::TraceparentVersion),
            _ if rest.first().is_some_and(|byte| *byte != b'-') => return Err(malformed),
            _ => {}
        }
        let (Some(trace_id), Some(span_id)) = (TraceId::parse(&known[3..35]), SpanId::parse(&known[36..52])) else { return Err(malformed) };
        Ok(Self { trace_id, span_id, sampled: flags & SAMPLED != 0, random: flags & RANDOM != 0 })
    }

    /// The value of the header or of the member of `_meta`, always of version 00. Does not allocate.
    pub fn text(&self) -> TraceParentText {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        self.trace_id.write(&mut text[3..35]);
        self.span_id.write(&mut text[36..52]);
        text[54] = b'0' + if self.sampled { SAMPLED } else { 0 } + if self.random { RANDOM } else { 0 };
        TraceParentText(text)
    }
}

/// A [`TraceParent`] as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParentText([u8; LENGTH]);

impl TraceParentText {
    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("hexadecimal digits and hyphens are ASCII")
    }

    /// The text as bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TraceParentText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The one value there may be. Two that are equal still come from somebody who does not know what the parent is.
pub(super) fn read<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<TraceParent>, InvalidTraceContext> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => TraceParent::parse(value.trim_ascii()).map(Some),
        (Some(_), Some(_)) => Err(InvalidTraceContext::TraceparentRepeated),
    }
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !digits.iter().all(is_digit) {
        return None;
    }
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{TraceParent, read};
    use crate::trace::SpanId;
    use crate::words::InvalidTraceContext::{self, TraceparentMalformed, TraceparentRepeated, TraceparentVersion};

    const IDS: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    fn check(text: &str, expected: Result<&str, InvalidTraceContext>) {
        let parsed = TraceParent::parse(text.as_bytes()).map(|parent| parent.text());
        let expected = expected.map(|flags| format!("00-{IDS}-{flags}"));
        assert_eq!(parsed.as_ref().map(|text| text.as_str().to_owned()).map_err(|reason| *reason), expected, "{text:?}");
    }

    #[test]
    fn version_00_is_read_whatever_its_flags() {
        check(&format!("00-{IDS}-00"), Ok("00"));
        check(&format!("00-{IDS}-01"), Ok("01"));
        check(&format!("00-{IDS}-02"), Ok("02"));
        check(&format!("00-{IDS}-03"), Ok("03"));
        check(&format!("00-{IDS}-ff"), Ok("03"));
        check(&format!("00-{IDS}-fc"), Ok("00"));
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        check(&format!("01-{IDS}-01"), Ok("01"));
        check(&format!("cc-{IDS}-01-what-the-future-will-be-like"), Ok("01"));
        check(&format!("cc-{IDS}-01-"), Ok("01"));
        check(&format!("cc-{IDS}-01.what"), Err(TraceparentMalformed));
        check(&format!("fe-{IDS}-0"), Err(TraceparentMalformed));
        check(&format!("ff-{IDS}-01"), Err(TraceparentVersion));
    }

    #[test]
    fn everything_else_is_malformed() {
        let good = format!("00-{IDS}-01");
        for cut in 0..good.len() {
            check(&good[..cut], Err(TraceparentMalformed));
        }
        for place in 0..good.len() {
            for wrong in [" ", "G", "A", "_", "+", "\u{0}"] {
                let mut text = good.clone();
                text.replace_range(place..=place, wrong);
                check(&text, Err(TraceparentMalformed));
            }
        }
        check(&format!("{good}-00"), Err(TraceparentMalformed));
        check(&format!(" {good}"), Err(TraceparentMalformed));
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", Err(TraceparentMalformed));
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", Err(TraceparentMalformed));
        check(&"é".repeat(60), Err(TraceparentMalformed));
        check(&"0".repeat(100_000), Err(TraceparentMalformed));
    }

    #[test]
    fn there_may_be_one_value_with_space_around_it() {
        let good = format!(" 00-{IDS}-01\t");
        assert_eq!(read([good.as_bytes()]).unwrap().unwrap().text().as_str(), good.trim());
        assert_eq!(read([good.as_bytes(), good.as_bytes()]), Err(TraceparentRepeated));
        assert_eq!(read(None), Ok(None));
    }

    #[test]
    fn a_child_stays_in_the_trace() {
        let parent = TraceParent::parse(format!("00-{IDS}-02").as_bytes()).unwrap();
        let child = parent.child(SpanId::parse(b"00f067aa0ba902b7").unwrap(), true);
        assert_eq!(child.text().as_str(), "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-03");
    }
}
