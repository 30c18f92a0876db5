//! Plain bytes to a configured server: how health probes and plugins reach upstreams without knowing the proxy.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::policy::BoxFuture;

/// One small HTTP request to a configured server's MCP endpoint.
#[derive(Clone, Debug)]
pub struct UpstreamRequest {
    /// `POST`, `GET` or `DELETE`.
    pub method: &'static str,
    /// Header names (lower case) and values, besides `host` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// The body; empty for GET and DELETE.
    pub body: Bytes,
    /// JSON-RPC id (as JSON text) whose answer is awaited: an event stream is read only until an event holds the answer. `None`: only the
    /// head of the answer matters.
    pub awaited_id: Option<String>,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct UpstreamResponse {
    /// HTTP status.
    pub status: u16,
    /// Header names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// The JSON document, or for an event stream the data of the event that holds the answer; empty when none was awaited. At most 4 MiB.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum UpstreamCallError {
    /// No server of that name is configured.
    #[error("no server named `{0}` is configured")]
    UnknownServer(String),
    /// It could not be connected to, or the connection broke.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The deadline passed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer was over 4 MiB.
    #[error("the answer is larger than 4 MiB")]
    TooLarge,
    /// The answer was not HTTP, or the stream ended without the awaited answer.
    #[error("protocol: {0}")]
    Protocol(String),
}

/// Reaches configured servers. Implemented by the proxy.
pub trait UpstreamCalls: Send + Sync {
    /// The names of the configured servers.
    fn servers(&self) -> Vec<String>;
    /// Opens a TCP connection and closes it again.
    fn connect<'a>(&'a self, server: &'a str, deadline: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>>;
    /// Sends one request to the server's MCP endpoint.
    fn send<'a>(
        &'a self,
        server: &'a str,
        request: UpstreamRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>>;
}

/// Reaches each endpoint of a configured server by itself, for whoever asks how it is. Implemented by the proxy.
pub trait UpstreamEndpoints: Send + Sync {
    /// Those of a server, in the order of the configuration. None for a server that is not configured.
    fn endpoints(&self, server: &str) -> Vec<Arc<dyn UpstreamEndpoint>>;
}

/// One endpoint of a server. What is asked through it goes there, whatever its circuit breaker says and however it is balanced, and counts for
/// neither: only [`UpstreamEndpoint::note_probe`] does.
pub trait UpstreamEndpoint: UpstreamCalls {
    /// Its authority, as in logs and labels.
    fn authority(&self) -> &str;
    /// Whether clients' requests are kept from it now, and by whom.
    fn kept_from(&self) -> KeptFrom;
    /// Whether it answered when it was probed, in whatever way: one that does not is passed over while there are others.
    fn note_probe(&self, answered: bool);
}

/// What stands between clients and an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptFrom {
    /// Nothing.
    Nobody,
    /// Its circuit breaker is open.
    ByBreaker,
    /// An operator has opened its circuit breaker by hand.
    ByHand,
}
