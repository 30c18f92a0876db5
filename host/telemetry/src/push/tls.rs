//! TLS towards collectors: rustls with ring, and the configured trust.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::error::PushConfigError;
use crate::push::PushTls;

/// Reads the files. Called for each new connection, so that a certificate that was renewed is used from then on; blocks on the file
/// system, which only the thread that exports may.
pub(super) fn client_config(tls: &PushTls, http2: bool) -> Result<Arc<ClientConfig>, PushConfigError> {
    let roots = match &tls.ca {
        Some(path) => Arc::new(authorities(path)?),
        None => public_authorities(),
    };
    // Given by hand: the process has no default provider.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(roots);
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
            builder.with_client_auth_cert(certificates(certificate)?, private).map_err(|error| bad(certificate, &error))?
        }
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(Arc::new(config))
}

/// The name that the certificate must be for.
pub(super) fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host).ok().map(|name| name.to_owned())
}

fn authorities(path: &Path) -> Result<RootCertStore, PushConfigError> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(certificates(path)?);
    if added == 0 { Err(bad(path, &"no certificate in it can serve as an authority")) } else { Ok(store) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PushConfigError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| bad(path, &error))?.collect();
    match found {
        Ok(found) if found.is_empty() => Err(bad(path, &"no certificate in PEM in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(bad(path, &error)),
    }
}

/// Those that this machine trusts, else those that Mozilla does; read once.
fn public_authorities() -> Arc<RootCertStore> {
    static PUBLIC: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(store)
    };
    PUBLIC.get_or_init(load).clone()
}

fn bad(path: &Path, reason: &dyn std::fmt::Display) -> PushConfigError {
    PushConfigError::File { path: path.to_owned(), reason: reason.to_string() }
}
