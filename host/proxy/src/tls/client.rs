//! TLS towards servers.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::authorities::{Authorities, public_authorities};
use super::certificate::Identity;
use super::error::TlsError;
use super::reloaded::{Refreshed, Reloaded};
use super::stream::{MaybeTls, UpstreamStream};
use super::{alpn, provider};
use crate::server_config::UpstreamTls;

/// Whom the gateway trusts as one server, and what it shows there.
pub(crate) struct UpstreamTlsState {
    settings: UpstreamTls,
    /// In place of the endpoint's host.
    name: Option<ServerName<'static>>,
    http2: bool,
    live: Reloaded<Live>,
}

struct Live {
    /// `None`: the public ones.
    authorities: Option<Authorities>,
    identity: Option<Identity>,
    config: Arc<ClientConfig>,
}

impl UpstreamTlsState {
    /// Reads the files, or the system's authorities where none are named. Blocks on the file system.
    ///
    /// # Errors
    /// When a file or the server name cannot be used. An expired client certificate can, with a warning.
    pub(crate) fn load(settings: &UpstreamTls, http2: bool) -> Result<Arc<Self>, TlsError> {
        let name = settings.server_name.as_deref().map(parse_name).transpose()?;
        let pair = settings.client.iter().flat_map(|client| [&client.certificate, &client.key]);
        let paths = settings.ca.iter().chain(pair).map(|path| path.as_path());
        let live = Reloaded::load(paths, SystemTime::now(), || {
            let (authorities, identity) = read(settings)?;
            Live::new(authorities, identity, settings, http2)
        })?;
        Ok(Arc::new(Self { settings: settings.clone(), name, http2, live }))
    }

    /// What the next connection is opened with. Open ones keep theirs.
    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(self.live.get().config.clone())
    }

    /// The name to ask for and to verify at an endpoint with this host, a name or an address without brackets.
    ///
    /// # Errors
    /// When no certificate could be for that host and no name stands in for it.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        self.name.clone().map_or_else(|| parse_name(host), Ok)
    }

    /// Makes the handshake on a connection that has just been opened. Has no deadline of its own.
    ///
    /// # Errors
    /// When the server leaves, speaks something else, or its certificate is not for that name or not of a trusted authority.
    pub(crate) async fn connect(&self, name: ServerName<'static>, stream: TcpStream) -> io::Result<UpstreamStream> {
        let connecting = self.connector().connect(name, stream);
        Ok(MaybeTls::Tls(Box::new(connecting.await?)))
    }

    /// Reads files that have changed. Call it every second or so, where blocking is allowed.
    pub(crate) fn refresh(&self) -> Refreshed {
        self.refresh_at(SystemTime::now())
    }

    /// When the client certificate in use expires, if there is one.
    pub(crate) fn not_after(&self) -> Option<SystemTime> {
        self.live.get().identity.as_ref().map(|identity| identity.not_after)
    }

    pub(super) fn refresh_at(&self, now: SystemTime) -> Refreshed {
        self.live.refresh(now, |live| {
            let (authorities, identity) = read(&self.settings)?;
            let same_authorities = match (&authorities, &live.authorities) {
                (Some(new), Some(old)) => new.is_same(old),
                (new, old) => new.is_none() && old.is_none(),
            };
            let same_identity = match (&identity, &live.identity) {
                (Some(new), Some(old)) => new.is_same(old),
                (new, old) => new.is_none() && old.is_none(),
            };
            if same_authorities && same_identity {
                return Ok(None);
            }
            Live::new(authorities, identity, &self.settings, self.http2).map(Some)
        })
    }
}

impl Live {
    /// Sessions of the configuration before are not resumed: they were opened under another trust or another identity.
    fn new(authorities: Option<Authorities>, identity: Option<Identity>, settings: &UpstreamTls, http2: bool) -> Result<Self, TlsError> {
        let roots = authorities.as_ref().map_or_else(public_authorities, |authorities| authorities.store.clone());
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let mut config = match &identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key.clone()))),
        };
        config.alpn_protocols = alpn(http2);
        if let (Some(identity), Some(client)) = (&identity, &settings.client) {
            identity.warn_of_dates(&client.certificate);
        }
        Ok(Self { authorities, identity, config: Arc::new(config) })
    }
}

fn read(settings: &UpstreamTls) -> Result<(Option<Authorities>, Option<Identity>), TlsError> {
    let authorities = settings.ca.as_deref().map(Authorities::read).transpose()?;
    let identity = match &settings.client {
        Some(client) => Some(Identity::read(&client.certificate, &client.key, &provider())?),
        None => None,
    };
    Ok((authorities, identity))
}

fn parse_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host).map(|name| name.to_owned()).map_err(|_| TlsError::ServerName(host.to_owned()))
}
