//! Finds secrets in a text: goes from fingerprint to fingerprint and verifies each with the rule of its shape.

mod card;
mod email;
mod key;
mod named;
mod private_key;
mod reading;
mod token;

use core::ops::{ControlFlow, Range};

pub use card::is_card_number;
pub use named::{NamedSecret, is_value_of, named_secret};
pub use private_key::{KeyLines, continue_key, is_unfinished_key};

use crate::class::{Class, ClassSet};
use crate::fingerprint::Fingerprints;

/// A secret found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Bytes of the text searched.
    pub range: Range<usize>,
    /// What it is.
    pub class: Class,
}

/// Looks for the secrets of some classes.
pub struct Detector {
    classes: ClassSet,
    fingerprints: Fingerprints,
}

impl Detector {
    /// Looks for these classes.
    #[must_use]
    pub fn new(classes: ClassSet) -> Self {
        Self { classes, fingerprints: Fingerprints::new(classes) }
    }

    /// Whether a class is looked for.
    #[must_use]
    pub const fn looks_for(&self, class: Class) -> bool {
        self.classes.contains(class)
    }

    /// The secrets of a decoded text, in the order of their fingerprints; those of different classes may overlap.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        let mut settled = Settled::default();
        let _whole_text_visited = self.fingerprints.visit(text, |place| {
            let shape = shape_at(text, place).filter(|shape| self.classes.contains(shape.class()));
            if let Some(finding) = shape.and_then(|shape| shape.verify(text, place, &mut settled)) {
                settled.note(&finding);
                findings.push(finding);
            }
            ControlFlow::Continue(())
        });
        findings
    }

    /// Whether a raw JSON text could hold a secret in one of its strings. It errs on the side of yes: what JSON escapes could hide or
    /// change is not looked at. False in most cases, and then nothing needs to be decoded.
    #[must_use]
    pub fn may_hold(&self, raw: &[u8]) -> bool {
        let mut settled = Settled::default();
        self.fingerprints
            .visit(raw, |place| match shape_at(raw, place) {
                Some(shape) if shape.is_announced(raw, place, &mut settled) => ControlFlow::Break(()),
                // `\u0...` may stand for a character of a fingerprint. Other escapes do not: no fingerprint holds what they stand for.
                None if raw[place] == b'\\' => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
            .is_break()
    }
}

/// Up to where each class is settled: there is a secret that reaches so far, or what was read shows that none begins before. Without it a text
/// full of beginnings would be read once for each.
///
/// So whatever reads more than a fixed number of bytes settles what it read, also where it finds nothing.
#[derive(Default)]
struct Settled {
    until: [usize; Class::ALL.len()],
}

impl Settled {
    fn note(&mut self, finding: &Finding) {
        let until = &mut self.until[finding.class.index()];
        // A token may end in the word that announces the next one, and has settled what is to be settled of it.
        if finding.class != Class::BearerToken {
            *until = finding.range.end;
        }
    }
}

/// A shape of secret, and where its first byte, or the word that announces it, stands.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Key(key::KeyShape, usize),
    NamedAws(usize),
    NamedAzure(usize),
    Bearer(usize),
    Jwt(usize),
    PrivateKey(usize),
    /// Where its `@` stands.
    Email(usize),
    Card(usize),
}

