//! Keys that a fixed beginning announces, followed by a run of letters and digits.

use core::ops::Range;

use super::ends_word;
use super::reading::run;
use crate::class::Class;

/// A kind of key with a beginning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyShape {
    /// `AKIA` and its siblings, and 16 of base 32.
    AwsId,
    /// `AIza` and 35.
    Gcp,
    /// `ghp_`, `gho_`, `ghu_`, `ghs_`, `ghr_`.
    Github,
    /// `github_pat_`.
    GithubFineGrained,
    /// `xoxb-` and its siblings, `xapp-`.
    Slack,
    /// `sk_live_`, `rk_live_` and the same for `test`.
    Stripe,
    /// `sk-`.
    Ai,
}

/// `AIza` and what follows it.
const GCP_LENGTH: usize = 39;
/// No key is longer; a run that is, is cut here so that the work stays bounded.
const LONGEST: usize = 512;

impl KeyShape {
    /// The class it belongs to.
    pub const fn class(self) -> Class {
        match self {
            Self::AwsId => Class::AwsKey,
            Self::Gcp => Class::GcpKey,
            Self::Github | Self::GithubFineGrained => Class::GithubToken,
            Self::Slack => Class::SlackToken,
            Self::Stripe => Class::StripeKey,
            Self::Ai => Class::AiKey,
        }
    }

    /// The key that begins at `start`; what stands before is not looked at. Where there is none, `none_until` may become the end of what was read
    /// and cannot begin one either.
    pub fn match_at(self, text: &[u8], start: usize, none_until: &mut usize) -> Option<Range<usize>> {
        let rest = text.get(start..)?;
        let length = match self {
            Self::AwsId => aws_id(rest)?,
            Self::Gcp => match gcp(rest) {
                Ok(length) => length,
                Err(none_before) => {
                    *none_until = start + none_before;
                    return None;
                }
            },
            Self::Github => {
                let [b'g', b'h', b'p' | b'o' | b'u' | b's' | b'r', b'_', ..] = rest else { return None };
                with_run(rest, 4, 36, is_word)?
            }
            Self::GithubFineGrained => rest.starts_with(b"github_pat_").then(|| with_run(rest, 11, 22, is_word))??,
            Self::Slack => slack(rest)?,
            Self::Stripe => stripe(rest)?,
            Self::Ai => match ai(rest) {
                Ok(length) => length,
                Err(none_before) => {
                    *none_until = start + none_before;
                    return None;
                }
            },
        };
        Some(start..start + length)
    }
}

fn aws_id(rest: &[u8]) -> Option<usize> {
    let ([b'A', b'K' | b'S', b'I', b'A', ..] | [b'A', b'B', b'I', b'A', ..] | [b'A', b'C', b'C', b'A', ..]) = rest else { return None };
    let length = 4 + run(rest, 4, 17, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    (length == 20 && ends_word(rest, length)).then_some(length)
}

/// The length of the key, or how far none begins: only the last 39 of a longer run could be one.
fn gcp(rest: &[u8]) -> Result<usize, usize> {
    if !rest.starts_with(b"AIza") {
        return Err(0);
    }
    let length = 4 + run(rest, 4, usize::MAX, is_url_safe);
    if length == GCP_LENGTH { Ok(length) } else { Err(length.saturating_sub(GCP_LENGTH)) }
}

fn slack(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'x', b'o', b'x', b'a'..=b'z', b'-' | b'.', ..] => with_run(rest, 5, 10, |byte| is_url_safe(byte) || byte == b'.'),
        [b'x', b'a', b'p', b'p', b'-', ..] => with_run(rest, 5, 10, is_url_safe),
        _ => None,
    }
}

fn stripe(rest: &[u8]) -> Option<usize> {
    let ([b's' | b'r', b'k', b'_', b'l', b'i', b'v', b'e', b'_', ..] | [b's' | b'r', b'k', b'_', b't', b'e', b's', b't', b'_', ..]) = rest
    else {
        return None;
    };
    with_run(rest, 8, 10, |byte| byte.is_ascii_alphanumeric())
}

/// The length of the key, or how far none begins. A digit is asked for, because words joined by hyphens (`sk-learn-...`) begin so too.
fn ai(rest: &[u8]) -> Result<usize, usize> {
    if !rest.starts_with(b"sk-") {
        return Err(0);
    }
    let mut has_digit = false;
    let length = 3 + run(rest, 3, usize::MAX, |byte| {
        has_digit |= byte.is_ascii_digit();
        is_url_safe(byte)
    });
    if length >= 23 && has_digit { Ok(length) } else { Err(length) }
}

/// The length of a beginning and the run that follows it, if that has `least` bytes.
fn with_run(rest: &[u8], beginning: usize, least: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let length = run(rest, beginning, LONGEST, wanted);
    (length >= least).then_some(beginning + length)
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

const fn is_url_safe(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}
