//! What all exchanges share: the servers as configured now, the hooks, the telemetry.

mod following;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};
use watchgate_hooks::LiveHooks;
use watchgate_mcp::{Outcome, method};
use watchgate_telemetry::log::Throttle;
use watchgate_telemetry::{ServerMetrics, Telemetry};

use crate::ProxyError;
use crate::affinity::{Tag, untag};
use crate::auth::Authenticator;
use crate::balancer::{Balancer, EndpointHealth};
use crate::clearing::{Clearing, Waiting};
use crate::config::{Limits, ProxyConfig, Timeouts};
use crate::connection_slots::ConnectionSlots;
use crate::endpoint::Endpoint;
use crate::endpoint_event::mounting::Mounting;
use crate::guard::Guard;
use crate::held_bytes::HeldBytes;
use crate::message_targets::MessageTargets;
use crate::oauth::{OauthRewrite, ProtectedResource};
use crate::open_ids::OpenIds;
use crate::operation::{Ending, OpenOperation};
use crate::pending::{PendingOperations, SessionKey};
use crate::presence::Presences;
use crate::rate::RateLimiter;
use crate::retry_budget::RetryBudget;
use crate::scan::Scanned;
use crate::server_config::{EndpointConfig, Mount, ServerConfig};
use crate::sessions::Sessions;
use crate::slots::{Concurrency, PerClient};
use crate::tls::client::UpstreamTlsState;

/// Refusals sent to servers at once, process-wide; further ones are given up.
pub(crate) const REFUSALS_AT_ONCE: u32 = 64;

/// The `server` label of exchanges that are routed nowhere.
const NOWHERE: &str = "_other";

/// One configured server at run time. A configuration that changes nothing of it keeps it.
pub(crate) struct Server {
    /// The same for a name as long as the process runs.
    pub(crate) id: usize,
    pub(crate) name: Arc<str>,
    pub(crate) config: ServerConfig,
    pub(crate) metrics: Arc<ServerMetrics>,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) mounting: Mounting,
    /// Where it has a public URL.
    pub(crate) oauth: Option<OauthRewrite>,
    pub(crate) balancer: Arc<Balancer>,
    /// The endpoint that it has, or had before there were several: sessions of then are known to clients without a tag.
    home: Option<Tag>,
    pub(crate) retries: Arc<RetryBudget>,
    pub(crate) concurrency: Arc<Concurrency>,
    pub(crate) streams: Arc<PerClient>,
    pub(crate) rate: Option<Arc<RateLimiter>>,
    /// Its legacy sessions, whatever configuration they were opened under.
    pub(crate) sessions: Arc<Sessions>,
    /// Where clients of HTTP+SSE post to.
    pub(crate) message_targets: Arc<MessageTargets>,
}

/// The configuration as it is applied now; a reload swaps all of it.
pub(crate) struct Plan {
    pub(crate) config: ProxyConfig,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) guard: Guard,
    /// Where the configuration has a gate for clients.
    pub(crate) authenticator: Option<Arc<Authenticator>>,
    /// Of each server, for clients of that gate.
    pub(crate) resources: Vec<Option<ProtectedResource>>,
    /// Counted on where the bound is the same.
    pub(crate) connections_of_clients: Arc<PerClient>,
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
    pub(crate) plan: ArcSwap<Plan>,
    /// Stands for the server in exchanges that are routed nowhere; nothing is ever sent to it.
    pub(crate) nowhere: Arc<Server>,
    pub(crate) hooks: Arc<LiveHooks>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) pending: PendingOperations,
    /// Of requests in sessions, where there may be policies.
    pub(crate) open_ids: Arc<OpenIds>,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) refusals: Arc<Semaphore>,
    pub(crate) clearing: Clearing,
    /// Taken by the task that clears them.
    pub(crate) uncleared: Mutex<Option<mpsc::Receiver<Waiting>>>,
    pub(crate) connections: ConnectionSlots,
    /// The open ones.
    pub(crate) presences: Arc<Presences>,
    /// Bytes of messages that are held whole.
    pub(crate) held: Arc<HeldBytes>,
    /// Lines about answers of the gateway's own, for the mistakes of clients and for all others.
    pub(crate) fault_lines: [Throttle; 2],
    session_keys: RandomState,
    ids: Mutex<HashMap<String, usize>>,
}

