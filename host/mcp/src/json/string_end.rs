//! Finding the bytes that matter inside a string: the hot loops of the scanner and the validator.

use memchr::memchr2;

/// Most strings end or hold an escape within this many bytes, where a plain loop beats the set-up of a vector search.
const SHORT: usize = 16;

/// The offset of the first quote or backslash.
pub(crate) fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let (head, tail) = bytes.split_at(bytes.len().min(SHORT));
    if let Some(at) = head.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        return Some(at);
    }
    memchr2(b'"', b'\\', tail).map(|at| at + head.len())
}

/// The offset of the first quote, backslash or control character (which a string may not hold), else the length.
pub(super) fn special(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let lanes = special_lanes(u64::from_le_bytes(*word));
        if lanes != 0 {
            return index * 8 + (lanes.trailing_zeros() / 8) as usize;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + tail.iter().position(is_special).unwrap_or(tail.len())
}

/// The top bit of the lowest lane that holds a special byte is set. Lanes above it may be set wrongly by a borrow, those below never.
const fn special_lanes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quotes = quote.wrapping_sub(ONES) & !quote;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | backslashes | controls) & TOPS
}

#[cfg(test)]
mod tests {
    use super::{quote_or_backslash, special};
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn the_fast_loops_find_what_a_plain_one_finds(bytes in any::<Vec<u8>>()) {
            let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            assert_eq!(quote_or_backslash(&bytes), end);
            let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            assert_eq!(special(&bytes), end.unwrap_or(bytes.len()));
        }
    }
}
