//! Where an issuer's JWKS comes from: one GET over HTTP.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::AuthError;
use crate::server_config::UpstreamTls;
use crate::tls::client::UpstreamTlsState;
use crate::tls::error::TlsError;

/// Bytes of a set. Those of large issuers have some 10 KiB.
const MAX_CONTENT: usize = 1 << 20;

/// Something to GET.
pub(super) struct Resource {
    host: String,
    port: u16,
    authority: HeaderValue,
    path: Uri,
    tls: Option<(Arc<UpstreamTlsState>, ServerName<'static>)>,
    /// Without query, which may hold a secret.
    shown: String,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The connection.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Over the cap.
    #[error("it is larger than {MAX_CONTENT} bytes")]
    TooLarge,
    /// HTTP was broken.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// A redirect, which is not followed: whoever answers under that address must be configured.
    #[error("the server answered {0}: give the address that it redirects to")]
    Redirect(StatusCode),
    /// Another status.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The body broke off.
    #[error("the answer broke off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The deadline.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl Resource {
    /// Checks the address; opens nothing.
    pub(super) fn new(url: &str) -> Result<Self, AuthError> {
        let wrong = || AuthError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let host = authority.host();
        // `http` has no port where there is none that it understands.
        if authority.as_str().len() > host.len() && authority.port_u16().is_none() {
            return Err(wrong());
        }
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong());
        }
        let tls = if is_tls { Some(tls(host).map_err(|reason| AuthError::Tls { url: url.to_owned(), reason })?) } else { None };
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            path: uri.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| wrong())?,
            tls,
            shown: format!("{}://{authority}{}", if is_tls { "https" } else { "http" }, uri.path()),
        })
    }

    /// For logs.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// What is there now.
    pub(super) async fn load(&self, deadline: Duration) -> Result<Bytes, LoadError> {
        tokio::time::timeout(deadline, self.get()).await.unwrap_or(Err(LoadError::Timeout(deadline)))
    }

    async fn get(&self) -> Result<Bytes, LoadError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        match &self.tls {
            None => self.get_over(stream).await,
            Some((tls, name)) => self.get_over(tls.connect(name.clone(), stream).await?).await,
        }
    }

    /// A connection for one request. Dropped when this is.
    async fn get_over(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Bytes, LoadError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.path.clone();
        request.headers_mut().insert(header::HOST, self.authority.clone());
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("watchgate"));
        let exchange = async {
            let response = sender.send_request(request).await?;
            match response.status() {
                StatusCode::OK => {}
                status if status.is_redirection() => return Err(LoadError::Redirect(status)),
                status => return Err(LoadError::Status(status)),
            }
            let body = Limited::new(response.into_body(), MAX_CONTENT).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() { LoadError::TooLarge } else { LoadError::Body(error) }
            })?;
            Ok(body.to_bytes())
        };
        // The connection may be over before its last bytes are read here.
        let driver = async {
            let _ = connection.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            result = exchange => result,
            never = driver => match never {},
        }
    }
}

fn tls(host: &str) -> Result<(Arc<UpstreamTlsState>, ServerName<'static>), TlsError> {
    let state = UpstreamTlsState::load(&UpstreamTls::default(), false)?;
    let name = state.server_name(host)?;
    Ok((state, name))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn addresses_are_checked() {
        let check = |url: &str, expected: Option<(&str, u16, &str, &str)>| {
            let found = Resource::new(url).ok();
            let found = found.as_ref().map(|resource| {
                assert_eq!(resource.tls.is_some(), url.starts_with("https"));
                (resource.host.as_str(), resource.port, resource.path.path_and_query().unwrap().as_str(), resource.shown.as_str())
            });
            assert_eq!(found, expected, "{url}");
        };
        check("http://a.test/keys", Some(("a.test", 80, "/keys", "http://a.test/keys")));
        check("https://a.test/keys?k=secret", Some(("a.test", 443, "/keys?k=secret", "https://a.test/keys")));
        check("https://a.test", Some(("a.test", 443, "/", "https://a.test/")));
        check("http://[::1]:8080/k", Some(("::1", 8080, "/k", "http://[::1]:8080/k")));
        for wrong in [
            "",
            "a.test/keys",
            "/keys",
            "ftp://a.test/",
            "http://user:pw@a.test/",
            "http://",
            "http://:80/",
            "http://a.test:99999/",
            "file:///k",
            "http://a b/",
        ] {
            check(wrong, None);
        }
    }

    /// A certificate of the public authorities is wanted, unless the test adds its own.
    #[tokio::test]
    async fn https_is_verified() {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // The first client turns away at the certificate.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or(0) > 0 {}
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
                let _ = stream.shutdown().await;
            }
        };
        let fetching = async {
            let mut resource = Resource::new(&format!("https://localhost:{port}/keys")).unwrap();
            let error = resource.get().await.unwrap_err();
            assert!(matches!(error, LoadError::Io(_)), "{error}");

            let folder = tempfile::tempdir().unwrap();
            let ca = folder.path().join("ca.pem");
            std::fs::write(&ca, issued.cert.pem()).unwrap();
            let state = UpstreamTlsState::load(&UpstreamTls { ca: Some(ca), ..UpstreamTls::default() }, false).unwrap();
            resource.tls.as_mut().unwrap().0 = state;
            assert_eq!(resource.get().await.unwrap(), "{}");
        };
        tokio::select! {
            () = fetching => {}
            () = serving => {}
        }
    }
}
