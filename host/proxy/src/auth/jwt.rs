//! JSON Web Tokens: signature, issuer, audience, times, and the client's name.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, AlgorithmFamily, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::jwks::{Jwks, Pace, Refresher, Snapshot};
use super::verified::Known;
use super::{AuthError, Digest, Verdict, signatures};
use crate::config::JwtConfig;

/// Tokens of usual issuers have 1 to 4 KiB. What is longer is not worth decoding.
const MAX_TOKEN: usize = 16 << 10;

/// Keys that a token without key id is tried with, so that a large set costs no more than this many signatures.
const MAX_TRIES: usize = 8;

/// Characters of a client's name.
const MAX_NAME: usize = 64;

/// What the client is called whose token lacks the claim.
const UNNAMED: &str = "_unnamed";

/// More tolerance than this is no check of times.
const MAX_LEEWAY: Duration = Duration::from_secs(24 * 3600);

/// Decides on tokens.
pub(super) struct Jwt {
    pub(super) jwks: Refresher,
    name_claim: String,
    leeway: u64,
}

/// The token's key is not known, or not yet.
struct UnknownKey;

impl Jwt {
    /// Reads or begins to fetch the keys.
    pub(super) fn start(config: &JwtConfig, pace: Pace) -> Result<Self, AuthError> {
        signatures::install();
        let leeway = config.leeway.min(MAX_LEEWAY).as_secs();
        let jwks = Jwks::start(&config.jwks, claims(config, leeway), config.refresh, pace)?;
        Ok(Self { jwks, name_claim: config.name_claim.clone(), leeway })
    }

    /// Whose token this is.
    pub(super) async fn check(&self, token: &str, digest: &Digest) -> Verdict {
        let snapshot = self.jwks.current();
        if let Ok(verdict) = self.verify(&snapshot, token, digest) {
            return verdict;
        }
        match self.jwks.newer_than(&snapshot).await {
            Some(newer) => self.verify(&newer, token, digest).unwrap_or(Verdict::Invalid),
            None => Verdict::Invalid,
        }
    }

    fn verify(&self, snapshot: &Snapshot, token: &str, digest: &Digest) -> Result<Verdict, UnknownKey> {
        if let Some(known) = snapshot.verified.lock().get(digest) {
            return Ok(if known.expires.saturating_add(self.leeway) < now() { Verdict::Expired } else { Verdict::Known(known.name) });
        }
        if token.len() > MAX_TOKEN {
            return Ok(Verdict::Invalid);
        }
        let Ok(header) = decode_header(token) else { return Ok(Verdict::Invalid) };
        // No extension is understood here, so none that is critical may be ignored (RFC 7515, 4.1.11).
        if header.alg.family() == AlgorithmFamily::Hmac || header.crit.is_some() {
            return Ok(Verdict::Invalid);
        }
        let kid = header.kid.as_deref();
        if snapshot.keys.candidates(kid).next().is_none() {
            return Err(UnknownKey);
        }
        Ok(self.verify_with(snapshot, kid, header.alg, token, digest))
    }

    fn verify_with(&self, snapshot: &Snapshot, kid: Option<&str>, algorithm: Algorithm, token: &str, digest: &Digest) -> Verdict {
        let fitting = snapshot.keys.candidates(kid).filter(|key| key.validation.algorithms.contains(&algorithm));
        for key in fitting.take(MAX_TRIES) {
            match decode::<Map<String, Value>>(token, &key.decoding, &key.validation) {
                Ok(token) => {
                    let name = client_name(token.claims.get(&self.name_claim));
                    if let Some(expires) = token.claims.get("exp").and_then(seconds) {
                        snapshot.verified.lock().insert(*digest, Known { name: name.clone(), expires });
                    }
                    return Verdict::Known(name);
                }
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::ExpiredSignature => return Verdict::Expired,
                    _ => return Verdict::Invalid,
                },
            }
        }
        Verdict::Invalid
    }
}

/// What every token must fulfil. A list that is empty asks for nothing.
fn claims(config: &JwtConfig, leeway: u64) -> Validation {
    let mut claims = Validation::new(Algorithm::RS256);
    let mut required = vec!["exp"];
    claims.algorithms = Vec::new();
    claims.leeway = leeway;
    claims.validate_nbf = true;
    claims.validate_aud = !config.audiences.is_empty();
    if claims.validate_aud {
        claims.set_audience(&config.audiences);
        required.push("aud");
    }
    if !config.issuers.is_empty() {
        claims.set_issuer(&config.issuers);
        required.push("iss");
    }
    claims.set_required_spec_claims(&required);
    claims
}

/// `exp` as a number of seconds. The library has accepted it, so it is one.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A claim as a name for logs and labels: short, and without characters that could disturb either.
fn client_name(claim: Option<&Value>) -> Arc<str> {
    let text = match claim {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    if text.is_empty() {
        return UNNAMED.into();
    }
    let is_printable = |character: char| character == ' ' || character.is_ascii_graphic() || character.is_alphanumeric();
    text.chars().take(MAX_NAME).map(|character| if is_printable(character) { character } else { '_' }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_printable() {
        let check = |claim: Value, expected: &str| assert_eq!(&*client_name(Some(&claim)), expected);
        check("alice@example.com".into(), "alice@example.com");
        check(" Zo\u{eb} M ".into(), "Zo\u{eb} M");
        check("a\nb\u{1b}[31m\u{202e}c\u{0}".into(), "a_b_[31m_c_");
        check("x".repeat(1000).into(), &"x".repeat(64));
        check("\u{e9}".repeat(1000).into(), &"\u{e9}".repeat(64));
        check(42.into(), "42");
        for nothing in ["".into(), "  ".into(), Value::Null, Value::Array(vec!["a".into()]), Value::Object(Map::new()), Value::Bool(true)] {
            check(nothing, UNNAMED);
        }
        assert_eq!(&*client_name(None), UNNAMED);
    }
}
