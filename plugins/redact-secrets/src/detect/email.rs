//! E-mail addresses.

use core::ops::Range;

use super::reading::{run, run_before};

/// RFC 5321 allows 64 before the `@` and 255 behind it.
const LONGEST_LOCAL: usize = 64;
const LONGEST_DOMAIN: usize = 255;

/// Whether there may be an address around the `@` that stands at `at` in a raw JSON text, where characters beyond ASCII may be written as
/// escapes.
pub fn says_address(raw: &[u8], at: usize) -> bool {
    let domain_end = at + 1 + run(raw, at + 1, LONGEST_DOMAIN, is_domain);
    raw.get(domain_end) == Some(&b'\\') || address_around(raw, at).is_some()
}

/// The address around the `@` that stands at `at`.
pub fn address_around(text: &[u8], at: usize) -> Option<Range<usize>> {
    let local = run_before(text, at, LONGEST_LOCAL, is_local);
    let mut start = at - local;
    while start < at && matches!(text[start], b'.' | b'-' | b'%' | b'+') {
        start += 1;
    }
    let mut end = at + 1 + run(text, at + 1, LONGEST_DOMAIN, is_domain);
    while matches!(text[end - 1], b'.' | b'-') {
        end -= 1;
    }
    let domain = text.get(at + 1..end)?;
    let last_dot = domain.iter().rposition(|byte| *byte == b'.')?;
    let top_level = &domain[last_dot + 1..];
    let letters = top_level.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let top_level_length = match top_level.get(letters) {
        None => letters,
        // Text of a script without spaces goes on directly behind the address.
        Some(next) if !next.is_ascii() && letters > 1 => letters,
        Some(next) if !next.is_ascii() => top_level.len(),
        Some(_) => return None,
    };
    let is_address = start < at && last_dot > 0 && top_level_length > 1;
    is_address.then_some(start..at + 1 + last_dot + 1 + top_level_length)
}

/// Bytes beyond ASCII belong to internationalized addresses.
const fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-')
}

const fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || matches!(byte, b'.' | b'-')
}
