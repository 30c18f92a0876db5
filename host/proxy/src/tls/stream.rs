//! A connection, with TLS or without.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{client, server};

pub(super) const ALPN_HTTP2: &[u8] = b"h2";

/// A connection that a client opened.
pub(crate) type ClientStream = MaybeTls<server::TlsStream<TcpStream>>;
/// A connection that was opened to a server.
pub(crate) type UpstreamStream = MaybeTls<client::TlsStream<TcpStream>>;

/// TCP alone, or TLS on it. The session of TLS, a kilobyte with its buffers apart, is boxed so that a cleartext connection is hardly larger
/// than its socket; what it pays is one branch a call.
#[derive(Debug)]
pub(crate) enum MaybeTls<T> {
    /// Cleartext.
    Tcp(TcpStream),
    /// After the handshake.
    Tls(Box<T>),
}

/// What both sides of TLS have.
pub(crate) trait TlsSession: AsyncRead + AsyncWrite + Unpin {
    /// What was agreed on by ALPN.
    fn protocol(&self) -> Option<&[u8]>;
}

impl TlsSession for server::TlsStream<TcpStream> {
    fn protocol(&self) -> Option<&[u8]> {
        self.get_ref().1.alpn_protocol()
    }
}

impl TlsSession for client::TlsStream<TcpStream> {
    fn protocol(&self) -> Option<&[u8]> {
        self.get_ref().1.alpn_protocol()
    }
}

impl<T: TlsSession> MaybeTls<T> {
    /// Whether it is TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether the peers agreed on HTTP/2. Without TLS nothing is agreed on, and this says nothing about what will be spoken.
    pub(crate) fn is_http2(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(session) => session.protocol() == Some(ALPN_HTTP2),
        }
    }
}

impl<T: TlsSession> AsyncRead for MaybeTls<T> {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(session) => Pin::new(session).poll_read(context, buffer),
        }
    }
}

impl<T: TlsSession> AsyncWrite for MaybeTls<T> {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(session) => Pin::new(session).poll_write(context, bytes),
        }
    }

    #[inline]
    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(session) => Pin::new(session).poll_write_vectored(context, slices),
        }
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(session) => session.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(session) => Pin::new(session).poll_flush(context),
        }
    }

    #[inline]
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(session) => Pin::new(session).poll_shutdown(context),
        }
    }
}
