//! TLS to collectors: whom the exporter trusts, and what it shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use watchgate_telemetry::{Exporter, PushTls, Telemetry, TelemetryConfig, TelemetryError, TracesConfig};

use crate::collector::Collector;
use crate::grpc_collector::GrpcCollector;
use crate::logged::{lines, remember};
use crate::scene::{config, emit, exported, ping, telemetry, wait_until};

/// An authority, and files with certificates of its making.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn ca(&self) -> PathBuf {
        self.file("ca.pem", &self.issuer.pem())
    }

    /// A certificate for localhost and its key.
    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (self.file(&format!("{name}.pem"), &certificate.pem()), self.file(&format!("{name}.key"), &key.serialize_pem()))
    }

    /// Takes connections only from clients of this authority.
    fn acceptor(&self, protocol: &[u8]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let (certificate, key) = self.pair("server");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![CertificateDer::from_pem_file(certificate).unwrap()], PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

fn secure(exporter: Exporter, port: u16, tls: PushTls) -> TracesConfig {
    let mut config = config(exporter, &format!("https://localhost:{port}"));
    config.push.tls = tls;
    config
}

#[test]
fn certificates_are_shown_and_verified() {
    let authority = Authority::new();
    let tls = PushTls { ca: Some(authority.ca()), client: Some(authority.pair("client")) };
    let http = Collector::start_at("127.0.0.1:0", [], Some(authority.acceptor(b"http/1.1")));
    let grpc = GrpcCollector::start([], Some(authority.acceptor(b"h2")));
    for (exporter, port) in [(Exporter::OtlpHttp, http.address.port()), (Exporter::OtlpGrpc, grpc.address.port())] {
        let telemetry = telemetry(secure(exporter, port, tls.clone()));
        emit(&telemetry, ping(0));
        wait_until("the trace arrives", || exported(&telemetry) == 1);
    }
}

#[test]
fn a_collector_of_another_authority_gets_nothing() {
    remember();
    let (authority, another) = (Authority::new(), Authority::new());
    for tls in [
        PushTls { ca: Some(another.ca()), client: Some(authority.pair("client")) },
        PushTls { ca: None, client: Some(authority.pair("client")) },
        PushTls { ca: Some(authority.ca()), client: Some(another.pair("client")) },
        PushTls { ca: Some(authority.ca()), client: None },
    ] {
        let collector = Collector::start_at("127.0.0.1:0", [], Some(authority.acceptor(b"http/1.1")));
        let telemetry = telemetry(secure(Exporter::OtlpHttp, collector.address.port(), tls));
        emit(&telemetry, ping(0));
        let endpoint = format!("localhost:{}", collector.address.port());
        wait_until("it is said", || !lines(&endpoint).is_empty());
        assert!(!telemetry.flush_traces(crate::scene::LONG));
        assert!(collector.is_idle() && exported(&telemetry) == 0);
    }
}

#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let authority = Authority::new();
    let (certificate, key) = authority.pair("client");
    let garbage = authority.file("garbage.pem", "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n");
    let missing = Path::new("/nonexistent/ca.pem").to_owned();
    for (tls, named) in [
        (PushTls { ca: Some(missing.clone()), client: None }, &missing),
        (PushTls { ca: Some(garbage.clone()), client: None }, &garbage),
        (PushTls { ca: Some(key.clone()), client: None }, &key),
        (PushTls { ca: None, client: Some((certificate.clone(), garbage.clone())) }, &garbage),
        (PushTls { ca: None, client: Some((certificate.clone(), authority.pair("other").1)) }, &certificate),
    ] {
        let config = TelemetryConfig { traces: secure(Exporter::OtlpGrpc, 1, tls), ..TelemetryConfig::default() };
        let Err(error @ TelemetryError::Traces(_)) = Telemetry::new(config) else { panic!("{} is of no use", named.display()) };
        assert!(error.to_string().contains(&named.display().to_string()), "{error}");
    }
}
