//! Payment card numbers: of a known issuer, with a valid check digit, written in one piece or in the usual groups.

use core::ops::Range;

use super::reading::run;

/// No card number is longer.
const LONGEST: usize = 19;
/// How the digits are grouped where they are: 16, 15 (American Express), 14 (Diners Club) and 19 digits.
const GROUPS: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// The card number that begins at `start` in a decoded text.
pub fn card_at(text: &[u8], start: usize) -> Option<Range<usize>> {
    let range = digits_at(text, start)?;
    let before = &text[..range.start];
    let stands_alone = match before {
        // The fraction of a number.
        [.., b'0'..=b'9', b'.' | b','] => false,
        [.., last] => super::starts_word(text, range.start) && *last != b'_',
        [] => true,
    };
    let after = &text[range.end..];
    let ends = match after {
        [b'.' | b',', b'0'..=b'9', ..] => false,
        [next, ..] => !next.is_ascii_alphanumeric() && *next != b'_',
        [] => true,
    };
    (stands_alone && ends).then_some(range)
}

/// The digits and separators from `start` on that make a card number. Before `start` only digits are ruled out.
pub fn digits_at(text: &[u8], start: usize) -> Option<Range<usize>> {
    if start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let rest = &text[start..];
    let first_group = run(rest, 0, LONGEST + 1, |byte| byte.is_ascii_digit());
    if first_group >= 13 {
        return is_card_number(&rest[..first_group]).then(|| start..start + first_group);
    }
    if first_group != 4 {
        return None;
    }
    GROUPS.iter().find_map(|groups| grouped(rest, groups)).map(|length| start..start + length)
}

/// Whether these digits, and nothing else, are a card number.
#[must_use]
pub fn is_card_number(digits: &[u8]) -> bool {
    (13..=LONGEST).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) && has_issuer(digits) && has_check_digit(digits)
}

/// The length of a number written in these groups.
fn grouped(rest: &[u8], groups: &[usize]) -> Option<usize> {
    let separator = *rest.get(4).filter(|byte| matches!(byte, b' ' | b'-'))?;
    let mut digits = [0; LONGEST];
    let mut count = 0;
    let mut at = 0;
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            if rest.get(at) != Some(&separator) {
                return None;
            }
            at += 1;
        }
        let group_digits = rest.get(at..at + group).filter(|found| found.iter().all(u8::is_ascii_digit))?;
        digits[count..count + group].copy_from_slice(group_digits);
        count += group;
        at += group;
    }
    let goes_on = rest.get(at).is_some_and(u8::is_ascii_digit);
    (!goes_on && is_card_number(&digits[..count])).then_some(at)
}

/// The issuer identification numbers of Visa, Mastercard, American Express, Discover, JCB, Diners Club and UnionPay, with the lengths each
/// uses.
fn has_issuer(digits: &[u8]) -> bool {
    let prefix = |length: usize| digits[..length].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    let lengths = match (prefix(2), prefix(3), prefix(4)) {
        (40..=49, ..) => [13, 16, 19].as_slice(),
        (51..=55, ..) | (_, _, 2221..=2720) => &[16],
        (34 | 37, ..) => &[15],
        (65 | 62, ..) | (_, 644..=649, _) | (_, _, 6011 | 3528..=3589) => &[16, 17, 18, 19],
        (36 | 38 | 39, ..) | (_, 300..=305, _) => &[14, 16, 17, 18, 19],
        _ => return false,
    };
    lengths.contains(&digits.len())
}

/// Luhn's sum.
fn has_check_digit(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') << (place & 1);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}
