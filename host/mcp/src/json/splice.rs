//! Replacing ranges of a body.

use std::ops::Range;

/// A copy of `body` with each range replaced. The edits are sorted and do not overlap; should they, nothing that any of them covers
/// remains, and every replacement is written. A range beyond the end is cut to it.
pub fn splice<R: AsRef<[u8]>>(body: &[u8], edits: &[(Range<usize>, R)]) -> Vec<u8> {
    let mut sorted: Vec<&(Range<usize>, R)> = edits.iter().collect();
    sorted.sort_by_key(|(range, _)| range.start);
    let added: usize = edits.iter().map(|(_, replacement)| replacement.as_ref().len()).sum();
    let mut out = Vec::with_capacity(body.len() + added);
    let mut copied = 0;
    for (range, replacement) in sorted {
        let start = range.start.clamp(copied, body.len());
        out.extend_from_slice(&body[copied..start]);
        out.extend_from_slice(replacement.as_ref());
        copied = range.end.clamp(start, body.len());
    }
    out.extend_from_slice(&body[copied..]);
    out
}
