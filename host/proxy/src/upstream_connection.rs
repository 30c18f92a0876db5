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
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::http2::Http2Stream;
use crate::patience::Patience;
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
    /// `None` when the connection is over: only with it goes a request that it was given and has not begun to send.
    driver: Option<Pin<Box<Driver>>>,
    /// For the head of each answer. Its timer stays set from one to the next, since setting one takes a lock.
    patience: Patience,
    /// How long the server keeps it when it is not used, as far as it said so.
    pub(crate) idle_limit: Duration,
    /// When it was last put into the pool.
    pub(crate) idle_since: Instant,
}

/// Why a request got no response head.
pub(crate) enum SendFailure {
    /// Not one byte was written: the request can go out on another connection.
    Unsent(Box<Request<WholeBody>>),
    /// The server has turned it away without looking at it: it can go out again, but the server has been asked.
    TurnedAway(Box<Request<WholeBody>>),
    /// The server may have seen it.
    Sent(hyper::Error),
    /// No head came in time.
    Late,
}

impl Carrier {
    /// Sends a request and waits so long for the head of its response.
    pub(crate) async fn send(&mut self, request: Request<WholeBody>, limit: Duration) -> Result<Response<Incoming>, SendFailure> {
        match self {
            Self::Http1(connection) => connection.send(request, limit).await,
            // On the heap, so that exchanges over HTTP/1.1 have no room for it.
            Self::Http2(stream) => Box::pin(timeout(limit, stream.send(request))).await.unwrap_or(Err(SendFailure::Late)),
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
    pub(crate) async fn open(stream: UpstreamStream, preserves_case: bool) -> hyper::Result<Self> {
        let (sender, driver) = http1::Builder::new()
            .max_headers(256)
            .preserve_header_case(preserves_case)
            // A proxy takes the space off (RFC 9112, 5.1).
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await?;
        let patience = Patience::new(Duration::MAX);
        Ok(Self { sender, driver: Some(Box::pin(driver)), patience, idle_limit: Duration::MAX, idle_since: Instant::now() })
    }

    async fn send(&mut self, request: Request<WholeBody>, limit: Duration) -> Result<Response<Incoming>, SendFailure> {
        let Self { sender, driver, patience, .. } = self;
        patience.renew(limit);
        let mut response = std::pin::pin!(sender.try_send_request(request));
        std::future::poll_fn(|context| {
            // The driver goes first: it writes what was just queued and reads what has come. One that finds out only now that the server has closed
            // is over without an error, and the request that it was given would wait for ever.
            let _ = poll_driver(driver, context);
            match response.as_mut().poll(context) {
                Poll::Ready(sent) => Poll::Ready(sent.map_err(|mut failure| match failure.take_message() {
                    Some(request) => SendFailure::Unsent(Box::new(request)),
                    None => SendFailure::Sent(failure.into_error()),
                })),
                Poll::Pending => patience.poll_over(context).map(|()| Err(SendFailure::Late)),
            }
        })
        .await
    }

    fn poll_drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        poll_driver(&mut self.driver, context)
    }

    /// Whether another request can be sent now. Looks at the socket, so a connection that the server has closed is
    /// found out here and not by a lost request.
    pub(crate) fn is_reusable(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        // However much the task has done already: out of its budget, it would see nothing.
        let look = std::pin::pin!(unconstrained(std::future::poll_fn(|context| self.poll_drive(context))));
        look.poll(&mut context).is_pending() && self.sender.is_ready()
    }
}

/// `Ready` when the connection is over, and from then on.
fn poll_driver(driver: &mut Option<Pin<Box<Driver>>>, context: &mut Context<'_>) -> Poll<()> {
    let Some(running) = driver else { return Poll::Ready(()) };
    // How it ended is known to the exchange on it.
    let ended = running.as_mut().poll(context).map(drop);
    if ended.is_ready() {
        *driver = None;
    }
    ended
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::tls::stream::MaybeTls;

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_secs(600);

    /// A connection that has carried a request, and its server.
    async fn used() -> (UpstreamConnection, TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let handle = stream.try_clone().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut server = listener.accept().await.unwrap().0;
        let mut connection = UpstreamConnection::open(MaybeTls::Tcp(TcpStream::from_std(stream).unwrap()), false).await.unwrap();
        check_answered(&mut connection, &mut server).await;
        (connection, server, handle)
    }

    async fn check_answered(connection: &mut UpstreamConnection, server: &mut TcpStream) {
        let answering = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"{}") {
                server.read_buf(&mut asked).await.unwrap();
            }
            server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let (sent, ()) = tokio::join!(connection.send(request(), LONG), answering);
        assert!(sent.is_ok_and(|response| response.status() == 204));
        assert!(connection.is_reusable());
    }

    /// A connection that its server has closed while it was unused, and of which nobody has looked since.
    async fn closed() -> UpstreamConnection {
        let (connection, server, handle) = used().await;
        drop(server);
        arrived(handle).await;
        connection
    }

    /// Waits until the end of the connection has arrived, without the connection being looked at.
    async fn arrived(handle: std::net::TcpStream) {
        TcpStream::from_std(handle).unwrap().readable().await.unwrap();
    }

    fn request() -> Request<WholeBody> {
        Request::post("/mcp").header("host", "h").body(WholeBody::full(Bytes::from_static(b"{}"))).unwrap()
    }

    #[tokio::test]
    async fn a_request_on_a_connection_that_was_closed_a_moment_ago_comes_back() {
        let mut connection = closed().await;
        let sent = timeout(Duration::from_secs(5), connection.send(request(), LONG)).await;
        assert!(matches!(sent, Ok(Err(SendFailure::Unsent(_)))), "it never left, and nobody else gets it");
        assert!(!connection.is_reusable());
    }

    #[tokio::test]
    async fn a_task_that_has_done_much_still_sees_that_a_connection_was_closed() {
        let mut connection = closed().await;
        while tokio::task::coop::has_budget_remaining() {
            let _ = std::pin::pin!(tokio::task::consume_budget()).poll(&mut Context::from_waker(Waker::noop()));
        }
        assert!(!connection.is_reusable());
    }

    #[tokio::test]
    async fn each_answer_has_its_own_time_to_begin() {
        let (mut connection, mut server, _) = used().await;
        assert!(matches!(connection.send(request(), Duration::from_millis(50)).await, Err(SendFailure::Late)));
        // What was sent was sent.
        let mut asked = Vec::new();
        while !asked.ends_with(b"{}") {
            server.read_buf(&mut asked).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_open_is_used_again_and_again() {
        let (mut connection, mut server, _) = used().await;
        for _ in 0..3 {
            check_answered(&mut connection, &mut server).await;
        }
    }
}
