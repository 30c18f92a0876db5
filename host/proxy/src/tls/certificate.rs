//! A certificate with its private key, from PEM files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use super::error::TlsError;
use super::files::read;

/// Who we are in a handshake: a certificate that fits its key.
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    not_before: SystemTime,
    /// When the certificate itself expires; its issuers' may outlive it or not.
    pub(super) not_after: SystemTime,
}

impl Identity {
    /// Reads both files. An expired certificate is accepted: serving it is better than not starting.
    pub(super) fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let (not_before, not_after) = validity(certificate, &chain[0])?;
        let private = provider
            .key_provider
            .load_private_key(private_key(key)?)
            .map_err(|error| TlsError::BadKey { path: key.to_owned(), reason: error.to_string() })?;
        let pair = CertifiedKey::new(chain, private);
        match pair.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() });
            }
            Err(error) => return Err(TlsError::BadCertificate { path: certificate.to_owned(), reason: error.to_string() }),
        }
        Ok(Self { key: Arc::new(pair), not_before, not_after })
    }

    /// Whether both are of the same files' contents. The key needs no comparing: it fits the certificate.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// Warns of what peers will refuse.
    pub(super) fn warn_of_dates(&self, certificate: &Path) {
        let now = SystemTime::now();
        let certificate = certificate.display();
        if self.not_after < now {
            tracing::warn!(%certificate, "the certificate has expired and peers will refuse it; put a new one in its place");
        } else if self.not_before > now {
            tracing::warn!(%certificate, "the certificate is not valid yet, and peers will refuse it; look at the clocks");
        }
    }
}

/// All certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match found {
        Ok(found) if found.is_empty() => Err(without_pem(path, &content, TlsError::NoCertificate)),
        Ok(found) => Ok(found),
        Err(source) => Err(TlsError::BrokenPem { path: path.to_owned(), source }),
    }
}

/// The first private key of a file, which may hold certificates as well.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let content = read(path)?;
    PrivateKeyDer::from_pem_slice(&content).map_err(|source| {
        if memchr::memmem::find(&content, b"ENCRYPTED").is_some() {
            return TlsError::EncryptedKey(path.to_owned());
        }
        match source {
            pem::Error::NoItemsFound => without_pem(path, &content, TlsError::NoKey),
            source => TlsError::BrokenPem { path: path.to_owned(), source },
        }
    })
}

/// What to say of a file without the section that is wanted.
fn without_pem(path: &Path, content: &[u8], otherwise: fn(std::path::PathBuf) -> TlsError) -> TlsError {
    // DER begins with the tag of a sequence longer than 127 bytes.
    if matches!(content, [0x30, 0x81..=0x84, ..]) { TlsError::Der(path.to_owned()) } else { otherwise(path.to_owned()) }
}

fn validity(path: &Path, certificate: &CertificateDer<'_>) -> Result<(SystemTime, SystemTime), TlsError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| TlsError::BadCertificate { path: path.to_owned(), reason: error.to_string() })?;
    let validity = parsed.validity();
    Ok((system_time(validity.not_before), system_time(validity.not_after)))
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(distance) } else { SystemTime::UNIX_EPOCH.checked_add(distance) };
    // Only a platform whose clock ends early comes here.
    moved.unwrap_or(SystemTime::UNIX_EPOCH)
}
