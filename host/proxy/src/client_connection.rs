//! One connection of a client: TLS, then HTTP/1.1 or HTTP/2, request by request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use watchgate_telemetry::{ConnectionRefusal, ConnectionRefused, Limit};

use crate::client_stream::{StreamBody, StreamExecutor};
use crate::config::{Limits, Timeouts};
use crate::departure::{Departure, Watched};
use crate::life;
use crate::listener::{Order, Speech};
use crate::presence::Presence;
use crate::server::Shared;
use crate::tls::server::ServerTlsState;

/// A client that is gone without a word is noticed after about this long and a few probes.
const CLIENT_KEEPALIVE: Duration = Duration::from_secs(60);
/// An HTTP/2 client that says nothing is asked after this long.
const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused HTTP/2 connection may take to end when it was told to.
const GOODBYE: Duration = Duration::from_secs(5);
/// How an HTTP/2 connection by prior knowledge begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Request bodies are gathered, so a window larger than usual ones costs nothing that the cap does not bound.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes waiting for a client that reads slowly, for each of its exchanges.
const SEND_BUFFER: usize = 256 << 10;

/// Who asks, as far as the connection tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) address: SocketAddr,
    pub(crate) is_tls: bool,
}

/// Serves a connection to its end.
pub(crate) async fn serve(shared: Arc<Shared>, speech: Arc<Speech>, stream: TcpStream, address: SocketAddr, order: watch::Receiver<Order>) {
    let _open = shared.telemetry.connection_opened();
    // Copies, so that a connection that stays keeps no old configuration alive.
    let (timeouts, limits, preserves_case) = {
        let plan = shared.plan.load();
        (plan.timeouts().clone(), plan.limits().clone(), plan.config.preserves_header_case)
    };
    // A refinement: without it small events may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    guard_against_silence(&stream, timeouts.client_body);
    let caller = Caller { address, is_tls: speech.tls.is_some() };
    let present = shared.presences.enter();
    let end = End { order, presence: present.presence.clone() };
    let connection =
        Connection { shared: shared.clone(), timeouts, limits, preserves_case, departure: Departure::of(&stream), caller, end };
    let result = match &speech.tls {
        None => connection.serve_cleartext(stream, speech.http2).await,
        Some(tls) => connection.serve_tls(tls, stream).await,
    };
    if let Err(ended) = result {
        if let Some(reason) = ended.refusal() {
            shared.telemetry.emit(ConnectionRefused { reason });
            if reason == ConnectionRefusal::HeadTooLarge {
                // A limit on requests, too. Nobody has read which server it was for.
                shared.nowhere.metrics.limited(Limit::RequestHeaders);
            }
        }
        // Clients that vanish are everyday; what was lost with them is counted by their exchanges.
        tracing::debug!(client = %address, %ended, "connection ended");
    }
}

/// Why a connection ended that did not end by itself.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("the TLS handshake took too long")]
    SlowHandshake,
    #[error("nothing was asked in time")]
    SlowHead,
    #[error("{0}")]
    Read(io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

impl Ended {
    /// What is counted: connections that ended without an exchange.
    fn refusal(&self) -> Option<ConnectionRefusal> {
        match self {
            Self::Handshake(_) | Self::SlowHandshake => Some(ConnectionRefusal::TlsHandshake),
            Self::SlowHead => Some(ConnectionRefusal::SlowHead),
            Self::Http(error) if error.is_parse_too_large() => Some(ConnectionRefusal::HeadTooLarge),
            Self::Http(error) if error.is_parse() => Some(ConnectionRefusal::MalformedHead),
            Self::Http(error) if error.is_timeout() => Some(ConnectionRefusal::SlowHead),
            Self::Http(_) | Self::Read(_) => None,
        }
    }
}

struct Connection {
    shared: Arc<Shared>,
    timeouts: Timeouts,
    limits: Limits,
    preserves_case: bool,
    departure: Departure,
    caller: Caller,
    end: End,
}

/// Who tells a connection that it is to end when its exchanges have: its listener, or others that wait for its place.
struct End {
    order: watch::Receiver<Order>,
    presence: Arc<Presence>,
}

/// Who has told it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Teller {
    Listener,
    Others,
}

/// Why a connection ends that could go on.
enum Summons {
    Told(Teller),
    /// Nothing was asked for long.
    Quiet,
}

impl End {
    async fn told(&mut self) -> Teller {
        tokio::select! {
            _ = self.order.wait_for(|order| *order > Order::Serve) => Teller::Listener,
            () = self.presence.told() => Teller::Others,
        }
    }
}

impl Connection {
    /// HTTP/1.1, or HTTP/2 where the first bytes say so.
    async fn serve_cleartext(mut self, mut stream: TcpStream, http2: bool) -> Result<(), Ended> {
        if !http2 {
            let stream = self.departure.watch(stream, &[]);
            return self.serve_http1(stream).await;
        }
        let first = tokio::select! {
            first = timeout(self.timeouts.client_head, read_first(&mut stream)) => first,
            // Nothing was asked, so nothing is lost.
            _ = self.end.told() => return Ok(()),
        };
        let (first, length) = first.map_err(|_| Ended::SlowHead)?.map_err(Ended::Read)?;
        let stream = self.departure.watch(stream, &first[..length]);
        if first[..length] == *PREFACE { self.serve_http2(stream).await } else { self.serve_http1(stream).await }
    }