/// The shape that the fingerprint at `place` belongs to.
fn shape_at(text: &[u8], place: usize) -> Option<Shape> {
    let window = [*text.get(place)?, *text.get(place + 1)?, *text.get(place + 2)?];
    let back = |bytes: usize| place.checked_sub(bytes);
    Some(match window {
        [b'@', _, _] => Shape::Email(place),
        [b'0'..=b'9', ..] => Shape::Card(place),
        [b'A', b'I', b'z'] => Shape::Key(key::KeyShape::Gcp, place),
        [b'A', ..] => Shape::Key(key::KeyShape::AwsId, place),
        [b'h', _, b'_'] => Shape::Key(key::KeyShape::Github, back(1)?),
        [b'u', b'b', b'_'] => Shape::Key(key::KeyShape::GithubFineGrained, back(4)?),
        [b'x', ..] => Shape::Key(key::KeyShape::Slack, place),
        [b's' | b'r', b'k', b'_'] => Shape::Key(key::KeyShape::Stripe, place),
        [b's', b'k', b'-'] => Shape::Key(key::KeyShape::Ai, place),
        [b'e', b'y', b'J'] => Shape::Jwt(place),
        [b'-', b'B', b'E'] => Shape::PrivateKey(back(4)?),
        [b'r' | b'R', ..] => Shape::Bearer(back(3)?),
        [b'e' | b'E', b'c' | b'C', _] => Shape::NamedAws(back(1)?),
        [b't' | b'T' | b's' | b'S', b'k' | b'K', _] => Shape::NamedAzure(place),
        _ => return None,
    })
}

impl Shape {
    const fn class(self) -> Class {
        match self {
            Self::Key(shape, _) => shape.class(),
            Self::NamedAws(_) => Class::AwsKey,
            Self::NamedAzure(_) => Class::AzureKey,
            Self::Bearer(_) => Class::BearerToken,
            Self::Jwt(_) => Class::Jwt,
            Self::PrivateKey(_) => Class::PrivateKey,
            Self::Email(_) => Class::Email,
            Self::Card(_) => Class::Card,
        }
    }

    /// The secret, if it is one, in a decoded text.
    fn verify(self, text: &[u8], place: usize, settled: &mut Settled) -> Option<Finding> {
        let until = &mut settled.until[self.class().index()];
        if place < *until {
            return None;
        }
        let range = match self {
            // Before the key itself is read, because nothing is settled by one that stands inside a word.
            Self::Key(shape, start) => starts_word(text, start).then(|| shape.match_at(text, start, until))??,
            Self::NamedAws(start) => named::aws_after(text, start)?,
            Self::NamedAzure(place) => named::azure_after(text, place, until)?,
            Self::Bearer(start) => token::bearer_after(text, start, until)?,
            Self::Jwt(start) => start..start + starts_word(text, start).then(|| token::jwt_length(text, start, until))??,
            Self::PrivateKey(start) => private_key::key_at(text, start)?,
            Self::Email(at) => email::address_around(text, at)?,
            Self::Card(start) => card::card_at(text, start)?,
        };
        Some(Finding { range, class: self.class() })
    }

    /// Whether a raw JSON text says enough of this shape to look closer. Only what no escape can stand for is looked at: a letter before a
    /// key may belong to `\n`, and a slash inside one may be written `\/`.
    fn is_announced(self, raw: &[u8], place: usize, settled: &mut Settled) -> bool {
        let until = &mut settled.until[self.class().index()];
        if place < *until {
            return false;
        }
        match self {
            Self::Key(shape, start) => shape.match_at(raw, start, until).is_some(),
            Self::NamedAws(start) => named::says_secret(raw, start),
            Self::NamedAzure(place) => named::says_azure_key(raw, place),
            Self::Bearer(start) => token::says_bearer(raw, start),
            Self::Jwt(start) => token::jwt_length(raw, start, until).is_some(),
            Self::PrivateKey(start) => private_key::says_begin(raw, start),
            Self::Email(at) => email::says_address(raw, at),
            Self::Card(start) => card::digits_at(raw, start).is_some(),
        }
    }
}

/// Whether a secret may begin at `start`: what precedes is no letter or digit, unless it is the end of a percent escape as in
/// `key%3DAKIA...`.
fn starts_word(text: &[u8], start: usize) -> bool {
    let Some(before) = start.checked_sub(1).and_then(|at| text.get(at)) else { return true };
    if !before.is_ascii_alphanumeric() {
        return true;
    }
    let escape = start.checked_sub(3).and_then(|at| text.get(at..start));
    matches!(escape, Some([b'%', high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// Whether a secret may end before `end`.
fn ends_word(text: &[u8], end: usize) -> bool {
    !text.get(end).is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
pub(crate) mod tests;