impl Shared {
    /// Builds the servers.
    ///
    /// # Errors
    /// When a server cannot be built; the sentence says why.
    pub(crate) fn new(config: ProxyConfig, hooks: Arc<LiveHooks>, telemetry: Arc<Telemetry>) -> Result<Self, ProxyError> {
        let (clearing, uncleared) = Clearing::new();
        let ids = Mutex::default();
        let pending = PendingOperations::new(config.limits.pending_operations, config.timeouts.pending);
        let connections = ConnectionSlots::new(config.limits.connections, telemetry.process_bounds());
        let held = Arc::new(HeldBytes::new(config.limits.held_bytes, telemetry.process_bounds()));
        let plan = Plan::build(config, None, &telemetry, &ids)?;
        plan.bound_sessions();
        let nowhere = Server::build(&ServerConfig::nowhere(), None, &telemetry, usize::MAX)?;
        Ok(Self {
            plan: ArcSwap::from_pointee(plan),
            nowhere: Arc::new(nowhere),
            hooks,
            telemetry,
            pending,
            open_ids: Arc::default(),
            phase: watch::Sender::new(Phase::Serving),
            clearing,
            uncleared: Mutex::new(Some(uncleared)),
            refusals: Arc::new(Semaphore::new(REFUSALS_AT_ONCE as usize)),
            connections,
            presences: Arc::default(),
            held,
            fault_lines: Default::default(),
            session_keys: RandomState::new(),
            ids,
        })
    }

    /// Whether the text of a request is of use to anybody: to a derivation, or because it may be recorded.
    pub(crate) fn keeps_text_of(&self, scanned: &Scanned) -> bool {
        let is_tool_call = || matches!(scanned.envelopes.as_slice(), [only] if only.method_str() == Some(method::TOOLS_CALL));
        self.hooks.keeps_text() || (self.telemetry.capture().is_on() && is_tool_call())
    }

    /// The plan for a new configuration: everything that can fail, and nothing that traffic sees.
    ///
    /// # Errors
    /// As for `new`.
    pub(crate) fn prepare(&self, config: ProxyConfig) -> Result<Plan, ProxyError> {
        Plan::build(config, Some(&self.plan.load()), &self.telemetry, &self.ids)
    }

    /// Puts a plan into force. Exchanges under way go on with what they began with.
    pub(crate) fn apply(&self, plan: Plan) {
        self.pending.set_bounds(plan.config.limits.pending_operations, plan.config.timeouts.pending);
        self.connections.set_limit(plan.config.limits.connections);
        self.held.set_limit(plan.config.limits.held_bytes);
        plan.bound_sessions();
        let plan = Arc::new(plan);
        let before = self.plan.swap(plan.clone());
        for gone in &before.servers {
            if !plan.servers.iter().any(|kept| Arc::ptr_eq(kept, gone)) {
                gone.close_pools();
            }
            match plan.servers.iter().find(|server| server.name == gone.name) {
                None => self.telemetry.retire_server(&gone.name),
                Some(server) => gone.retire_endpoints_missing_in(server),
            }
        }
    }

    /// Ends the sessions of which nothing was heard for too long.
    pub(crate) fn end_idle_sessions(&self) {
        let now = Instant::now();
        for server in &self.plan.load().servers {
            for ended in server.sessions.expire(now) {
                server.metrics.session_ended(ended.duration);
            }
        }
    }

    /// The key of a session id as clients know it. It is the same with the tag of the endpoint and without, where that goes without saying.
    pub(crate) fn session_key(&self, server: &Server, session: &[u8]) -> SessionKey {
        let (id, index) = untag(session, server.endpoints.iter().map(|endpoint| endpoint.tag));
        let tag = index.map(|index| server.endpoints[index].tag).or(server.home);
        SessionKey { server: server.id, hash: self.session_keys.hash_one((id, tag)) }
    }

    /// Remembers an operation that is answered elsewhere, and ends those it pushed out.
    pub(crate) fn remember(&self, session: SessionKey, mut operation: OpenOperation) {
        // Ten thousand texts would be half a gigabyte.
        operation.text = None;
        self.abandon(self.pending.insert(session, operation, Instant::now()));
    }

