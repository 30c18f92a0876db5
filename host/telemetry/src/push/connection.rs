//! One connection to a collector, and one request at a time on it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::DeliveryError;
use super::target::Target;
use super::tls;
use crate::push::PushTls;

/// Answers are read so far, bytes: those of collectors are small, and a page is known by its beginning.
const LONGEST_ANSWER: usize = 64 * 1024;

/// An answer, read to its end.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Empty where it was longer than this reads.
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// An open connection. Dropping it closes it.
pub(super) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why a request got no answer.
pub(super) enum SendError {
    /// The connection had been closed before the request came to it, or in its course: another may do.
    Stale(hyper::Error),
    Failed(hyper::Error),
}

impl Connection {
    /// Opens a connection; must run on the runtime that will drive it.
    pub async fn open(target: &Target, tls: &PushTls, version: Version) -> Result<Self, DeliveryError> {
        let stream = connect(target).await?;
        if !target.https {
            return handshake(stream, version).await;
        }
        let unreachable = |reason: String| DeliveryError::Unreachable(reason);
        let config = tls::client_config(tls, version == Version::HTTP_2).map_err(|error| unreachable(error.to_string()))?;
        let name = tls::server_name(&target.host).ok_or_else(|| unreachable("no certificate can be for this host".to_owned()))?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| unreachable(format!("TLS: {error}")))?;
        handshake(stream, version).await
    }

    /// Whether the other side has closed it.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// Sends a request and reads the answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        let sent = match self {
            Self::Http1(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
            Self::Http2(sender) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(error) => Err(error),
            },
        };
        match sent {
            Ok(response) => read(response).await.map_err(SendError::Failed),
            Err(error) if error.is_canceled() || error.is_closed() || error.is_incomplete_message() => Err(SendError::Stale(error)),
            Err(error) => Err(SendError::Failed(error)),
        }
    }
}

/// Tries the host's addresses in turn; each gets its part of the time, so that one that swallows packets does not hide the others.
async fn connect(target: &Target) -> Result<TcpStream, DeliveryError> {
    let unreachable = |error: io::Error| DeliveryError::Unreachable(error.to_string());
    let addresses: Vec<SocketAddr> = lookup_host((target.host.as_str(), target.port)).await.map_err(unreachable)?.collect();
    let each = target.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = DeliveryError::Unreachable("the host has no address".to_owned());
    for address in addresses {
        match timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it the last small piece of a request would wait for an acknowledgement. Refused only by a dead socket.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = unreachable(error),
            Err(_) => last = DeliveryError::TimedOut,
        }
    }
    Err(last)
}

async fn handshake<S>(stream: S, version: Version) -> Result<Connection, DeliveryError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let unreachable = |error: hyper::Error| DeliveryError::Unreachable(described(&error));
    let io = TokioIo::new(stream);
    // What ends a connection is seen by the request on it.
    if version == Version::HTTP_2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new()).handshake(io).await.map_err(unreachable)?;
        tokio::spawn(async { drop(connection.await) });
        Ok(Connection::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(io).await.map_err(unreachable)?;
        tokio::spawn(async { drop(connection.await) });
        Ok(Connection::Http1(sender))
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (head, body) = response.into_parts();
    let (body, trailers) = match Limited::new(body, LONGEST_ANSWER).collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned();
            (collected.to_bytes(), trailers)
        }
        Err(error) => match error.downcast::<hyper::Error>() {
            Ok(error) => return Err(*error),
            // Too long.
            Err(_) => (Bytes::new(), None),
        },
    };
    Ok(Answer { status: head.status, headers: head.headers, body, trailers })
}

/// An error with what caused it: hyper's own words alone do not say much.
pub(super) fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Bounds a wait.
pub(super) async fn within<T>(most: Duration, work: impl Future<Output = Result<T, DeliveryError>>) -> Result<T, DeliveryError> {
    timeout(most, work).await.unwrap_or(Err(DeliveryError::TimedOut))
}
