//! Bearer tokens and JSON Web Tokens.

use core::ops::Range;

use super::reading::{run, says};

const BEARER: &[u8] = b"bearer";
/// Shorter words behind `Bearer` are no tokens.
const SHORTEST_BEARER: usize = 16;
/// How many spaces may stand between `Bearer` and its token.
const SPACES: usize = 8;
/// Both the header and the claims of a JSON Web Token are longer.
const SHORTEST_PART: usize = 8;

/// Whether `bearer` stands at `start`, in any case.
pub fn says_bearer(text: &[u8], start: usize) -> bool {
    says(text, start, BEARER)
}

/// The token behind the `Bearer` at `start`; the word itself stays. Words inside the token need no look of their own, whether it is one or
/// not: what follows them is the end of it. `settled` says up to where that holds.
pub fn bearer_after(text: &[u8], start: usize, settled: &mut usize) -> Option<Range<usize>> {
    if !says_bearer(text, start) {
        return None;
    }
    let word_end = start + BEARER.len();
    let spaces = if text.get(word_end..).is_some_and(|rest| rest.starts_with(b"%20")) {
        3
    } else {
        run(text, word_end, SPACES, |byte| matches!(byte, b' ' | b'\t' | b'+'))
    };
    if spaces == 0 {
        return None;
    }
    let token_start = word_end + spaces;
    // Tells a token from a word of that length: it has a digit, or a capital inside.
    let (mut looks_random, mut before) = (false, 0_u8);
    let length = run(text, token_start, usize::MAX, |byte| {
        looks_random |= byte.is_ascii_digit() || before.is_ascii_lowercase() && byte.is_ascii_uppercase();
        before = byte;
        is_token68(byte)
    });
    let token = token_start..token_start + length;
    // A word whose spaces may reach beyond the token announces another one.
    *settled = token.end.saturating_sub(BEARER.len() + SPACES).max(*settled);
    (length >= SHORTEST_BEARER && looks_random).then_some(token)
}

/// The length of the JSON Web Token that begins at `start`; what stands before is not looked at. Where there is none, `none_until` becomes the
/// end of the run of characters that cannot begin one either.
pub fn jwt_length(text: &[u8], start: usize, none_until: &mut usize) -> Option<usize> {
    let header = run(text, start, usize::MAX, is_url_safe);
    if header < SHORTEST_PART || text.get(start + header) != Some(&b'.') {
        *none_until = start + header;
        return None;
    }
    let claims = run(text, start + header + 1, usize::MAX, is_url_safe);
    let two = header + 1 + claims;
    if claims < SHORTEST_PART || text.get(start + two) != Some(&b'.') {
        *none_until = start + header;
        return None;
    }
    // The signature of a signed token, or the further three parts of an encrypted one.
    let mut length = two + run(text, start + two, usize::MAX, |byte| is_url_safe(byte) || byte == b'.');
    while text[start + length - 1] == b'.' && length > two + 1 {
        length -= 1;
    }
    Some(length)
}

const fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const fn is_token68(byte: u8) -> bool {
    is_url_safe(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=')
}
