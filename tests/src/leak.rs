//! Finds a secret in bytes however it is spelled there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// This many characters of a secret in a row are a leak too.
const PIECE: usize = 8;

/// The part of `secret` that `bytes` hold: as it stands, behind escapes of JSON or URLs, cut by line breaks, chunks or `data:` lines, or in
/// base 64. `None`: nothing of it is there.
///
/// # Panics
/// When the secret is no longer than what counts as a piece of it, or not ASCII.
pub fn leaked(bytes: &[u8], secret: &str) -> Option<String> {
    assert!(secret.is_ascii() && secret.len() > PIECE, "no secret to look for: {secret}");
    let flat = flat(bytes);
    let pieces = secret.as_bytes().windows(PIECE);
    let found = pieces.into_iter().find(|piece| holds(bytes, piece) || holds(&flat, piece)).map(<[u8]>::to_vec);
    let found = found.or_else(|| encoded(secret).into_iter().find(|piece| holds(bytes, piece.as_bytes())).map(String::into_bytes));
    found.map(|piece| String::from_utf8_lossy(&piece).into_owned())
}

/// Base 64 of the secret wherever it begins in a group of three bytes, without the digits that its neighbours share.
fn encoded(secret: &str) -> Vec<String> {
    (0..3)
        .map(|offset| {
            let text = STANDARD.encode([&b"   "[..offset], secret.as_bytes()].concat());
            let whole = text.trim_end_matches('=');
            whole[(offset * 8).div_ceil(6)..whole.len() - 1].to_owned()
        })
        .collect()
}

/// The bytes with escapes of any depth resolved, and line breaks and the field names of event streams left out.
fn flat(bytes: &[u8]) -> Vec<u8> {
    let mut flat = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'\\' => unescaped(after, &mut flat),
            b'%' => match code(after, 2) {
                Some(byte) => {
                    flat.push(byte);
                    &after[2..]
                }
                None => after,
            },
            b'\r' | b'\n' => after
                .strip_prefix(b"\n")
                .unwrap_or(after)
                .strip_prefix(b"data:")
                .map_or(after, |data| data.strip_prefix(b" ").unwrap_or(data)),
            _ => {
                flat.push(first);
                after
            }
        };
    }
    flat
}

/// Resolves one escape, of which the first backslash was read; gives what follows it.
fn unescaped<'a>(after: &'a [u8], flat: &mut Vec<u8>) -> &'a [u8] {
    let backslashes = after.iter().take_while(|byte| **byte == b'\\').count();
    let after = &after[backslashes..];
    match after.split_first() {
        Some((b'u', digits)) => match code(digits, 4) {
            Some(character) => {
                flat.push(character);
                &digits[4..]
            }
            None => digits,
        },
        Some((b'n' | b'r', rest)) => rest,
        Some((other, rest)) => {
            flat.push(*other);
            rest
        }
        None => after,
    }
}

/// The ASCII character of this many hexadecimal digits; any other becomes a space.
fn code(digits: &[u8], count: usize) -> Option<u8> {
    let digits = std::str::from_utf8(digits.get(..count)?).ok()?;
    let code = u32::from_str_radix(digits, 16).ok()?;
    Some(u8::try_from(code).unwrap_or(b' '))
}

fn holds(bytes: &[u8], piece: &[u8]) -> bool {
    bytes.windows(piece.len()).any(|window| window == piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AKIA2Z7QXW5RT4LMNP3K";

    fn check(text: &str, is_leak: bool) {
        assert_eq!(leaked(text.as_bytes(), SECRET).is_some(), is_leak, "{text}");
    }

    #[test]
    fn a_secret_is_found_in_any_spelling() {
        check("a AKIA2Z7QXW5RT4LMNP3K b", true);
        check("5RT4LMNP", true);
        check(r#"{"a":"\u0041KIA2Z7\u0051XW"}"#, true);
        check(r#"{"a":"{\"b\":\"\\u0041KIA2Z7QX\\\\u0057\"}"}"#, true);
        check("data: AKIA2\ndata: Z7QX\r\ndata:W5RT", true);
        check(r"AKIA2Z\nXXXX AKIA\n2Z7Q", true);
        check("k=AKIA2%5A7QX", true);
        for prefix in ["", "x", "xy", "xyz"] {
            check(&STANDARD.encode(format!("{prefix}{SECRET}y")), true);
        }
    }

    #[test]
    fn other_text_is_no_secret() {
        check("[REDACTED:aws_key]", false);
        check("AKIA2Z7 QXW5RT4 LMNP3K", false);
        check("\\", false);
        check("\\u00", false);
        check("%4", false);
        check("AKIA", false);
    }
}
