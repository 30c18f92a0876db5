//! What all exchanges share: the servers, the hooks, the telemetry.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use watchgate_hooks::LiveHooks;
use watchgate_mcp::Outcome;
use watchgate_telemetry::{ServerMetrics, Telemetry, UpstreamConnected};

use crate::config::{Mount, ProxyConfig, ServerConfig};
use crate::fault::Fault;
use crate::operation::{Ending, OpenOperation};
use crate::pending::{PendingOperations, SessionKey};
use crate::pool::{ConnectError, Pool, connect};
use crate::upstream_connection::UpstreamConnection;

/// Refusals sent to servers at once, process-wide; further ones are given up.
pub(crate) const REFUSALS_AT_ONCE: u32 = 64;

/// The `server` label of exchanges that are routed nowhere.
const NOWHERE: &str = "_other";

/// One configured server at run time.
pub(crate) struct Server {
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) config: ServerConfig,
    pub(crate) metrics: Arc<ServerMetrics>,
    pub(crate) pool: Pool,
    /// `Host` for requests that come without one, and for the gateway's own.
    pub(crate) host: HeaderValue,
}

/// How far the shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serving.
    Serving,
    /// No new connections; running exchanges go on.
    Draining,
    /// Streams end at their next event boundary.
    EndStreams,
}

/// Shared by all exchanges.
pub(crate) struct Shared {
    pub(crate) config: ProxyConfig,
    pub(crate) servers: Vec<Arc<Server>>,
    /// Stands for the server in exchanges that are routed nowhere; nothing is ever sent to it.
    pub(crate) nowhere: Arc<Server>,
    pub(crate) hooks: Arc<LiveHooks>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) pending: PendingOperations,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) refusals: Arc<Semaphore>,
    session_keys: RandomState,
}

impl Shared {
    /// Builds the servers.
    ///
    /// # Errors
    /// When an authority is not a legal header value.
    pub(crate) fn new(
        config: ProxyConfig,
        hooks: Arc<LiveHooks>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self, http::header::InvalidHeaderValue> {
        let build = |index, server: &ServerConfig| -> Result<_, http::header::InvalidHeaderValue> {
            Ok(Arc::new(Server {
                index,
                name: server.name.as_str().into(),
                metrics: telemetry.server(&server.name),
                pool: Pool::new(config.limits.idle_connections, config.timeouts.pool_idle),
                host: HeaderValue::from_str(&server.authority)?,
                config: server.clone(),
            }))
        };
        let servers = config.servers.iter().enumerate().map(|(index, server)| build(index, server)).collect::<Result<Vec<_>, _>>()?;
        let nowhere = ServerConfig {
            name: NOWHERE.to_owned(),
            authority: NOWHERE.to_owned(),
            host: NOWHERE.to_owned(),
            port: 0,
            path: String::new(),
            mount: Mount::Prefix,
        };
        let nowhere = build(usize::MAX, &nowhere)?;
        let pending = PendingOperations::new(config.limits.pending_operations, config.timeouts.pending);
        Ok(Self {
            config,
            servers,
            nowhere,
            hooks,
            telemetry,
            pending,
            phase: watch::Sender::new(Phase::Serving),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE as usize)),
            session_keys: RandomState::new(),
        })
    }

    /// The key of a session id.
    pub(crate) fn session_key(&self, server: &Server, session: &[u8]) -> SessionKey {
        SessionKey { server: server.index, hash: self.session_keys.hash_one(session) }
    }

    /// A fresh connection, counted.
    pub(crate) async fn connect(&self, server: &Server) -> Result<UpstreamConnection, Fault> {
        let begun = std::time::Instant::now();
        let result = connect(&server.config.host, server.config.port, self.config.timeouts.connect).await;
        self.telemetry.emit(UpstreamConnected { server: &server.metrics, duration: begun.elapsed(), ok: result.is_ok() });
        result.map_err(|error| {
            tracing::debug!(server = %server.name, %error, "no connection to the server");
            if matches!(error, ConnectError::Timeout(_)) { Fault::ConnectTimeout } else { Fault::Unreachable }
        })
    }

    /// Remembers an operation that is answered elsewhere, and ends those it pushed out.
    pub(crate) fn remember(&self, session: SessionKey, mut operation: OpenOperation) {
        // Ten thousand texts would be half a gigabyte.
        operation.text = None;
        self.abandon(self.pending.insert(session, operation, std::time::Instant::now()));
    }

    /// Ends operations that nobody answered.
    pub(crate) fn abandon(&self, operations: Vec<(SessionKey, OpenOperation)>) {
        for (session, operation) in operations {
            if let Some(server) = self.servers.get(session.server) {
                let waited = operation.started.elapsed();
                operation.finish(self, server, None, Ending::without_answer(Outcome::Aborted, None, waited));
            }
        }
    }

    /// Keeps pools and pending operations tidy until the streams are ended.
    pub(crate) async fn housekeep(self: Arc<Self>) {
        let mut phase = self.phase.subscribe();
        loop {
            for server in &self.servers {
                server.pool.sweep();
            }
            self.abandon(self.pending.expire(std::time::Instant::now()));
            let over = phase.wait_for(|phase| *phase == Phase::EndStreams);
            if timeout(std::time::Duration::from_secs(1), over).await.is_ok() {
                return;
            }
        }
    }
}
