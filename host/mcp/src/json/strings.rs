//! Every string of a body, keys included.

use super::walk::{Kind, Walker};
use std::ops::Range;

/// One string of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringToken {
    /// Where its content stands, without the quotes.
    pub content: Range<usize>,
    /// Whether it is a member's name.
    pub is_key: bool,
    /// Whether its content holds an escape, so that it must be decoded to be read.
    pub has_escape: bool,
}

/// Iterator of [`strings`].
pub struct Strings<'a>(Walker<'a>);

/// The strings of `body` in order. Ends where the body stops being JSON: [`super::validate`] tells whether that is its end.
pub fn strings(body: &[u8]) -> Strings<'_> {
    Strings(Walker::new(body))
}

impl Iterator for Strings<'_> {
    type Item = StringToken;

    fn next(&mut self) -> Option<StringToken> {
        loop {
            let token = self.0.next()?.ok()?;
            if matches!(token.kind, Kind::Key | Kind::String) {
                let content = token.range.start + 1..token.range.end - 1;
                return Some(StringToken { content, is_key: token.kind == Kind::Key, has_escape: token.has_escape });
            }
        }
    }
}
