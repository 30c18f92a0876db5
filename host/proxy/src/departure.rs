//! Notices that a client has left while nobody reads from its connection.
//!
//! hyper watches for the end of an HTTP/1.1 connection by reading. While an exchange goes on and the client has sent more than its request (the next one,
//! or a stray line break), hyper does not read, and would hear of a client that has left only when it writes.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::interval;

/// How long a client may be gone before it is noticed, where reading would not tell.
const LOOK: Duration = Duration::from_secs(1);

/// The connection of a client, asked from outside of whoever reads it. It must not outlive the connection.
pub(crate) struct Departure {
    socket: RawFd,
    /// Whether somebody waits for bytes, and so hears of the end.
    is_read: Arc<AtomicBool>,
}

/// A stream that says whether it is being read, some of whose first bytes may have been read already.
pub(crate) struct Watched<S> {
    /// Given again before what follows them.
    first: Bytes,
    stream: S,
    is_read: Arc<AtomicBool>,
}

impl Departure {
    /// Of a connection.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        Self { socket: stream.as_raw_fd(), is_read: Arc::default() }
    }

    /// What is to be read in place of the connection, or of what is spoken over it, from which `first` was read.
    pub(crate) fn watch<S>(&self, stream: S, first: &[u8]) -> Watched<S> {
        Watched { first: Bytes::copy_from_slice(first), stream, is_read: self.is_read.clone() }
    }

    /// Resolves when the client has left and nobody else will notice.
    pub(crate) async fn unseen(&self) {
        let mut looks = interval(LOOK);
        let mut before = false;
        loop {
            looks.tick().await;
            let is_gone = !self.is_read.load(Ordering::Relaxed) && self.has_ended();
            // Twice, since whoever reads may just have been about to.
            if is_gone && before {
                return;
            }
            before = is_gone;
        }
    }

    fn has_ended(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.socket, events: libc::POLLRDHUP, revents: 0 };
        // SAFETY: `poll` points to one valid entry, and a time limit of 0 does not block. The descriptor is open as long as the connection, which this
        // must not outlive.
        let found = unsafe { libc::poll(&raw mut poll, 1, 0) };
        found > 0 && poll.revents & (libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR) != 0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first[..length]);
            self.first.advance(length);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.is_read.store(read.is_pending(), Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
