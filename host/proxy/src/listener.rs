//! `accept`: the listener of client traffic, and the drain.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::life::serve;
use crate::server::{Phase, REFUSALS_AT_ONCE, Shared};

/// Accepting fails for a moment when descriptors run out; trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A client that is gone without a word is noticed after about this long and a few probes.
const CLIENT_KEEPALIVE: Duration = Duration::from_secs(60);
/// After streams were told to end, connections get this long to write their last bytes.
const LAST_BYTES: Duration = Duration::from_secs(1);
/// Twice what browsers and SDKs send at most; hyper's own default for the sum of header bytes applies on top.
const MAX_HEADERS: usize = 200;

/// Serves connections until `shutdown`, then drains: no new connections, running exchanges finish, streams end when the
/// drain deadline has passed, and what is left then is closed.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let housekeeping = tokio::spawn(shared.clone().housekeep());
    let slots = Arc::new(Semaphore::new(shared.config.limits.connections));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, client, slot)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    serve_connection(shared, stream, client).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drain(&shared, connections).await;
    // It ends by itself once streams are told to end; a panic in it was logged by the runtime.
    let _ = housekeeping.await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, client) = listener.accept().await?;
    Ok((stream, client, slot))
}

async fn drain(shared: &Shared, mut connections: JoinSet<()>) {
    shared.phase.send_replace(Phase::Draining);
    let all = async { while connections.join_next().await.is_some() {} };
    let finished = timeout(shared.config.timeouts.drain, all).await.is_ok();
    // Refusals under way are the last words in sessions that have just ended.
    let _ = timeout(LAST_BYTES, shared.refusals.acquire_many(REFUSALS_AT_ONCE)).await;
    shared.phase.send_replace(Phase::EndStreams);
    if !finished {
        let rest = async { while connections.join_next().await.is_some() {} };
        if timeout(LAST_BYTES, rest).await.is_err() {
            tracing::warn!(connections = connections.len(), "closing connections whose exchanges did not finish within the drain timeout");
            connections.shutdown().await;
        }
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

async fn serve_connection(shared: Arc<Shared>, stream: TcpStream, client: SocketAddr) {
    let _open = shared.telemetry.connection_opened();
    // A refinement: without it small events may wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    guard_against_silence(&stream, shared.config.timeouts.idle);
    let service = service_fn(|request| {
        let exchange = serve(shared.clone(), Some(client), request);
        async move { Ok::<_, Infallible>(exchange.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.timeouts.client_head)
        .max_headers(MAX_HEADERS)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut phase = shared.phase.subscribe();
    // The guard that `wait_for` answers must not live across the wait below.
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = async { let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await; } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Clients that vanish are everyday; what was lost with them is counted by their exchanges.
        tracing::debug!(%client, %error, "connection ended");
    }
}
