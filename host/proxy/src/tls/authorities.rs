//! The authorities whose certificates are trusted: those of a file, or the public ones.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::certificate::certificates;
use super::error::TlsError;

/// The authorities of a file.
pub(super) struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    pub(super) store: Arc<RootCertStore>,
}

impl Authorities {
    /// Reads them. One that cannot be used is passed over with a warning, since bundles of old systems hold such; at least one must be
    /// good.
    pub(super) fn read(path: &Path) -> Result<Self, TlsError> {
        let certificates = certificates(path)?;
        let mut store = RootCertStore::empty();
        let mut refused = None;
        for certificate in &certificates {
            if let Err(error) = store.add(certificate.clone()) {
                refused = Some(error);
            }
        }
        match refused {
            Some(error) if store.is_empty() => {
                return Err(TlsError::NoAuthority { path: path.to_owned(), reason: error.to_string() });
            }
            Some(error) => {
                let passed_over = certificates.len() - store.len();
                tracing::warn!(file = %path.display(), passed_over, %error, "some certificates cannot serve as authorities");
            }
            None => {}
        }
        Ok(Self { certificates, store: Arc::new(store) })
    }

    /// Whether both are of the same file's contents.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

/// The authorities that this machine trusts, else those that Mozilla does. Read once: they come with the image or the system's packages,
/// and parsing some 150 of them for each server and reload would show.
pub(super) fn public_authorities() -> Arc<RootCertStore> {
    static PUBLIC: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    PUBLIC
        .get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::debug!(%error, "some of the system's certificates cannot be read");
            }
            Arc::new(trusted_or_built_in(found.certs))
        })
        .clone()
}

fn trusted_or_built_in(found: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found);
    if store.is_empty() {
        tracing::info!("the system has no trusted certificates; those built in are used");
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image without certificates, such as one built from scratch, still reaches public servers.
    #[test]
    fn built_in_authorities_stand_in() {
        let built_in = webpki_roots::TLS_SERVER_ROOTS.len();
        assert!(built_in > 50);
        assert_eq!(trusted_or_built_in(Vec::new()).len(), built_in);
        assert_eq!(trusted_or_built_in(vec![CertificateDer::from(vec![1, 2, 3])]).len(), built_in, "garbage is as good as nothing");
        let own = rcgen::generate_simple_self_signed(vec!["own.test".to_owned()]).unwrap();
        assert_eq!(trusted_or_built_in(vec![own.cert.der().clone()]).len(), 1, "the machine's own word comes first");
        assert!(!public_authorities().is_empty());
    }
}
