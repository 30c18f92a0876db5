//! TLS towards clients.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::authorities::Authorities;
use super::certificate::Identity;
use super::error::TlsError;
use super::reloaded::{Refreshed, Reloaded};
use super::stream::{ClientStream, MaybeTls};
use super::{alpn, provider};
use crate::config::ServerTls;

/// The certificate of a listener, and whom it lets in.
pub(crate) struct ServerTlsState {
    settings: ServerTls,
    http2: bool,
    live: Reloaded<Live>,
}

struct Live {
    identity: Identity,
    client_authorities: Option<Authorities>,
    /// The keys of session tickets. They outlive a renewed certificate, and go with the authorities of clients: a resumed session is not
    /// verified again, so one that a former authority vouched for must not be resumable.
    tickets: Arc<dyn ProducesTickets>,
    config: Arc<ServerConfig>,
}

impl ServerTlsState {
    /// Reads the files. Blocks on the file system.
    ///
    /// # Errors
    /// When a file cannot be used. An expired certificate can, with a warning.
    pub(crate) fn load(settings: &ServerTls, http2: bool) -> Result<Arc<Self>, TlsError> {
        let paths = [&settings.certificate, &settings.key].into_iter().chain(&settings.client_ca).map(|path| path.as_path());
        let live = Reloaded::load(paths, SystemTime::now(), || {
            let (identity, client_authorities) = read(settings)?;
            Live::new(identity, client_authorities, Ticketer::new()?, http2, &settings.certificate)
        })?;
        Ok(Arc::new(Self { settings: settings.clone(), http2, live }))
    }

    /// What the next handshake is made with. Connections keep the one that they began with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.live.get().config.clone()
    }

    /// Makes the handshake with a client that has just connected. Has no deadline of its own.
    ///
    /// # Errors
    /// When the client leaves, speaks something else, or has no certificate of those that are wanted.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<ClientStream> {
        let accepting = TlsAcceptor::from(self.config()).accept(stream);
        Ok(MaybeTls::Tls(Box::new(accepting.await?)))
    }

    /// Reads files that have changed. Call it every second or so, where blocking is allowed.
    pub(crate) fn refresh(&self) -> Refreshed {
        self.refresh_at(SystemTime::now())
    }

    /// When the certificate in use expires.
    pub(crate) fn not_after(&self) -> SystemTime {
        self.live.get().identity.not_after
    }

    pub(super) fn refresh_at(&self, now: SystemTime) -> Refreshed {
        self.live.refresh(now, |live| {
            let (identity, client_authorities) = read(&self.settings)?;
            let same_authorities = match (&client_authorities, &live.client_authorities) {
                (Some(new), Some(old)) => new.is_same(old),
                (new, old) => new.is_none() && old.is_none(),
            };
            if same_authorities && identity.is_same(&live.identity) {
                return Ok(None);
            }
            let tickets = if same_authorities { live.tickets.clone() } else { Ticketer::new()? };
            Live::new(identity, client_authorities, tickets, self.http2, &self.settings.certificate).map(Some)
        })
    }
}

impl Live {
    fn new(
        identity: Identity,
        client_authorities: Option<Authorities>,
        tickets: Arc<dyn ProducesTickets>,
        http2: bool,
        certificate: &Path,
    ) -> Result<Self, TlsError> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &client_authorities {
            None => builder.with_no_client_auth(),
            Some(authorities) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(authorities.store.clone(), provider)
                    .build()
                    .map_err(|error| TlsError::Library(rustls::Error::General(error.to_string())))?,
            ),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key.clone())));
        config.alpn_protocols = alpn(http2);
        config.ticketer = tickets.clone();
        identity.warn_of_dates(certificate);
        Ok(Self { identity, client_authorities, tickets, config: Arc::new(config) })
    }
}

fn read(settings: &ServerTls) -> Result<(Identity, Option<Authorities>), TlsError> {
    let identity = Identity::read(&settings.certificate, &settings.key, &provider())?;
    let client_authorities = settings.client_ca.as_deref().map(Authorities::read).transpose()?;
    Ok((identity, client_authorities))
}
