//! A set of JSON Web Keys (RFC 7517), reduced to the keys that tokens can be verified with.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;

/// Public keys. What claims must say is another matter, so that the rules for them can change over the same keys.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

/// One public key.
pub(super) struct Key {
    kid: Option<String>,
    /// For the library.
    pub(super) decoding: DecodingKey,
    /// The algorithms that fit this key: it is the key that says how it signs, never the token.
    pub(super) algorithms: Vec<Algorithm>,
}

/// Why content is not a set of keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotKeys {
    /// Not JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// JSON of something else.
    #[error("it has no array \"keys\"")]
    NoArray,
}

const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

impl KeySet {
    /// Reads a set. Keys that are for something else or of an unknown kind are left out, as RFC 7517, 5 asks.
    pub(super) fn parse(content: &[u8]) -> Result<Self, NotKeys> {
        let mut document: Value = serde_json::from_slice(content)?;
        let Some(Value::Array(entries)) = document.get_mut("keys").map(Value::take) else { return Err(NotKeys::NoArray) };
        Ok(Self(entries.into_iter().filter_map(|entry| Key::new(serde_json::from_value(entry).ok()?)).collect()))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that a token could be signed with: those of its key id, or all when it names none.
    pub(super) fn candidates<'a>(&'a self, kid: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| kid.is_none() || key.kid.as_deref() == kid)
    }
}

impl Key {
    fn new(jwk: Jwk) -> Option<Self> {
        let common = &jwk.common;
        let is_for_signatures = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies = common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !is_for_signatures || !verifies {
            return None;
        }
        let (fitting, decoding) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (RSA, rsa(&jwk)?),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => (&[Algorithm::ES256][..], point(&jwk, 65)?),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => (&[Algorithm::ES384][..], point(&jwk, 97)?),
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => (&[Algorithm::EdDSA][..], point(&jwk, 32)?),
            // Shared secrets among them: whoever may read the set could sign with one.
            _ => return None,
        };
        let algorithms = match common.key_algorithm {
            None => fitting.to_vec(),
            Some(only) => vec![Algorithm::try_from(only).ok().filter(|only| fitting.contains(only))?],
        };
        Some(Self { kid: jwk.common.key_id, decoding, algorithms })
    }
}

/// A modulus of 2048 to 8192 bits, which is what `ring` verifies with. Some issuers write it with a leading zero.
fn rsa(jwk: &Jwk) -> Option<DecodingKey> {
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else { return None };
    let strip = |number: &[u8]| number.iter().position(|byte| *byte != 0).map_or(Vec::new(), |start| number[start..].to_vec());
    let (n, e) = (strip(n), strip(e));
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    ((2048..=8192).contains(&bits) && !e.is_empty()).then(|| DecodingKey::from_rsa_raw_components(&n, &e))
}

/// A curve's point of the right length.
fn point(jwk: &Jwk, length: usize) -> Option<DecodingKey> {
    DecodingKey::from_jwk(jwk).ok().filter(|key| key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == length))
}
