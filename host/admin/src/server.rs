//! The listener: accepts, bounds and ends connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::guard::Guard;
use crate::operator_api::{AdminState, OperatorApi};

/// Scrapers, probes and people need a handful; more are closed at once, so that they cannot use up the process's descriptors.
const MAX_CONNECTIONS: usize = 256;
/// Also the time a connection may be idle between two requests. Longer than the usual scrape interval would keep slots for nothing.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// A client that does not read its answer cannot keep its slot for longer.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);
/// For answers on their way when the listener ends.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// After an accept error such as no descriptors left: time for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const MAX_HEAD: usize = 32 * 1024;

/// The operators' listener.
pub struct Admin;

/// Why the listener does not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Everybody could read and command.
    #[error("the admin address {0} is reachable from other machines: set an admin token, or listen on a loopback address")]
    TokenRequired(SocketAddr),
    /// The socket does not tell where it listens.
    #[error("the admin listener has no address: {0}")]
    Socket(#[from] std::io::Error),
}

impl Admin {
    /// Serves until `shutdown` is true, then lets running answers finish, 5 s at most.
    ///
    /// # Errors
    /// Before serving anything, when the listener is not on loopback and there is no token.
    pub async fn serve(listener: TcpListener, state: AdminState, shutdown: watch::Receiver<bool>) -> Result<(), AdminError> {
        let address = listener.local_addr()?;
        let on_loopback = address.ip().is_loopback();
        if !on_loopback && state.token.is_none() {
            return Err(AdminError::TokenRequired(address));
        }
        let guard = Guard { token: state.token.clone(), check_host: on_loopback, own_names: state.own_names.clone() };
        let api = Arc::new(OperatorApi { state, guard, shutdown: shutdown.clone() });
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut end = shutdown.clone();
        loop {
            let accepted = tokio::select! {
                // A closed channel means that nobody is left who could ask for the end: the process is ending.
                _ = end.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match (accepted, Arc::clone(&slots).try_acquire_owned()) {
                (Ok((stream, _)), Ok(slot)) => {
                    connections.spawn(converse(stream, Arc::clone(&api), shutdown.clone(), slot));
                }
                (Ok(_), Err(_)) => tracing::debug!("an admin connection was closed: {MAX_CONNECTIONS} are open"),
                (Err(error), _) => {
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(END_DEADLINE, all).await.is_err() {
            tracing::warn!("admin connections were cut at the end");
        }
        Ok(())
    }
}

/// One connection from its first byte to its last.
async fn converse(stream: TcpStream, api: Arc<OperatorApi>, mut shutdown: watch::Receiver<bool>, _slot: OwnedSemaphorePermit) {
    // Answers are written in one piece, so waiting for more only delays them. Failing to say so is harmless.
    let _unset = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(api.serve(request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        _ = shutdown.wait_for(|stop| *stop) => None,
        () = tokio::time::sleep(CONNECTION_LIFETIME) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(END_DEADLINE, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended badly");
    }
}
