//! Bytes in, bytes out: accepts client connections, routes each request to a server, shows messages to the redaction
//! policies that are live, relays the answer, and says what happened. The steps are in [`life`]; what they share is in
//! `server`.
//!
//! It knows the live set of plugins only through `watchgate-hooks`: neither wasmtime nor files.

mod answer;
mod body;
mod calls;
mod config;
mod error_id;
mod event_redaction;
mod events;
mod exchange;
mod fault;
mod forward;
mod headers;
mod life;
mod line_facts;
mod listener;
mod operation;
mod patience;
mod pending;
mod pool;
mod read;
mod redact;
mod refusal;
mod relay;
mod route;
mod scan;
mod server;
mod timing;
mod upstream_body;
mod upstream_connection;

use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use watchgate_hooks::{LiveHooks, UpstreamCalls};
use watchgate_telemetry::Telemetry;

pub use config::{Limits, Mount, ProxyConfig, ServerConfig, Timeouts};

/// The proxy: built once, then served on a listener that the caller has bound.
pub struct Proxy {
    shared: Arc<server::Shared>,
}

/// Why a proxy could not be built. Always the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A server's authority cannot stand in a `Host` header.
    #[error("the host of a server is not legal in a Host header: {0}")]
    Authority(#[from] http::header::InvalidHeaderValue),
}

impl Proxy {
    /// Builds the servers' pools and metric handles; opens nothing.
    ///
    /// # Errors
    /// When a server's authority is not a legal header value.
    pub fn new(config: ProxyConfig, hooks: Arc<LiveHooks>, telemetry: Arc<Telemetry>) -> Result<Self, ProxyError> {
        Ok(Self { shared: Arc::new(server::Shared::new(config, hooks, telemetry)?) })
    }

    /// How health probes and plugins reach the servers.
    pub fn upstream_calls(&self) -> Arc<dyn UpstreamCalls> {
        Arc::new(calls::Calls(self.shared.clone()))
    }

    /// Serves until `shutdown` resolves, then drains and returns (at most the drain timeout and a second later).
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        listener::run(self.shared, listener, shutdown).await;
    }
}
