//! HTTP/2 connections to one endpoint, each shared by as many exchanges as the server lets it carry.
//!
//! An event stream occupies one exchange of a connection for hours. When a connection is full, the next exchange opens another one
//! instead of waiting for it.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;

use crate::tls::stream::UpstreamStream;
use crate::upstream_connection::SendFailure;
use crate::whole_body::WholeBody;

/// Exchanges on one connection, whatever the server allows: flow control is for the whole connection, too.
const MAX_SHARED: usize = 100;
/// A connection that says nothing is asked after this long, and given up when no answer comes.
const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What an exchange whose client does not read can hold back.
const STREAM_WINDOW: u32 = 256 << 10;
/// For the whole connection: if all but one are held back, there is room for that one.
const CONNECTION_WINDOW: u32 = MAX_SHARED as u32 * STREAM_WINDOW;

/// Bytes that the fields of an answer's head may have.
const MAX_HEADER_LIST: u32 = 256 << 10;

/// The open connections of one endpoint.
#[derive(Default)]
pub(crate) struct Http2Connections {
    open: Mutex<Vec<Shared>>,
}

struct Shared {
    sender: http2::SendRequest<WholeBody>,
    active: Arc<AtomicUsize>,
    /// Exchanges that the server allows at once.
    room: Arc<AtomicUsize>,
    last_used: Instant,
}

/// One exchange on a shared connection. Dropping it makes room for another.
pub(crate) struct Http2Stream {
    sender: http2::SendRequest<WholeBody>,
    active: Arc<AtomicUsize>,
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http2Connections {
    /// Room on an open connection, if there is some.
    pub(crate) fn take(&self) -> Option<Http2Stream> {
        let mut open = self.open.lock();
        open.retain(|shared| !shared.sender.is_closed());
        let free =
            open.iter_mut().find(|shared| shared.active.load(Ordering::Relaxed) < shared.room.load(Ordering::Relaxed).min(MAX_SHARED))?;
        free.last_used = Instant::now();
        Some(free.stream())
    }

    /// Begins HTTP/2 on a fresh connection and shares it from now on.
    pub(crate) async fn open(&self, stream: UpstreamStream) -> hyper::Result<Http2Stream> {
        let (mut sender, mut driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // hyper takes 16 KiB by itself, far less than over HTTP/1.1.
            .max_header_list_size(MAX_HEADER_LIST)
            // Until the server has said how many it lets in, the connection is for the one that opened it: a second could have to wait for the first.
            .initial_max_send_streams(1)
            .handshake(TokioIo::new(stream))
            .await?;
        // It ends with the last handle, or with the connection; what is lost with it is seen by the exchanges on it.
        let room = Arc::new(AtomicUsize::new(driver.current_max_send_streams()));
        let told = room.clone();
        tokio::spawn(async move {
            let ended = poll_fn(|context| {
                let ended = Pin::new(&mut driver).poll(context);
                told.store(driver.current_max_send_streams(), Ordering::Relaxed);
                ended
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "an HTTP/2 connection to a server ended");
            }
        });
        sender.ready().await?;
        let shared = Shared { sender, active: Arc::default(), room, last_used: Instant::now() };
        let stream = shared.stream();
        self.open.lock().push(shared);
        Ok(stream)
    }

    /// Offers none of the open connections any more; exchanges on them go on.
    pub(crate) fn close(&self) {
        self.open.lock().clear();
    }

    /// Drops connections that nobody has used for `idle`.
    pub(crate) fn sweep(&self, idle: Duration) {
        self.open.lock().retain(|shared| {
            let is_used = shared.active.load(Ordering::Relaxed) > 0 || shared.last_used.elapsed() < idle;
            is_used && !shared.sender.is_closed()
        });
    }
}

impl Shared {
    fn stream(&self) -> Http2Stream {
        self.active.fetch_add(1, Ordering::Relaxed);
        Http2Stream { sender: self.sender.clone(), active: self.active.clone() }
    }
}

impl Http2Stream {
    /// Sends a request and waits for the head of its response.
    pub(crate) async fn send(&mut self, request: Request<WholeBody>) -> Result<Response<Incoming>, SendFailure> {
        // hyper gives back what it could not begin to send, but not what the server turned away.
        let kept = request.clone();
        self.sender.try_send_request(request).await.map_err(|mut failure| match failure.take_message() {
            Some(request) => SendFailure::Unsent(Box::new(request)),
            None => match unprocessed(failure.error()) {
                Some(h2::Reason::REFUSED_STREAM) => SendFailure::TurnedAway(Box::new(kept)),
                Some(_) => SendFailure::Unsent(Box::new(kept)),
                None => SendFailure::Sent(failure.into_error()),
            },
        })
    }
}

/// How the server has said that it did nothing with the request (RFC 9113, 8.7), if it did: it had refused the stream, or said goodbye before it saw
/// it. Of a goodbye for an error the library does not tell which requests were seen.
fn unprocessed(error: &hyper::Error) -> Option<h2::Reason> {
    let error = error.source()?.downcast_ref::<h2::Error>().filter(|error| error.is_remote())?;
    error.reason().filter(|reason| match *reason {
        h2::Reason::REFUSED_STREAM => error.is_reset(),
        h2::Reason::NO_ERROR => error.is_go_away(),
        _ => false,
    })
}
