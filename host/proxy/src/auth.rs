//! Whom the gateway lets in: bearer keys, and JSON Web Tokens.
//!
//! The headers of a request go in, a [`Verdict`] comes out. [`jwks`] holds the public keys that tokens are verified with, [`fetched`] keeps those
//! of an issuer fresh in the background; everything else is computed from what is in memory.

mod claims;
mod fetched;
mod jwks;
mod jwt;
mod key_set;
mod keys;
mod signatures;
mod source;
mod verified;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use http::header::{self, HeaderMap};
use sha2::{Digest as _, Sha256};
use watchgate_telemetry::AuthResult;

use crate::JwksStatus;
use crate::config::AuthConfig;
use crate::tls::error::TlsError;

use fetched::Pace;
use jwt::Jwt;
use keys::Keys;

/// SHA-256 of a presented key or token: what it is looked up by, so that no secret is kept or compared byte by byte.
type Digest = [u8; 32];

/// Decides who is let in.
pub(crate) struct Authenticator {
    keys: Keys,
    jwt: Option<Arc<Jwt>>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Somebody who is let in, by the name for logs and metrics.
    Known(Arc<str>),
    /// No key and no token was given.
    Missing,
    /// Neither one of the keys nor an acceptable token; why, for operators.
    Refused(AuthResult),
}

impl Verdict {
    /// The word for it in metrics and logs.
    pub(crate) fn result(&self) -> AuthResult {
        match self {
            Self::Known(_) => AuthResult::Known,
            Self::Missing => AuthResult::Missing,
            Self::Refused(why) => *why,
        }
    }
}

/// Why nobody could be let in as configured. The operator's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthError {
    /// Not JSON, or other JSON.
    #[error("the JWKS file {} is not a set of JSON Web Keys ({reason}): it must look like {{\"keys\": [...]}}", path.display())]
    NotKeys {
        /// As configured.
        path: PathBuf,
        /// Where it stops being one.
        reason: key_set::NotKeys,
    },
    /// A set without one key that tokens could be verified with.
    #[error(
        "the JWKS file {} has no key to verify tokens with: add the issuer's public key (RSA of 2048 bits or more, P-256, P-384 or Ed25519)",
        path.display()
    )]
    NoUsableKey {
        /// As configured.
        path: PathBuf,
    },
    /// Not the URL of anything.
    #[error("{0:?} is not the address of a JWKS: write http://HOST/PATH or https://HOST/PATH, without a user name")]
    Url(String),
    /// The host can have no certificate, or there is nobody to trust.
    #[error("the JWKS at {url} cannot be fetched over TLS: {reason}")]
    Tls {
        /// As configured.
        url: String,
        /// What is missing.
        reason: TlsError,
    },
}

impl Authenticator {
    /// A JWKS URL is fetched in the background from now on, until this is dropped, and until the first success no token is let in; `earlier` hands
    /// over what it has fetched from there. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the file holds no usable key, or the URL is none.
    pub(crate) fn start(config: &AuthConfig, earlier: Option<&Self>) -> Result<Arc<Self>, AuthError> {
        Self::start_at(config, Pace::default(), earlier)
    }

    fn start_at(config: &AuthConfig, pace: Pace, earlier: Option<&Self>) -> Result<Arc<Self>, AuthError> {
        let earlier = earlier.and_then(|earlier| earlier.jwt.as_ref());
        let jwt = config.jwt.as_ref().map(|jwt| Jwt::start(jwt, pace, earlier)).transpose()?;
        Ok(Arc::new(Self { keys: Keys::new(&config.keys), jwt }))
    }

    /// How it stands with the keys of tokens, where there are any.
    pub(crate) fn jwks(&self) -> Option<JwksStatus> {
        self.jwt.as_ref().map(|jwt| jwt.jwks.status())
    }

    /// Who sent these headers. Does not wait, except for a token of a key that is not known: then for one refetch of the keys, at most
    /// [`Pace::wait`].
    pub(crate) async fn check(&self, headers: &HeaderMap) -> Verdict {
        let token = match bearer(headers) {
            Ok(token) => token,
            Err(verdict) => return verdict,
        };
        let digest = Sha256::digest(token).into();
        if let Some(name) = self.keys.find(&digest) {
            return Verdict::Known(name);
        }
        match &self.jwt {
            Some(jwt) => jwt.check(token, &digest).await,
            None => Verdict::Refused(AuthResult::Invalid),
        }
    }
}

/// `WWW-Authenticate` for a refusal (RFC 6750, 3): an error is named only where something was given. `metadata` is the URL of what is said of the
/// resource (RFC 9728, 5.1), legal between quotes.
pub(crate) fn challenge(verdict: &Verdict, metadata: Option<&str>) -> HeaderValue {
    let challenge = match verdict {
        Verdict::Known(_) | Verdict::Missing => "Bearer",
        Verdict::Refused(AuthResult::Expired) => "Bearer error=\"invalid_token\", error_description=\"The access token expired\"",
        Verdict::Refused(_) => "Bearer error=\"invalid_token\"",
    };
    let told = metadata.and_then(|url| {
        let separator = if challenge.contains(' ') { "," } else { "" };
        HeaderValue::try_from(format!("{challenge}{separator} resource_metadata=\"{url}\"")).ok()
    });
    told.unwrap_or(HeaderValue::from_static(challenge))
}

/// The bearer token of a request. Another scheme is as good as none, since it may be meant for the server.
fn bearer(headers: &HeaderMap) -> Result<&str, Verdict> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Verdict::Missing)?;
    if values.next().is_some() {
        // Which of them the server would read is anybody's guess.
        return Err(Verdict::Refused(AuthResult::Invalid));
    }
    let value = value.to_str().map_err(|_| Verdict::Refused(AuthResult::Invalid))?.trim();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim_start();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(Verdict::Missing);
    }
    Ok(token)
}
