//! Certificates issued for the occasion, and both ends of TLS around peers that know nothing of it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use watchgate_proxy::ServerTls;

/// Issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// For these host names and addresses, until the first day of a year.
    pub fn issue(&self, names: &[&str], until: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        Pair { certificate: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.pem())).unwrap();
        Arc::new(roots)
    }
}

/// When a certificate ends that was issued until a year, in seconds since the Unix epoch.
pub fn end_of(year: i32) -> f64 {
    rcgen::date_time_ymd(year, 1, 1).unix_timestamp() as f64
}

/// What is in a PEM file.
pub fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn private_key(pair: &Pair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap()
}

/// A folder with certificates.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Puts a file in the place of another in one step, as it is done to files that are read meanwhile.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        let fresh = self.0.path().join(format!("{name}.fresh"));
        fs::write(&fresh, content).unwrap();
        fs::rename(&fresh, &path).unwrap();
        path
    }

    /// As `NAME.pem` and `NAME.key`.
    pub fn write_pair(&self, name: &str, pair: &Pair) -> (PathBuf, PathBuf) {
        (self.write(&format!("{name}.pem"), &pair.certificate), self.write(&format!("{name}.key"), &pair.key))
    }

    /// Settings of a listener with this certificate.
    pub fn listener(&self, pair: &Pair, client_ca: Option<&Path>) -> ServerTls {
        let (certificate, key) = self.write_pair("listener", pair);
        ServerTls { certificate, key, client_ca: client_ca.map(Path::to_owned) }
    }
}

fn versions(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client that trusts `authority`, shows `identity`, and speaks these versions of HTTP.
pub fn trusting(authority: &Authority, identity: Option<&Pair>, alpn: &[&str]) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(authority.roots());
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_auth_cert(vec![certificate(&pair.certificate)], private_key(pair)).unwrap(),
    };
    config.alpn_protocols = versions(alpn);
    // Each connection shows what it is offered, and not what an earlier one was.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// A connection to `localhost` at this address.
pub async fn connect(config: Arc<ClientConfig>, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// The certificate that the other end has shown.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// Takes cleartext at an address of its own and passes it on in TLS, so that any client can speak to a listener with TLS.
pub fn tunnel(runtime: &Runtime, config: Arc<ClientConfig>, to: SocketAddr) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((mut clear, _)) = listener.accept().await {
            let config = config.clone();
            tokio::spawn(async move {
                // A connection that is refused ends, which is what the client sees.
                if let Ok(mut secured) = connect(config, to).await {
                    let _ = copy_bidirectional(&mut clear, &mut secured).await;
                }
            });
        }
    });
    address
}

/// What a server has seen of one connection.
#[derive(Clone, Debug)]
pub struct Seen {
    pub version: Option<String>,
    pub name: Option<String>,
    pub client: Option<CertificateDer<'static>>,
}

/// TLS in front of a server of cleartext.
pub struct Front {
    pub address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
}

impl Front {
    /// With this certificate; wants certificates of `clients`, if there are some.
    pub fn start(to: SocketAddr, pair: &Pair, clients: Option<&Authority>, alpn: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(Mutex::new(server_config(pair, clients, alpn)));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (used, noted) = (config.clone(), seen.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, noted) = (used.lock().unwrap().clone(), noted.clone());
                tokio::spawn(async move {
                    let Ok(mut secured) = TlsAcceptor::from(config).accept(stream).await else { return };
                    let session = secured.get_ref().1;
                    noted.lock().unwrap().push(Seen {
                        version: session.alpn_protocol().map(|version| String::from_utf8_lossy(version).into_owned()),
                        name: session.server_name().map(str::to_owned),
                        client: session.peer_certificates().map(|chain| chain[0].clone().into_owned()),
                    });
                    let Ok(mut clear) = TcpStream::connect(to).await else { return };
                    let _ = copy_bidirectional(&mut secured, &mut clear).await;
                });
            }
        });
        Self { address, config, seen, _runtime: runtime }
    }

    /// Shows another certificate to connections from now on.
    pub fn show(&self, pair: &Pair) {
        *self.config.lock().unwrap() = server_config(pair, None, &[]);
    }

    /// What was seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn server_config(pair: &Pair, clients: Option<&Authority>, alpn: &[&str]) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(authority.roots(), provider()).build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(vec![certificate(&pair.certificate)], private_key(pair)).unwrap();
    config.alpn_protocols = versions(alpn);
    Arc::new(config)
}
