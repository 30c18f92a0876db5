//! Finding the bytes that matter inside a string: the hot loop of the validator.

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
    use super::special;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn words_find_what_a_plain_loop_finds(bytes in any::<Vec<u8>>()) {
            let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            assert_eq!(special(&bytes), end.unwrap_or(bytes.len()));
        }
    }
}
