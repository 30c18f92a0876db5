//! The listeners of client traffic: accepting, and ending.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use watchgate_telemetry::{ConnectionRefusal, ConnectionRefused, task};

use crate::ProxyError;
use crate::client_connection;
use crate::config::ListenerConfig;
use crate::server::{Phase, REFUSALS_AT_ONCE, Shared};
use crate::slots::ClientPlace;
use crate::tls::server::ServerTlsState;

/// Accepting fails for a moment when descriptors run out; trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// While a connection waits for a place, another idle one is told to end after this long: the one before may be slow to go, or not idle after all.
const END_PAUSE: Duration = Duration::from_millis(100);
/// After streams were told to end, connections get this long to write their last bytes.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How a listener's connections speak.
pub(crate) struct Speech {
    pub(crate) tls: Option<Arc<ServerTlsState>>,
    pub(crate) http2: bool,
}

impl Speech {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(crate) fn load(config: &ListenerConfig) -> Result<Self, ProxyError> {
        let tls = config.tls.as_ref().map(|tls| ServerTlsState::load(tls, config.http2)).transpose()?;
        Ok(Self { tls, http2: config.http2 })
    }
}

/// What a listener and its connections have been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Go on.
    Serve,
    /// No new connections; those there are end when their exchanges do.
    Finish,
    /// End now.
    Abort,
}

struct Running {
    speech: Arc<ArcSwap<Speech>>,
    order: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// Every open listener, by its configured address.
#[derive(Default)]
pub(crate) struct Listeners {
    open: Mutex<HashMap<String, Running>>,
    /// Closed, with connections that have not ended.
    closing: Mutex<Vec<Running>>,
}

impl Listeners {
    /// Accepts from now on.
    pub(crate) fn open(&self, shared: &Arc<Shared>, address: String, speech: Speech, listener: TcpListener) {
        let speech = Arc::new(ArcSwap::from_pointee(speech));
        let order = watch::Sender::new(Order::Serve);
        let work = run(shared.clone(), listener, speech.clone(), order.subscribe());
        let task = tokio::spawn(task::named("listener", &address, work));
        let replaced = self.open.lock().insert(address, Running { speech, order, task });
        self.retire(replaced);
    }

    /// New connections of the listener speak like this.
    pub(crate) fn change(&self, address: &str, speech: Speech) {
        if let Some(running) = self.open.lock().get(address) {
            running.speech.store(Arc::new(speech));
        }
    }

    /// Stops accepting; connections end when their exchanges do.
    pub(crate) fn close(&self, address: &str) {
        let closed = self.open.lock().remove(address);
        self.retire(closed);
    }

    fn retire(&self, running: Option<Running>) {
        let mut closing = self.closing.lock();
        closing.retain(|running| !running.task.is_finished());
        if let Some(running) = running {
            running.order.send_replace(Order::Finish);
            closing.push(running);
        }
    }

    /// Every TLS state in use by address, for reading its files again.
    pub(crate) fn tls(&self) -> Vec<(String, Arc<ServerTlsState>)> {
        let open = self.open.lock();
        open.iter().filter_map(|(address, running)| Some((address.clone(), running.speech.load().tls.clone()?))).collect()
    }

    /// Drains: no new connections, running exchanges finish, streams end when the drain deadline has passed, and what is left then is closed.
    pub(crate) async fn drain(&self, shared: &Shared) {
        let opened: Vec<String> = self.open.lock().keys().cloned().collect();
        for address in opened {
            self.close(&address);
        }
        shared.phase.send_replace(Phase::Draining);
        let mut all = std::mem::take(&mut *self.closing.lock());
        let drain = shared.plan.load().timeouts().drain;
        let finished = timeout(drain, finish(&mut all)).await.is_ok();
        // Refusals under way are the last words in sessions that have just ended.
        let _ = timeout(LAST_BYTES, shared.refusals.acquire_many(REFUSALS_AT_ONCE)).await;
        shared.phase.send_replace(Phase::EndStreams);
        if !finished && timeout(LAST_BYTES, finish(&mut all)).await.is_err() {
            tracing::warn!("closing connections whose exchanges did not finish within the drain timeout");
            for running in &all {
                running.order.send_replace(Order::Abort);
            }
            finish(&mut all).await;
        }
    }
}

/// Waits for each to end; those that have are taken out, so that it can be called again.
async fn finish(running: &mut Vec<Running>) {
    while let Some(last) = running.last_mut() {
        // A panic in it was logged by the runtime.
        let _ = (&mut last.task).await;
        running.pop();
    }
}

async fn run(shared: Arc<Shared>, listener: TcpListener, speech: Arc<ArcSwap<Speech>>, mut order: watch::Receiver<Order>) {
    let mut connections = JoinSet::new();
    // Accepted before there is a slot for it: with one waiting at each listener, none of them keeps a slot from the others.
    let mut waiting = None;
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that its other end is gone, which ends it too.
            _ = order.wait_for(|order| *order > Order::Serve) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&shared, &listener, &mut waiting) => accepted,
        };
        match accepted {
            Ok(Accepted { stream, client, of_client, slot }) => {
                let connection = client_connection::serve(shared.clone(), speech.load_full(), stream, client, order.clone());
                let shared = shared.clone();
                connections.spawn(async move {
                    connection.await;
                    drop((of_client, slot));
                    shared.connections.note_free();
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        // The guard that `wait_for` answers must not live across the wait for the connections.
        () = async { let _ = order.wait_for(|order| *order == Order::Abort).await; } => {}
    }
    connections.shutdown().await;
}

/// A connection and its place among all and among those of its client.
struct Accepted {
    stream: TcpStream,
    client: SocketAddr,
    of_client: ClientPlace,
    slot: OwnedSemaphorePermit,
}

/// A connection that has no slot yet.
struct Waiting {
    stream: TcpStream,
    client: SocketAddr,
    of_client: ClientPlace,
}

/// A connection and its slot. When it is given up while the connection waits, `waiting` keeps it.
async fn accept(shared: &Shared, listener: &TcpListener, waiting: &mut Option<Waiting>) -> std::io::Result<Accepted> {
    let is_new = waiting.is_none();
    if is_new {
        *waiting = Some(next_of_client(shared, listener).await?);
    }
    let mut slot = shared.connections.try_take();
    if slot.is_none() && is_new {
        shared.connections.note_full();
    }
    let slot = loop {
        if let Some(slot) = slot {
            break slot;
        }
        if shared.presences.end_one() {
            shared.telemetry.emit(ConnectionRefused { reason: ConnectionRefusal::IdleLongest });
        }
        slot = timeout(END_PAUSE, shared.connections.take()).await.ok();
    };
    let Waiting { stream, client, of_client } = waiting.take().expect("only this function takes it out");
    Ok(Accepted { stream, client, of_client, slot })
}

/// The next connection of a client that may have one more.
async fn next_of_client(shared: &Shared, listener: &TcpListener) -> std::io::Result<Waiting> {
    loop {
        let (stream, client) = listener.accept().await?;
        let of_client = shared.plan.load().connections_of_clients.try_take(client.ip());
        match of_client {
            Some(of_client) => return Ok(Waiting { stream, client, of_client }),
            None => shared.telemetry.emit(ConnectionRefused { reason: ConnectionRefusal::TooManyOfClient }),
        }
    }
}
