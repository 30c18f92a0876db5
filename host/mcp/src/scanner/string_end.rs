//! Where a string ends: the hot loop of the scanner.
//!
//! Text is mostly long without escapes, or (JSON and code inside a string) full of them. The first is left to memchr; the second is
//! read in blocks, because a branch for each escape is mispredicted.

use memchr::memchr2;

/// Most strings end within this many bytes, where a plain loop beats the set-up of a vector search.
const SHORT: usize = 16;
const BLOCK: usize = 64;

/// The offset of the quote that ends the string `at` lies in; `None` when it goes on in the next chunk. `escape_pending` says that
/// the chunk before ended right behind a backslash, and is set when this one does.
pub(super) fn string_end(chunk: &[u8], mut at: usize, escape_pending: &mut bool) -> Option<usize> {
    if std::mem::take(escape_pending) {
        at += 1;
    }
    let mut after_escape = false;
    loop {
        let length = quote_or_backslash(chunk.get(at..)?)?;
        at += length;
        if chunk[at] == b'"' {
            return Some(at);
        }
        // One escape by itself is not worth a block.
        let mut is_dense = after_escape && length < BLOCK / 2;
        while is_dense && let Some(block) = chunk.get(at..).and_then(<[u8]>::first_chunk) {
            let read = read_block(block);
            if let Some(end) = read.end {
                return Some(at + end);
            }
            at += read.length;
            is_dense = read.has_escape;
        }
        at = skip_escapes(chunk, at);
        if at > chunk.len() {
            *escape_pending = true;
            return None;
        }
        after_escape = true;
    }
}

/// The offset of the first quote or backslash.
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    let (head, tail) = bytes.split_at(bytes.len().min(SHORT));
    if let Some(at) = head.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        return Some(at);
    }
    memchr2(b'"', b'\\', tail).map(|at| at + head.len())
}

/// Behind the escapes that `at` starts, if it does; one byte beyond the chunk where the last of them is cut behind its backslash.
fn skip_escapes(chunk: &[u8], mut at: usize) -> usize {
    while chunk.get(at) == Some(&b'\\') {
        at += 2;
    }
    at
}

struct BlockRead {
    /// Where in the block the string ends.
    end: Option<usize>,
    /// Bytes read: one more than the block where its last byte starts an escape.
    length: usize,
    has_escape: bool,
}

/// Reads a block that does not start within an escape.
fn read_block(block: &[u8; BLOCK]) -> BlockRead {
    let (mut quotes, mut backslashes) = (0, 0);
    for (index, word) in block.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        quotes |= lanes_equal(word, b'"') << (index * 8);
        backslashes |= lanes_equal(word, b'\\') << (index * 8);
    }
    let has_escape = backslashes != 0;
    let mut length = BLOCK;
    while backslashes != 0 {
        // A backslash and the byte behind it; the escape's other bytes are never special.
        let escape = 0b11 << backslashes.trailing_zeros();
        length += usize::from(escape == 1 << 63);
        quotes &= !escape;
        backslashes &= !escape;
    }
    let end = (quotes != 0).then(|| quotes.trailing_zeros() as usize);
    BlockRead { end, length, has_escape }
}

/// One bit for each of the eight bytes, the first one lowest: whether it is `byte`.
const fn lanes_equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differences = word ^ (0x0101_0101_0101_0101 * byte as u64);
    // The top bit of each byte that differs nowhere; no carry crosses a byte.
    let equal = !(((differences & LOW) + LOW) | differences | LOW);
    // Gathers those bits in the top byte: bit 8i+7 goes to 56+i, and no two products meet.
    (equal >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::{lanes_equal, string_end};
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};

    fn plain(bytes: &[u8], mut escaped: bool) -> (Option<usize>, bool) {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return (Some(at), false),
                _ => {}
            }
        }
        (None, escaped)
    }

    /// Text with escapes in runs, and few ends.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => "\\\\{1,9}".prop_map(String::into_bytes),
            8 => "(\\\\\"){1,5}".prop_map(String::into_bytes),
            6 => "[a-z\u{e9}]{0,80}".prop_map(String::into_bytes),
            1 => "\"".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_end_is_where_a_plain_loop_finds_it(content in content(), from in 0..70_usize, pending in any::<bool>()) {
            let from = from.min(content.len());
            if from == content.len() && pending {
                return Ok(());
            }
            let mut escape_pending = pending;
            let end = string_end(&content, from, &mut escape_pending);
            let (expected, expected_pending) = plain(&content[from..], pending);
            assert_eq!((end, escape_pending), (expected.map(|end| end + from), expected_pending));
        }

        #[test]
        fn lanes_are_told_apart(bytes in any::<[u8; 8]>(), byte in any::<u8>(), at in 0..8_usize) {
            let mut bytes = bytes;
            bytes[at] = byte;
            let expected = (0..8).filter(|lane| bytes[*lane] == byte).map(|lane| 1_u64 << lane).sum::<u64>();
            assert_eq!(lanes_equal(u64::from_le_bytes(bytes), byte), expected);
        }
    }
}