    /// Ends operations that nobody answered.
    pub(crate) fn abandon(&self, operations: Vec<(SessionKey, OpenOperation)>) {
        if operations.is_empty() {
            return;
        }
        let plan = self.plan.load();
        for (session, operation) in operations {
            // One that was removed has no metrics any more; those who were told of the call are told how it ended.
            let server = plan.servers.iter().find(|server| server.id == session.server).unwrap_or(&self.nowhere);
            let waited = operation.started.elapsed();
            operation.finish(self, server, None, Ending::without_answer(Outcome::Aborted, None, waited));
        }
    }
}

impl Plan {
    fn build(
        config: ProxyConfig,
        current: Option<&Self>,
        telemetry: &Telemetry,
        ids: &Mutex<HashMap<String, usize>>,
    ) -> Result<Self, ProxyError> {
        let running = current.map_or(&[][..], |current| &current.servers);
        let server = |server: &ServerConfig| -> Result<_, ProxyError> {
            match running.iter().find(|running| running.config == *server) {
                Some(running) => Ok(running.clone()),
                None => {
                    let earlier = running.iter().find(|running| running.config.name == server.name);
                    Server::build(server, earlier.map(|earlier| &**earlier), telemetry, id_of(&server.name, ids)).map(Arc::new)
                }
            }
        };
        let servers = config.servers.iter().map(server).collect::<Result<_, _>>()?;
        // The next one goes on with the keys that the running one has fetched.
        let earlier = current.and_then(|current| current.authenticator.as_deref());
        let authenticator = config.auth.as_ref().map(|auth| Authenticator::start(auth, earlier)).transpose()?;
        let resources = config.servers.iter().map(|server| ProtectedResource::of(server, config.auth.as_ref())).collect();
        let bound = config.limits.connections_per_client;
        let same = current.filter(|current| current.config.limits.connections_per_client == bound);
        let connections_of_clients = same.map_or_else(|| Arc::new(PerClient::new(bound)), |current| current.connections_of_clients.clone());
        Ok(Self { servers, guard: Guard::new(&config.guard), authenticator, resources, connections_of_clients, config })
    }

    /// Lets the servers' sessions know their bounds.
    fn bound_sessions(&self) {
        for server in &self.servers {
            server.sessions.set_bounds(self.config.limits.sessions, self.config.timeouts.session_idle);
        }
    }

    /// Process-wide deadlines.
    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.config.timeouts
    }

    /// Process-wide bounds.
    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }
}

/// The same number for a name as long as the process runs.
fn id_of(name: &str, ids: &Mutex<HashMap<String, usize>>) -> usize {
    let mut ids = ids.lock();
    let next = ids.len();
    *ids.entry(name.to_owned()).or_insert(next)
}

