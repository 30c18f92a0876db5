//! Keys that are not the ones that say what a message is, and that some receivers take for them: in other case (Go's `encoding/json` folds it), with a
//! NUL behind or in between (where strings end at one), or written so that decoders disagree. Two receivers read two messages then.

use super::role::{MAX_KEY_BYTES, Role};
use crate::json::decode_exact;

/// Whether a member of `object`, which is none that matters by its key `raw`, may be one to somebody.
pub(super) fn is_lookalike(object: Role, raw: &[u8]) -> bool {
    let keys = keys_of(object);
    if keys.is_empty() {
        return false;
    }
    if raw.len() > MAX_KEY_BYTES {
        // Only the beginning is known. Plain text of that length is no key of ours to anybody.
        return raw.iter().any(|byte| *byte == b'\\' || *byte < b' ');
    }
    match decode_exact(raw) {
        Some(key) => keys.iter().any(|known| resembles(&key, known)),
        None => true,
    }
}

/// The keys that say what an object is.
const fn keys_of(object: Role) -> &'static [&'static str] {
    match object {
        Role::Message => &["jsonrpc", "id", "method", "params", "result", "error"],
        Role::Params => &["name", "uri", "taskId", "ref"],
        Role::Reference => &["name", "uri"],
        _ => &[],
    }
}

fn resembles(key: &str, known: &str) -> bool {
    let before_nul = key.split('\0').next().unwrap_or_default();
    is_folded(before_nul.chars(), known) || (before_nul.len() < key.len() && is_folded(key.chars().filter(|letter| *letter != '\0'), known))
}

/// Whether they are the same letters when case is folded: of the letters outside ASCII two fold to one inside (Unicode, CaseFolding: U+017F and U+212A).
fn is_folded(letters: impl Iterator<Item = char>, known: &str) -> bool {
    let folded = letters.map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(known.chars().map(|letter| letter.to_ascii_lowercase()))
}
