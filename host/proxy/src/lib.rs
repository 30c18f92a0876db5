//! Bytes in, bytes out: accepts client connections, routes each request to a server, shows messages to the redaction
//! policies that are live, relays the answer, and says what happened. The steps are in [`life`]; what they share is in
//! `server`.
//!
//! It knows the live set of plugins only through `watchgate-hooks`: neither wasmtime nor files.

mod admission;
mod affinity;
mod answer;
mod answer_head;
mod asked_trace;
mod auth;
mod balancer;
mod body;
mod breaker;
mod calls;
mod cause;
mod clearing;
mod client_address;
mod client_connection;
mod client_stream;
mod config;
mod connect;
mod connection_slots;
mod content;
mod decode;
mod departure;
mod endpoint;
mod endpoint_calls;
mod endpoint_event;
mod error_id;
mod event_redaction;
mod events;
mod exchange;
mod exchange_id;
mod fault;
mod forward;
mod guard;
mod headers;
mod held_bytes;
mod housekeeping;
mod http2;
mod late_trace;
mod lease;
mod life;
mod line_facts;
mod listener;
mod message_targets;
mod oauth;
mod open_ids;
mod operation;
mod patience;
mod pending;
mod pieces;
mod pool;
mod presence;
mod rate;
mod read;
mod ready;
mod redact;
mod redirect;
mod refusal;
mod relay;
mod retry_budget;
mod reuse;
mod route;
mod scan;
mod seldom;
mod server;
mod server_config;
mod session_hash;
mod sessions;
mod slots;
mod source;
mod timing;
mod tls;
mod trace_notes;
mod trace_record;
mod tries;
mod turns;
mod upstream_body;
mod upstream_connection;
mod whole_body;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::net::TcpListener;
use watchgate_hooks::{LiveHooks, UpstreamCalls, UpstreamEndpoints};
use watchgate_telemetry::{Telemetry, task};

pub use config::{
    AuthConfig, ClientAddresses, ClientKey, GuardConfig, JwksSource, JwtConfig, Limits, ListenerConfig, Propagation, ProxyConfig,
    ServerTls, Timeouts,
};
pub use server_config::{
    BreakerConfig, ClientIdentity, EjectionConfig, EndpointConfig, Forwarded, HostHeader, Mount, RateKey, RateLimit, RetryConfig,
    ServerConfig, ServerLimits, ServerTimeouts, UpstreamTls,
};

/// The proxy: built once, then served on the listeners that its control is given.
pub struct Proxy {
    control: Arc<ProxyControl>,
}

/// Why a proxy, a part of it or a new configuration of it could not be built. Always the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A server's authority cannot stand in a `Host` header.
    #[error("the host of a server is not legal in a Host header: {0}")]
    Authority(#[from] http::header::InvalidHeaderValue),
    /// A file for TLS cannot be used; the sentence names it.
    #[error("{0}")]
    Tls(String),
    /// A `public_url` that clients could not use.
    #[error("the public URL of the server {server}: {error}")]
    PublicUrl {
        /// The server.
        server: String,
        /// What is wrong with it.
        error: String,
    },
    /// Clients could not be let in as configured; the sentence names the file or URL.
    #[error("{0}")]
    Auth(String),
}

impl From<auth::AuthError> for ProxyError {
    fn from(error: auth::AuthError) -> Self {
        Self::Auth(error.to_string())
    }
}

impl From<tls::error::TlsError> for ProxyError {
    fn from(error: tls::error::TlsError) -> Self {
        Self::Tls(error.to_string())
    }
}

/// Changes a running proxy: its listeners, its configuration.
pub struct ProxyControl {
    shared: Arc<server::Shared>,
    listeners: listener::Listeners,
}

/// The circuit breaker of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerStatus {
    /// The server's name.
    pub server: String,
    /// The endpoint's authority.
    pub endpoint: String,
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// `open` or `closed` where it was set by hand.
    pub forced: Option<&'static str>,
}

/// How it stands with the keys that tokens of clients are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksStatus {
    /// The file, or the URL without its query.
    pub source: String,
    /// Keys that can verify a token; with none no token is let in.
    pub keys: usize,
    /// When they were last loaded, or found to be the same; `None` before the first time.
    pub loaded: Option<SystemTime>,
    /// Why they could not be loaded when that was last tried.
    pub trouble: Option<String>,
}

/// What an operator decides about a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forced {
    /// Nothing passes.
    Open,
    /// Everything passes.
    Closed,
    /// It goes by what it sees.
    Automatic,
}

/// No server or endpoint of that name is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such server or endpoint")]
pub struct UnknownEndpoint;

/// A configuration that was found sound.
pub struct Prepared(server::Plan);

/// A listener whose settings were found sound.
pub struct PreparedListener {
    address: String,
    speech: listener::Speech,
}

impl Proxy {
    /// Builds the servers' pools and metric handles, and reads the files that the configuration names; opens no socket.
    ///
    /// # Errors
    /// When a part of the configuration cannot be used; the sentence names it.
    pub fn new(config: ProxyConfig, hooks: Arc<LiveHooks>, telemetry: Arc<Telemetry>) -> Result<Self, ProxyError> {
        let shared = Arc::new(server::Shared::new(config, hooks, telemetry)?);
        Ok(Self { control: Arc::new(ProxyControl { shared, listeners: listener::Listeners::default() }) })
    }