impl Server {
    /// Builds it; opens no socket. What is known of the endpoints of an earlier configuration of it is carried over.
    fn build(config: &ServerConfig, earlier: Option<&Self>, telemetry: &Telemetry, id: usize) -> Result<Self, ProxyError> {
        let now = Instant::now();
        // What is counted goes on where its bound is the same.
        let same = |is_same: &dyn Fn(&ServerConfig) -> bool| earlier.filter(|earlier| is_same(&earlier.config));
        let is_tls = config.endpoints.iter().any(|endpoint| endpoint.tls);
        let tls = is_tls.then(|| UpstreamTlsState::load(&config.tls, config.http2)).transpose()?;
        let known =
            |endpoint: &EndpointConfig| earlier.and_then(|earlier| earlier.endpoints.iter().find(|known| known.config == *endpoint));
        let health = |endpoint| known(endpoint).map_or_else(|| Arc::new(EndpointHealth::new(now)), |known| known.health.clone());
        let health = config.endpoints.iter().map(health).collect();
        let balancer = Arc::new(Balancer::new(health, config.ejection.clone(), config.slow_start, now));
        let endpoint = |(index, endpoint): (usize, &EndpointConfig)| {
            let keeps_breaker = same(&|of: &ServerConfig| of.breaker == config.breaker).is_some();
            let known = known(endpoint).map(|known| &**known);
            Endpoint::build(index, config, &balancer, tls.as_ref(), known, keeps_breaker, telemetry).map(Arc::new)
        };
        let endpoints: Vec<_> = config.endpoints.iter().enumerate().map(endpoint).collect::<Result<_, _>>()?;
        let mounting = Mounting::of(config);
        let authorities = || config.endpoints.iter().map(|endpoint| endpoint.authority.clone()).collect();
        let oauth = config.public_url.as_deref().map(|url| OauthRewrite::new(url, mounting.clone(), &config.path, authorities()));
        let oauth = oauth.transpose().map_err(|error| ProxyError::PublicUrl { server: config.name.clone(), error: error.to_string() })?;
        Ok(Self {
            id,
            name: config.name.as_str().into(),
            metrics: telemetry.server(&config.name),
            oauth,
            mounting,
            balancer,
            home: match endpoints.as_slice() {
                [only] => Some(only.tag),
                _ => earlier.and_then(|earlier| earlier.home),
            },
            retries: same(&|of: &ServerConfig| of.retry == config.retry)
                .map_or_else(|| Arc::new(RetryBudget::new(config.retry.clone(), now)), |earlier| earlier.retries.clone()),
            concurrency: same(&|of: &ServerConfig| of.limits.concurrency == config.limits.concurrency)
                .map_or_else(|| Arc::new(Concurrency::new(config.limits.concurrency)), |earlier| earlier.concurrency.clone()),
            streams: same(&|of: &ServerConfig| of.limits.streams_per_client == config.limits.streams_per_client)
                .map_or_else(|| Arc::new(PerClient::new(config.limits.streams_per_client)), |earlier| earlier.streams.clone()),
            sessions: earlier.map_or_else(Arc::default, |earlier| earlier.sessions.clone()),
            message_targets: earlier.map_or_else(Arc::default, |earlier| earlier.message_targets.clone()),
            rate: match same(&|of: &ServerConfig| of.limits.rate == config.limits.rate) {
                Some(earlier) => earlier.rate.clone(),
                None => config.limits.rate.as_ref().map(|rate| Arc::new(RateLimiter::new(rate, now))),
            },
            endpoints,
            config: config.clone(),
        })
    }
}

impl Server {
    /// Where clients find it: the path of its mount.
    pub(crate) fn route(&self) -> String {
        match &self.config.mount {
            Mount::Prefix => format!("/{}/", self.name),
            Mount::Root | Mount::Hosts(_) => "/".to_owned(),
        }
    }

    /// Whether answers to a GET may have to be put right for clients: endpoint events, OAuth metadata.
    pub(crate) fn rewrites_answers(&self) -> bool {
        self.config.mount == Mount::Prefix || self.oauth.is_some() || self.tags_sessions()
    }

    /// Whether it matters which of its endpoints answer probes.
    pub(crate) fn is_probed_by_endpoint(&self) -> bool {
        self.config.probe && self.endpoints.len() > 1
    }

    /// Whether session ids carry the tag of their endpoint.
    pub(crate) fn tags_sessions(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// Where sessions live that were opened when the server had one endpoint, if it is among those of now. One that this process does not follow, or
    /// that began since, may be anywhere.
    pub(crate) fn home_of(&self, untagged: SessionKey) -> Option<usize> {
        let home = self.home.filter(|_| self.tags_sessions() && self.sessions.is_known(untagged))?;
        self.endpoints.iter().position(|endpoint| endpoint.tag == home)
    }

    /// Another configuration is in force: connections are not kept for exchanges to come, and those that go on end with them.
    fn close_pools(&self) {
        for endpoint in &self.endpoints {
            endpoint.pool.close();
            endpoint.http2.close();
        }
    }

    /// Ends the series of endpoints that a newer configuration of the server has not.
    fn retire_endpoints_missing_in(&self, newer: &Self) {
        for endpoint in &self.endpoints {
            if !newer.endpoints.iter().any(|kept| kept.authority == endpoint.authority) {
                endpoint.metrics.retire();
            }
        }
    }
}

impl ServerConfig {
    /// Stands for the server of requests that are for none.
    fn nowhere() -> Self {
        let endpoint = EndpointConfig { authority: NOWHERE.to_owned(), host: NOWHERE.to_owned(), port: 0, tls: false };
        Self { endpoints: Vec::new(), ..Self::new(NOWHERE, endpoint, "", Mount::Prefix) }
    }
}
