//! Bearer tokens and JSON Web Tokens.

use core::ops::Range;

use super::{run, says};

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

/// The token behind the `Bearer` at `start`; the word itself stays.
pub fn bearer_after(text: &[u8], start: usize) -> Option<Range<usize>> {
    if !says_bearer(text, start) {
        return None;
    }
    let word_end = start + BEARER.len();
    let spaces = if text.get(word_end..).is_some_and(|rest| rest.starts_with(b"%20")) {
        3
    } else {
        run(text, word_end, SPACES, |byte| matches!(byte, b' ' | b'\t' | b'+'))
    };
    let token_start = word_end + spaces;
    let token = token_start..token_start + run(text, token_start, usize::MAX, is_token68);
    let looks_random = spaces > 0 && token.len() >= SHORTEST_BEARER && looks_random(&text[token.clone()]);
    looks_random.then_some(token)
}

/// The length of the JSON Web Token that begins at `start`; what stands before is not looked at. Where there is none, `none_until` becomes the
/// end of the run of characters that cannot begin one either.
pub fn jwt_length(text: &[u8], start: usize, none_until: &mut usize) -> Option<usize> {
    let header = run(text, start, usize::MAX, is_url_safe);
    let claims = run(text, start + header + 1, usize::MAX, is_url_safe);
    let has_parts = header >= SHORTEST_PART && text.get(start + header) == Some(&b'.') && claims >= SHORTEST_PART;
    let two = header + 1 + claims;
    if !has_parts || text.get(start + two) != Some(&b'.') {
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

/// Tells a token from a word of that length: it has a digit, or a capital inside.
fn looks_random(token: &[u8]) -> bool {
    token.iter().any(u8::is_ascii_digit) || token.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
}

const fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const fn is_token68(byte: u8) -> bool {
    is_url_safe(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=')
}