    /// How plugins reach the servers.
    pub fn upstream_calls(&self) -> Arc<dyn UpstreamCalls> {
        Arc::new(calls::Calls(self.control.shared.clone()))
    }

    /// How health probes reach each endpoint of the servers.
    pub fn upstream_endpoints(&self) -> Arc<dyn UpstreamEndpoints> {
        Arc::new(endpoint_calls::Endpoints(self.control.shared.clone()))
    }

    /// Opens and closes listeners, and applies configurations.
    pub fn control(&self) -> Arc<ProxyControl> {
        self.control.clone()
    }

    /// Keeps pools tidy, follows files and clears traces until the proxy has drained. Runs beside the listeners.
    pub fn start_housekeeping(&self) {
        tokio::spawn(task::named("housekeeping", "", housekeeping::keep(self.control.clone())));
        let shared = &self.control.shared;
        if let Some(uncleared) = shared.uncleared.lock().take() {
            let work = clearing::run(uncleared, shared.hooks.clone(), shared.telemetry.clone());
            tokio::spawn(task::named("clearing of traces", "", work));
        }
    }

    /// Drains and returns, at most the drain timeout and three seconds later.
    pub async fn drain(self) {
        let shared = &self.control.shared;
        self.control.listeners.drain(shared).await;
        if shared.uncleared.lock().is_none() {
            // Lines and traces of the last exchanges; policies that hang keep nobody from ending.
            let _ = tokio::time::timeout(clearing::LAST_LINES, shared.clearing.settle()).await;
        }
    }
}

impl ProxyControl {
    /// Reads the files that a listener's settings name; binds nothing.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn prepare_listener(&self, config: &ListenerConfig) -> Result<PreparedListener, ProxyError> {
        Ok(PreparedListener { address: config.address.clone(), speech: listener::Speech::load(config)? })
    }

    /// Accepts from now on. A listener of the same configured address is closed. Must run in a runtime.
    pub fn listen(&self, prepared: PreparedListener, listener: TcpListener) {
        self.listeners.open(&self.shared, prepared.address, prepared.speech, listener);
    }

    /// Lets new connections of an open listener have the TLS and HTTP versions of `prepared`.
    pub fn change_listener(&self, prepared: PreparedListener) {
        self.listeners.change(&prepared.address, prepared.speech);
    }

    /// Stops accepting; the listener's connections end when their exchanges do.
    pub fn close_listener(&self, address: &str) {
        self.listeners.close(address);
    }

    /// Builds what a new configuration needs; traffic sees nothing of it.
    ///
    /// # Errors
    /// When a part of the configuration cannot be used; the sentence names it.
    pub fn prepare(&self, config: ProxyConfig) -> Result<Prepared, ProxyError> {
        self.shared.prepare(config).map(Prepared)
    }

    /// How it stands with the keys of tokens, where the configuration in force lets tokens in.
    pub fn jwks(&self) -> Option<JwksStatus> {
        self.shared.plan.load().authenticator.as_ref().and_then(|authenticator| authenticator.jwks())
    }

    /// The circuit breaker of every endpoint, in the order of the configuration.
    pub fn breakers(&self) -> Vec<BreakerStatus> {
        let now = Instant::now();
        let plan = self.shared.plan.load();
        let endpoints = plan.servers.iter().flat_map(|server| server.endpoints.iter().map(move |endpoint| (server, endpoint)));
        let status = |(server, endpoint): (&Arc<server::Server>, &Arc<endpoint::Endpoint>)| BreakerStatus {
            server: server.name.to_string(),
            endpoint: endpoint.authority.to_string(),
            state: endpoint.breaker.state(now).as_str(),
            forced: match endpoint.breaker.forced() {
                breaker::Forced::Open => Some("open"),
                breaker::Forced::Closed => Some("closed"),
                breaker::Forced::None => None,
            },
        };
        endpoints.map(status).collect()
    }

    /// Opens or closes circuit breakers by hand, or leaves them to themselves again: that of one endpoint, or all of a server's. It holds until
    /// it is taken back, also over reloads of the configuration, as long as these keep the server and the endpoint.
    ///
    /// # Errors
    /// When there is no such server or endpoint; nothing was changed.
    pub fn force_breaker(&self, server: &str, endpoint: Option<&str>, forced: Forced) -> Result<(), UnknownEndpoint> {
        let plan = self.shared.plan.load();
        let known = plan.servers.iter().find(|known| &*known.name == server);
        let endpoints = known.iter().flat_map(|known| &known.endpoints);
        let meant: Vec<_> = endpoints.filter(|known| endpoint.is_none_or(|endpoint| &*known.authority == endpoint)).collect();
        if meant.is_empty() {
            return Err(UnknownEndpoint);
        }
        for endpoint in meant {
            endpoint.breaker.force(match forced {
                Forced::Open => breaker::Forced::Open,
                Forced::Closed => breaker::Forced::Closed,
                Forced::Automatic => breaker::Forced::None,
            });
            endpoint.show_breaker(Instant::now());
        }
        Ok(())
    }

    /// Puts it into force for the exchanges that begin from now on.
    pub fn apply(&self, prepared: Prepared) {
        self.shared.apply(prepared.0);
    }
}
