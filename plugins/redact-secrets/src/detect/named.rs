//! Keys without a shape of their own, known by the name that stands before them: `aws_secret_access_key = ...`, `AccountKey=...`.

use core::ops::Range;

use super::reading::{run, says};
use crate::class::Class;

/// A name that says that a secret is its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedSecret {
    /// A name like `aws_secret_access_key`.
    Aws,
    /// A name like `accountKey`.
    Azure,
}

impl NamedSecret {
    /// The class of what it names.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Aws => Class::AwsKey,
            Self::Azure => Class::AzureKey,
        }
    }
}

/// An AWS secret access key has exactly this many characters.
const AWS_LENGTH: usize = 40;
/// An Azure storage key has 88, a shared access key 44.
const AZURE_LENGTHS: core::ops::RangeInclusive<usize> = 44..=88;
/// How much may stand between the word `secret` and the end of its name.
const NAME_REST: usize = 20;
/// How much may stand between a name and its value: quotes, spaces, `:` or `=`.
const SEPARATORS: usize = 8;

/// Which secret the member with this name holds, if any. A name may be as long as the message, so it is read once.
#[must_use]
pub fn named_secret(name: &[u8]) -> Option<NamedSecret> {
    let (mut says_secret, mut says_aws, mut says_azure) = (false, false, false);
    for (at, byte) in name.iter().enumerate() {
        match byte | 0x20 {
            b's' => {
                says_secret |= says(name, at, b"secret");
                says_azure |= says(name, at, b"sharedaccesskey");
            }
            b'a' => {
                says_aws |= says(name, at, b"access") || says(name, at, b"aws");
                says_azure |= says(name, at, b"accountkey");
            }
            b'k' => says_aws |= says(name, at, b"key"),
            _ => {}
        }
    }
    if says_secret && says_aws {
        return Some(NamedSecret::Aws);
    }
    says_azure.then_some(NamedSecret::Azure)
}

/// Whether a whole text is the value that such a name announces.
#[must_use]
pub fn is_value_of(name: NamedSecret, text: &[u8]) -> bool {
    let length = text.trim_ascii().len();
    let fits = match name {
        NamedSecret::Aws => length == AWS_LENGTH,
        NamedSecret::Azure => AZURE_LENGTHS.contains(&length),
    };
    fits && text.trim_ascii().iter().all(|byte| is_base64(*byte))
}

/// Whether `secret` stands at `start`.
pub fn says_secret(text: &[u8], start: usize) -> bool {
    says(text, start, b"secret")
}

/// Whether the `tKe` or `sKe` at `place` is one of `AccountKey` or `SharedAccessKey`.
pub fn says_azure_key(text: &[u8], place: usize) -> bool {
    azure_name_start(text, place).is_some()
}

/// The AWS secret access key whose name holds the `secret` at `start`.
pub fn aws_after(text: &[u8], start: usize) -> Option<Range<usize>> {
    if !says_secret(text, start) {
        return None;
    }
    let word_end = start + b"secret".len();
    let name_end =
        word_end + run(text, word_end, NAME_REST, |byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.' | b' '));
    let value = value_after(text, name_end, AWS_LENGTH + 1)?;
    if value.len() != AWS_LENGTH {
        return None;
    }
    let name = text.get(start.saturating_sub(NAME_REST)..name_end)?;
    (named_secret(name) == Some(NamedSecret::Aws)).then_some(value)
}

/// The Azure key whose name holds the `tKe` or `sKe` at `place`. Where what follows is too long for one, `none_until` becomes the place up to which
/// names inside of it announce none either.
pub fn azure_after(text: &[u8], place: usize, none_until: &mut usize) -> Option<Range<usize>> {
    azure_name_start(text, place)?;
    let name_rest = b"tKey".len();
    let value = value_after(text, place + name_rest, usize::MAX)?;
    if value.len() > *AZURE_LENGTHS.end() {
        *none_until = value.end.saturating_sub(AZURE_LENGTHS.end() + SEPARATORS + name_rest).max(*none_until);
    }
    AZURE_LENGTHS.contains(&value.len()).then_some(value)
}

fn azure_name_start(text: &[u8], place: usize) -> Option<usize> {
    [(6, b"accountkey".as_slice()), (11, b"sharedaccesskey")]
        .into_iter()
        .find_map(|(before, name)| place.checked_sub(before).filter(|start| says(text, *start, name)))
}

/// The run of base 64 behind a name that ends at `name_end`, at most `limit` long.
fn value_after(text: &[u8], name_end: usize, limit: usize) -> Option<Range<usize>> {
    let separators =
        run(text, name_end, SEPARATORS, |byte| matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'`' | b':' | b'=' | b'>' | b'\\'));
    let start = name_end + separators;
    (separators > 0).then(|| start..start + run(text, start, limit, is_base64))
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
