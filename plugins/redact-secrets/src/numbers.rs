//! Card numbers that stand in a JSON body as numbers, not as strings.

use core::ops::Range;

use watchgate_mcp::json;

use crate::detect::is_card_number;

/// Where the numbers are that read like card numbers, outside of strings. Numbers that the protocol itself uses are left out: the `id` of the
/// message, progress tokens and ids of requests.
#[must_use]
pub fn card_numbers(body: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut gap_start = 0;
    let mut key: &[u8] = b"";
    for string in json::strings(body) {
        scan_gap(body, gap_start..string.content.start - 1, key, &mut depth, &mut found);
        key = if string.is_key { &body[string.content.clone()] } else { b"" };
        gap_start = string.content.end + 1;
    }
    scan_gap(body, gap_start..body.len(), key, &mut depth, &mut found);
    found
}

/// Looks at what stands between two strings: punctuation, numbers, `true`, `false` and `null`.
fn scan_gap(body: &[u8], gap: Range<usize>, key: &[u8], depth: &mut usize, found: &mut Vec<Range<usize>>) {
    let mut at = gap.start;
    while at < gap.end {
        match body[at] {
            b'{' | b'[' => *depth += 1,
            b'}' | b']' => *depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                let length =
                    body[at..gap.end].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
                if is_card_number(&body[at..at + length]) && !is_of_the_protocol(key, *depth) {
                    found.push(at..at + length);
                }
                at += length - 1;
            }
            _ => {}
        }
        at += 1;
    }
}

fn is_of_the_protocol(key: &[u8], depth: usize) -> bool {
    matches!(key, b"progressToken" | b"requestId") || key == b"id" && depth == 1
}
