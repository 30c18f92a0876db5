//! Notices that a client has left while nobody reads from its connection.
//!
//! hyper watches for the end of an HTTP/1.1 connection by reading. While an exchange goes on and the client has sent more than its request (the next one,
//! or a stray line break), hyper does not read, and would hear of a client that has left only when it writes. The kernel tells of the end past what is
//! unread, unless that is more than it takes in: then the end has not come here yet, and nobody can know of it.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How long nobody reads before the end is looked for in another way. A body that comes in many pieces is waited for in between, and costs no descriptor.
const PATIENCE: Duration = Duration::from_millis(10);

/// What goes on with the bytes of a connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Whether somebody waits for bytes, and so hears of the end.
    is_read: AtomicBool,
    /// Whether some were written since somebody last looked.
    is_written: AtomicBool,
}

/// The connection of a client, asked from outside of whoever reads it. It must not outlive the connection.
pub(crate) struct Departure {
    socket: RawFd,
    activity: Arc<Activity>,
    /// Runs since nobody reads, if `is_waited`.
    patience: Option<Pin<Box<Sleep>>>,
    is_waited: bool,
    end: End,
}

/// A second look at the connection, past what lies unread in it.
enum End {
    NotLookedFor,
    Awaited(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// There is no room for another descriptor: the client is seen to have left when something is written to it.
    Unseen,
}

/// A stream that says whether it is being read, some of whose first bytes may have been read already.
pub(crate) struct Watched<S> {
    /// Given again before what follows them.
    first: Bytes,
    stream: S,
    activity: Arc<Activity>,
}

impl Activity {
    /// Whether something was written since this was last called.
    pub(crate) fn take_written(&self) -> bool {
        self.is_written.swap(false, Ordering::Relaxed)
    }

    fn note_written(&self) {
        // Read first: most writes find it set, and nobody else writes to its cache line.
        if !self.is_written.load(Ordering::Relaxed) {
            self.is_written.store(true, Ordering::Relaxed);
        }
    }
}

impl Departure {
    /// Of a connection.
    pub(crate) fn of(stream: &TcpStream) -> Self {
        Self { socket: stream.as_raw_fd(), activity: Arc::default(), patience: None, is_waited: false, end: End::NotLookedFor }
    }

    /// What is to be read in place of the connection, or of what is spoken over it, from which `first` was read.
    pub(crate) fn watch<S>(&self, stream: S, first: &[u8]) -> Watched<S> {
        Watched { first: Bytes::copy_from_slice(first), stream, activity: self.activity.clone() }
    }

    /// What goes on with the bytes of the connection.
    pub(crate) fn activity(&self) -> Arc<Activity> {
        self.activity.clone()
    }

    /// Waits for whoever reads the connection to be done with it; `None` when the client has left and they would not notice.
    ///
    /// To one that reads it adds the load of a flag. Only where nobody reads is the connection asked a second time for its end.
    pub(crate) async fn unless_left<F: Future>(&mut self, mut reader: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|context| {
            if let Poll::Ready(output) = reader.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            // It had its chance to read a moment ago, in this very task.
            if self.activity.is_read.load(Ordering::Relaxed) {
                self.is_waited = false;
                return Poll::Pending;
            }
            self.poll_end(context).map(|()| None)
        })
        .await
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if matches!(self.end, End::NotLookedFor) {
            ready!(self.poll_patience(context));
            self.end = end_of(self.socket).map_or(End::Unseen, End::Awaited);
        }
        match &mut self.end {
            End::Awaited(end) => end.as_mut().poll(context),
            End::NotLookedFor | End::Unseen => Poll::Pending,
        }
    }

    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if !self.is_waited {
            self.is_waited = true;
            patience.as_mut().reset(Instant::now() + PATIENCE);
        }
        patience.as_mut().poll(context)
    }
}

/// Waits until the other side has said that nothing more comes, or is gone.
fn end_of(socket: RawFd) -> io::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    // SAFETY: the descriptor is open as long as the connection, which its `Departure` must not outlive.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) }.try_clone_to_owned()?;
    let socket = TcpStream::from_std(socket.into())?;
    // Readiness for priority data, which is not asked for, stands for the end of reading as well. Readiness to read would hold at once.
    Ok(Box::pin(async move { drop(socket.ready(Interest::PRIORITY).await) }))
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
        self.activity.is_read.store(read.is_pending(), Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.activity.note_written();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.activity.note_written();
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
