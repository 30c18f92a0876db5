//! One connection to a server, driven by whoever uses it.
//!
//! hyper splits an HTTP/1.1 client connection into a handle and a driver that is usually spawned as a task of its own. Here the
//! exchange that holds the connection polls the driver itself: no second task, no wake-up across threads for each
//! message. An unused connection is driven by nobody; the pool looks at it before use and now and then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::http2::Http2Stream;
use crate::tls::stream::UpstreamStream;
use crate::whole_body::WholeBody;

type Driver = http1::Connection<TokioIo<UpstreamStream>, WholeBody>;

/// What carries one exchange with a server.
pub(crate) enum Carrier {
    /// A connection of its own.
    Http1(UpstreamConnection),
    /// Room on a shared one.
    Http2(Http2Stream),
}

/// One open HTTP/1.1 connection.
pub(crate) struct UpstreamConnection {
    sender: http1::SendRequest<WholeBody>,
    driver: Pin<Box<Driver>>,
    /// How long the server keeps it when it is not used, as far as it said so.
    pub(crate) idle_limit: Duration,
    /// When it was last put into the pool.
    pub(crate) idle_since: Instant,
}

/// Why a request got no response head.
pub(crate) enum SendFailure {
    /// Not one byte was written: the request can go out on another connection.
    Unsent(Box<Request<WholeBody>>),
    /// The server may have seen it.
    Sent(hyper::Error),
}

impl Carrier {
    /// Sends a request and waits for the head of its response.
    pub(crate) async fn send(&mut self, request: Request<WholeBody>) -> Result<Response<Incoming>, SendFailure> {
        match self {
            Self::Http1(connection) => connection.send(request).await,
            Self::Http2(stream) => stream.send(request).await,
        }
    }

    /// Moves bytes in both directions as far as that goes without waiting. `Ready` when the connection is over.
    pub(crate) fn poll_drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(connection) => connection.poll_drive(context),
            // It has a task of its own.
            Self::Http2(_) => Poll::Pending,
        }
    }
}

impl UpstreamConnection {
    /// Begins HTTP on a fresh connection.
    pub(crate) async fn open(stream: UpstreamStream) -> hyper::Result<Self> {
        let (sender, driver) = http1::Builder::new().max_headers(256).handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: Box::pin(driver), idle_limit: Duration::MAX, idle_since: Instant::now() })
    }

    async fn send(&mut self, request: Request<WholeBody>) -> Result<Response<Incoming>, SendFailure> {
        let Self { sender, driver, .. } = self;
        let mut response = std::pin::pin!(sender.try_send_request(request));
        let mut driver_done = false;
        std::future::poll_fn(|context| {
            // The driver goes first: it writes what was just queued and reads what has come.
            if !driver_done {
                driver_done = driver.as_mut().poll(context).is_ready();
            }
            response.as_mut().poll(context)
        })
        .await
        .map_err(|mut failure| match failure.take_message() {
            Some(request) => SendFailure::Unsent(Box::new(request)),
            None => SendFailure::Sent(failure.into_error()),
        })
    }

    fn poll_drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.driver.as_mut().poll(context).map(|_| ())
    }

    /// Whether another request can be sent now. Looks at the socket, so a connection that the server has closed is
    /// found out here and not by a lost request.
    pub(crate) fn is_reusable(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.poll_drive(&mut context).is_pending() && self.sender.is_ready()
    }
}
