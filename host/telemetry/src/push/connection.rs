//! One connection to a collector, kept between requests and opened anew when it is gone.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
use super::error::Failure;

/// Of an answer so much is read; collectors say nothing that is longer.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    /// gRPC needs it; in cleartext by prior knowledge.
    Http2,
}

impl Version {
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

/// The way to one collector. Works on the runtime that polls it.
pub(super) struct Connection {
    endpoint: Endpoint,
    version: Version,
    tls: Option<Arc<rustls::ClientConfig>>,
    open: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    pub fn new(endpoint: Endpoint, version: Version, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        Self { endpoint, version, tls, open: None }
    }

    /// Sends a request and reads all of the answer. One that a kept connection would not take is sent on a new one.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        if let Some(kept) = self.open.take().filter(|kept| !kept.is_closed()) {
            if let Ok(answer) = self.send_on(kept, request.clone()).await {
                return Ok(answer);
            }
        }
        let fresh = self.connect().await.map_err(|error| Failure::passing(format_args!("cannot connect: {error}")))?;
        self.send_on(fresh, request).await
    }

    async fn send_on(&mut self, mut sender: Sender, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let (head, body) = sender.send(request).await.map_err(Failure::passing)?.into_parts();
        let collected = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::last("the answer has no end; is there something else at this address?")
            } else {
                Failure::passing(error)
            }
        })?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        self.open = Some(sender);
        Ok(Answer { status: head.status, headers: head.headers, body: collected.to_bytes(), trailers })
    }

    async fn connect(&self) -> io::Result<Sender> {
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.handshake(stream).await,
            Some(config) => {
                let name = ServerName::try_from(self.endpoint.host.clone()).map_err(io::Error::other)?;
                let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
                self.handshake(stream).await
            }
        }
    }

    async fn handshake(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Sender> {
        let stream = TokioIo::new(stream);
        // The tasks end with the connection, and that with its sender.
        match self.version {
            Version::Http1 => {
                let (sender, driver) = http1::handshake(stream).await.map_err(io::Error::other)?;
                tokio::spawn(driver);
                Ok(Sender::Http1(sender))
            }
            Version::Http2 => {
                let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
                tokio::spawn(driver);
                Ok(Sender::Http2(sender))
            }
        }
    }
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}
