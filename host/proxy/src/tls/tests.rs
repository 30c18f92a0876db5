//! Real handshakes over loopback, with certificates issued for the occasion.

mod handshakes;
mod refusals;
mod renewal;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::HandshakeKind;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::UpstreamTlsState;
use super::server::ServerTlsState;
use super::stream::{ClientStream, MaybeTls, UpstreamStream};
use crate::config::ServerTls;
use crate::server_config::{ClientIdentity, UpstreamTls};

/// Issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, names: &[&str]) -> Pair {
        self.issue_until(names, 2040)
    }

    fn issue_until(&self, names: &[&str], year: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A folder with certificates.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// As `NAME.pem` and `NAME.key`.
    fn write_pair(&self, name: &str, pair: &Pair) -> (PathBuf, PathBuf) {
        (self.write(&format!("{name}.pem"), &pair.certificate), self.write(&format!("{name}.key"), &pair.key))
    }

    fn server(&self, pair: &Pair) -> ServerTls {
        let (certificate, key) = self.write_pair("server", pair);
        ServerTls { certificate, key, client_ca: None }
    }

    fn trusting(&self, authority: &Authority) -> UpstreamTls {
        UpstreamTls { ca: Some(self.write("roots.pem", authority.pem())), ..UpstreamTls::default() }
    }

    fn client(&self, pair: &Pair) -> ClientIdentity {
        let (certificate, key) = self.write_pair("client", pair);
        ClientIdentity { certificate, key }
    }
}

/// Both ends of a connection on which bytes have come through.
#[derive(Debug)]
struct Open {
    server: ClientStream,
    client: UpstreamStream,
}

impl Open {
    /// The certificate that the server showed, or had shown when the session that is resumed began.
    fn shown(&self) -> Vec<u8> {
        let MaybeTls::Tls(client) = &self.client else { panic!("cleartext") };
        client.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// The certificate of the client, as the server knows it.
    fn shown_by_client(&self) -> Option<Vec<u8>> {
        let MaybeTls::Tls(server) = &self.server else { panic!("cleartext") };
        server.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec())
    }

    fn is_resumed(&self) -> bool {
        let MaybeTls::Tls(client) = &self.client else { panic!("cleartext") };
        client.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Says something in both directions.
    async fn talk(&mut self) -> io::Result<()> {
        talk(&mut self.server, &mut self.client).await
    }
}

async fn talk(server: &mut ClientStream, client: &mut UpstreamStream) -> io::Result<()> {
    let mut heard = [0; 4];
    client.write_all(b"ping").await?;
    client.flush().await?;
    server.read_exact(&mut heard).await?;
    assert_eq!(&heard, b"ping");
    server.write_all(b"pong").await?;
    server.flush().await?;
    client.read_exact(&mut heard).await?;
    assert_eq!(&heard, b"pong");
    Ok(())
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (accepted, opened) = tokio::join!(listener.accept(), TcpStream::connect(listener.local_addr().unwrap()));
    (accepted.unwrap().0, opened.unwrap())
}

/// Opens a connection and talks on it; else what the server's and the client's end said of the handshake, or of the first bytes: with
/// TLS 1.3 a client only then hears that it is refused.
async fn open(server: &ServerTlsState, client: &UpstreamTlsState, host: &str) -> Result<Open, String> {
    let (accepted, opened) = tcp_pair().await;
    let name = client.server_name(host).map_err(|error| error.to_string())?;
    let (served, asked) = tokio::join!(server.accept(accepted), client.connect(name, opened));
    match (served, asked) {
        (Ok(server), Ok(client)) => {
            let mut open = Open { server, client };
            open.talk().await.map_err(|error| error.to_string())?;
            Ok(open)
        }
        (served, asked) => {
            let said = |end: &str, result: Option<io::Error>| result.map(|error| format!("{end}: {error}; ")).unwrap_or_default();
            Err(said("server", served.err()) + &said("client", asked.err()))
        }
    }
}

fn load(settings: &ServerTls) -> Arc<ServerTlsState> {
    ServerTlsState::load(settings, true).unwrap()
}

fn load_client(settings: &UpstreamTls) -> Arc<UpstreamTlsState> {
    UpstreamTlsState::load(settings, true).unwrap()
}

fn der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

/// The first of January, 00:00 UTC.
fn year(year: i32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(rcgen::date_time_ymd(year, 1, 1).unix_timestamp().unsigned_abs())
}

/// Puts a link in the place of another in one step, as the kubelet does.
fn relink(target: &Path, link: &Path) {
    let fresh = link.with_file_name("fresh");
    std::os::unix::fs::symlink(target, &fresh).unwrap();
    fs::rename(&fresh, link).unwrap();
}