    /// The handshake, and what it agreed on.
    async fn serve_tls(mut self, tls: &ServerTlsState, stream: TcpStream) -> Result<(), Ended> {
        let accepting = timeout(self.timeouts.client_head, tls.accept(stream));
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            _ = self.end.told() => return Ok(()),
        };
        let stream = accepted.map_err(|_| Ended::SlowHandshake)?.map_err(Ended::Handshake)?;
        let is_http2 = stream.is_http2();
        let stream = self.departure.watch(stream, &[]);
        if is_http2 { self.serve_http2(stream).await } else { self.serve_http1(stream).await }
    }

    async fn serve_http1(self, stream: Watched<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>) -> Result<(), Ended> {
        let Self { shared, timeouts, limits, preserves_case, mut departure, caller, mut end } = self;
        let asked = AtomicBool::new(false);
        let presence = end.presence.clone();
        // In a set of their own, because they are asked only when there is something new with them: a connection is woken several times for each exchange.
        let mut seldom = FuturesUnordered::new();
        let (of_exchanges, of_bytes) = (presence.clone(), departure.activity());
        // An answer may be on its way for long after its exchange is over.
        let was_used = move || of_exchanges.busy() > 0 || of_bytes.take_written();
        seldom.push(quiet(timeouts.client_head, was_used).map(|()| Summons::Quiet).boxed());
        seldom.push(async move { Summons::Told(end.told().await) }.boxed());
        let service = service_fn(|request| {
            asked.store(true, Ordering::Relaxed);
            // No block around it: that would have room for it twice.
            life::serve(shared.clone(), caller, Some(presence.begin()), request).map(Ok::<_, Infallible>)
        });
        let connection = http1::Builder::new()
            // It would set a timer for each head, which takes a lock.
            .header_read_timeout(None)
            .max_headers(limits.headers)
            .max_buf_size(limits.header_bytes)
            .auto_date_header(false)
            .preserve_header_case(preserves_case)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let summons = tokio::select! {
            // First, so that nothing that has come is overlooked.
            biased;
            result = departure.unless_left(connection.as_mut()) => return Ok(result.unwrap_or(Ok(()))?),
            summons = seldom.select_next_some() => summons,
        };
        let asked = asked.load(Ordering::Relaxed);
        match summons {
            // Nothing more was asked on a connection that had been used: that is how they end.
            Summons::Quiet => return if asked { Ok(()) } else { Err(Ended::SlowHead) },
            // For hyper a connection on which nothing was asked yet is not idle.
            Summons::Told(Teller::Others) if !asked => return Ok(()),
            Summons::Told(_) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            result = departure.unless_left(connection) => Ok(result.unwrap_or(Ok(()))?),
            // Half a head may be here, and never more of it.
            _ = seldom.select_next_some() => Ok(()),
        }
    }

    async fn serve_http2(self, stream: Watched<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>) -> Result<(), Ended> {
        let Self { shared, timeouts, limits, caller, mut end, .. } = self;
        let presence = end.presence.clone();
        let service = service_fn(|request| {
            let busy = presence.begin();
            let with_busy = move |body| StreamBody::new(body, busy);
            life::serve(shared.clone(), caller, None, request).map(|response| Ok::<_, Infallible>(response.map(with_busy)))
        });
        let connection = http2::Builder::new(StreamExecutor { patience: timeouts.client_body })
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2_streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING_TIMEOUT)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => return Ok(result?),
            teller = end.told() => if teller == Teller::Listener || presence.busy() > 0 {
                connection.as_mut().graceful_shutdown();
                return Ok(connection.await?);
            },
            // Not by what is written: pings are.
            () = quiet(timeouts.client_head, || presence.busy() > 0) => {}
        }
        connection.as_mut().graceful_shutdown();
        loop {
            match timeout(GOODBYE, connection.as_mut()).await {
                Ok(result) => return result.map_err(Ended::Http),
                // What was on its way when it was told is still answered.
                Err(_) if presence.busy() > 0 => {}
                // A client that has nothing to ask may not answer to this either.
                Err(_) => return Ok(()),
            }
        }
    }
}

/// Reads until it is clear whether HTTP/2 begins: all of the preface, or the first byte that differs from it.
async fn read_first(stream: &mut TcpStream) -> io::Result<([u8; PREFACE.len()], usize)> {
    let mut first = [0; PREFACE.len()];
    let mut length = 0;
    while length < first.len() && first[..length] == PREFACE[..length] {
        match stream.read(&mut first[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    Ok((first, length))
}

/// Resolves when four looks in a row, a quarter of `limit` apart, do not find that a connection `was_used`.
async fn quiet(limit: Duration, mut was_used: impl FnMut() -> bool) {
    let mut quarters = 0;
    while quarters < 4 {
        sleep(limit / 4).await;
        quarters = if was_used() { 0 } else { quarters + 1 };
    }
}

/// Has the kernel give up on a client that takes no bytes for `idle`, or is gone without a word. The proxy itself would wait for ever: while bytes
/// cannot be written, hyper does not ask the body for more, and no timer of the body runs.
fn guard_against_silence(stream: &TcpStream, idle: Duration) {
    let socket = SockRef::from(stream);
    // Refinements too: where they cannot be had, such a client holds its connection until it closes it.
    let _ = socket.set_tcp_user_timeout(Some(idle));
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(CLIENT_KEEPALIVE));
}
