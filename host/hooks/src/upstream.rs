//! Plain bytes to a configured server: how health probes and plugins reach upstreams without knowing the proxy.

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
