//! JSON Web Tokens: signature, issuer, audience, times, and the client's name.

use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use watchgate_telemetry::AuthResult;

use super::claims::{self, ClaimRules};
use super::fetched::Pace;
use super::jwks::{Jwks, Keys};
use super::verified::{Known, Verified};
use super::{AuthError, Digest, Verdict, signatures};
use crate::config::JwtConfig;

/// Tokens of usual issuers have 1 to 4 KiB. What is longer is not worth decoding.
const MAX_TOKEN: usize = 16 << 10;

/// Keys that a token without key id is tried with, so that a large set costs no more than this many signatures.
const MAX_TRIES: usize = 8;

/// Characters of the claim in a client's name.
const MAX_NAME: usize = 64;

/// Begins the name of a client with a token. No key can be called so, since a key's name has no colon: whoever may choose the claim at the issuer
/// could otherwise pass for the bearer of a key, in metrics, logs and rates.
const PREFIX: &str = "jwt:";

/// What the client is called whose token lacks the claim.
const UNNAMED: &str = "_unnamed";

/// Decides on tokens.
pub(super) struct Jwt {
    config: JwtConfig,
    pub(super) jwks: Jwks,
    rules: ClaimRules,
    leeway: u64,
    /// Under these rules; other ones begin with none.
    pub(super) verified: Mutex<Verified>,
}

/// The token's key is not known, or not yet.
struct UnknownKey;

impl Jwt {
    /// Takes the keys from the file or begins to fetch them; `earlier` has them already where they come from the same place. What is the same in
    /// every way is `earlier` itself.
    pub(super) fn start(config: &JwtConfig, pace: Pace, earlier: Option<&Arc<Self>>) -> Result<Arc<Self>, AuthError> {
        if let Some(same) = earlier.filter(|earlier| earlier.config == *config) {
            return Ok(same.clone());
        }
        signatures::install();
        Ok(Arc::new(Self {
            jwks: Jwks::start(&config.jwks, config.refresh, pace, earlier.map(|earlier| &earlier.jwks))?,
            rules: ClaimRules::new(config),
            leeway: claims::leeway(config),
            verified: Mutex::default(),
            config: config.clone(),
        }))
    }

    /// Whose token this is.
    pub(super) async fn check(&self, token: &str, digest: &Digest) -> Verdict {
        let keys = self.jwks.current();
        if let Ok(verdict) = self.verify(&keys, token, digest) {
            return verdict;
        }
        let unknown = Verdict::Refused(AuthResult::UnknownKey);
        match self.jwks.newer_than(&keys).await {
            Some(newer) => self.verify(&newer, token, digest).unwrap_or(unknown),
            None => unknown,
        }
    }

    fn verify(&self, keys: &Keys, token: &str, digest: &Digest) -> Result<Verdict, UnknownKey> {
        if let Some(known) = self.verified.lock().get(digest).filter(|known| known.keys == keys.number) {
            let is_over = known.expires.saturating_add(self.leeway) < now();
            return Ok(if is_over { Verdict::Refused(AuthResult::Expired) } else { Verdict::Known(known.name) });
        }
        if token.len() > MAX_TOKEN {
            return Ok(Verdict::Refused(AuthResult::Invalid));
        }
        let Ok(header) = decode_header(token) else { return Ok(Verdict::Refused(AuthResult::Invalid)) };
        // No extension is understood here, so none that is critical may be ignored (RFC 7515, 4.1.11).
        let Some(rules) = self.rules.of(header.alg).filter(|_| header.crit.is_none()) else {
            return Ok(Verdict::Refused(AuthResult::UnsupportedToken));
        };
        let kid = header.kid.as_deref();
        if keys.set.candidates(kid).next().is_none() {
            return Err(UnknownKey);
        }
        Ok(self.verify_with(keys, kid, (header.alg, rules), token, digest))
    }

    fn verify_with(
        &self,
        keys: &Keys,
        kid: Option<&str>,
        (algorithm, rules): (Algorithm, &Validation),
        token: &str,
        digest: &Digest,
    ) -> Verdict {
        let fitting = keys.set.candidates(kid).filter(|key| key.algorithms.contains(&algorithm));
        let mut refused = AuthResult::UnsupportedToken;
        for key in fitting.take(MAX_TRIES) {
            match decode::<Map<String, Value>>(token, &key.decoding, rules) {
                Ok(token) => {
                    let name = client_name(token.claims.get(&self.config.name_claim));
                    if let Some(expires) = token.claims.get("exp").and_then(seconds) {
                        self.verified.lock().insert(*digest, Known { name: name.clone(), expires, keys: keys.number });
                    }
                    return Verdict::Known(name);
                }
                Err(error) => {
                    refused = reason(&error);
                    if refused != AuthResult::WrongSignature {
                        break;
                    }
                }
            }
        }
        Verdict::Refused(refused)
    }
}

/// Why the library did not accept a token whose header could be read. It reads claims only once the signature is good.
fn reason(error: &Error) -> AuthResult {
    match error.kind() {
        ErrorKind::InvalidSignature => AuthResult::WrongSignature,
        ErrorKind::ExpiredSignature => AuthResult::Expired,
        ErrorKind::ImmatureSignature => AuthResult::NotYetValid,
        ErrorKind::InvalidIssuer => AuthResult::WrongIssuer,
        ErrorKind::InvalidAudience => AuthResult::WrongAudience,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => AuthResult::MissingClaim,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => AuthResult::UnsupportedToken,
        _ => AuthResult::Invalid,
    }
}

/// `exp` as a number of seconds. The library has accepted it, so it is one.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A claim as a name for logs and labels: short, without characters that could disturb either, and the name of no key.
fn client_name(claim: Option<&Value>) -> Arc<str> {
    let text = match claim {
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let text = if text.is_empty() { UNNAMED } else { text.as_str() };
    let is_printable = |character: char| character == ' ' || character.is_ascii_graphic() || character.is_alphanumeric();
    let printable = text.chars().take(MAX_NAME).map(|character| if is_printable(character) { character } else { '_' });
    PREFIX.chars().chain(printable).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_printable_and_of_no_key() {
        let check = |claim: Value, expected: &str| assert_eq!(client_name(Some(&claim)).strip_prefix("jwt:"), Some(expected));
        check("alice@example.com".into(), "alice@example.com");
        check(" Zo\u{eb} M ".into(), "Zo\u{eb} M");
        check("a\nb\u{1b}[31m\u{202e}c\u{0}".into(), "a_b_[31m_c_");
        check("x".repeat(1000).into(), &"x".repeat(64));
        check("\u{e9}".repeat(1000).into(), &"\u{e9}".repeat(64));
        check(42.into(), "42");
        for nothing in ["".into(), "  ".into(), Value::Null, Value::Array(vec!["a".into()]), Value::Object(Map::new()), Value::Bool(true)] {
            check(nothing, UNNAMED);
        }
        assert_eq!(&*client_name(None), "jwt:_unnamed");
    }
}
