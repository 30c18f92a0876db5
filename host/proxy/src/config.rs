//! The proxy's settings, already checked: what the gateway binary hands over.

use std::time::Duration;

/// Everything the proxy is told.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The servers, in the order of the configuration. At least one.
    pub servers: Vec<ServerConfig>,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Bounds.
    pub limits: Limits,
    /// Whether redaction policies may come while it runs. Then answers are asked for uncompressed from the start, so that a policy that
    /// goes live can read those already under way.
    pub expects_policies: bool,
}

/// One MCP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its name in labels, logs and mounts.
    pub name: String,
    /// Host name or address as written in a `Host` header, with the port unless it is 80.
    pub authority: String,
    /// Host name or address without brackets, for the connection.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path of the configured URL as written: empty, or beginning with `/`. For a mounted server it replaces the mount; for the
    /// only, unmounted server it says where the MCP endpoint is that probes use.
    pub path: String,
    /// Where clients see it.
    pub mount: Mount,
}

/// Where clients see a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Every path goes to the server and is kept.
    Root,
    /// Paths below `/NAME/` go to the server, with `/NAME` replaced by the path of its URL.
    Prefix,
}

impl ServerConfig {
    /// The path of the MCP endpoint, for requests of the gateway's own.
    pub fn endpoint(&self) -> &str {
        if matches!(self.path.as_str(), "" | "/") { "/mcp" } else { &self.path }
    }
}

/// Deadlines of one exchange. A stream has no deadline as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Opening a connection to a server.
    pub connect: Duration,
    /// From the request being sent to the head of the answer.
    pub head: Duration,
    /// Between two pieces of a request body, or of an answer that is not an event stream.
    pub idle: Duration,
    /// Between two pieces of an event stream. Servers send keep-alives every 15 s or so, but need not.
    pub stream_idle: Duration,
    /// Between two requests of a client's connection, and for the head of each.
    pub client_head: Duration,
    /// How long an unused connection to a server is kept.
    pub pool_idle: Duration,
    /// How long running exchanges may take to finish on shutdown; streams are ended when it is over.
    pub drain: Duration,
    /// How long an operation whose answer may come on a later stream is remembered.
    pub pending: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            // The Python SDK reads for at most 300 s: waiting longer would serve nobody.
            head: Duration::from_secs(300),
            idle: Duration::from_secs(300),
            stream_idle: Duration::from_secs(3600),
            client_head: Duration::from_secs(75),
            pool_idle: Duration::from_secs(90),
            drain: Duration::from_secs(10),
            pending: Duration::from_secs(300),
        }
    }
}

/// Bounds on what is held in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body, and of an answer or an event that a redaction policy must see whole.
    pub message: usize,
    /// Client connections at once; further ones wait in the listen queue.
    pub connections: usize,
    /// Unused connections kept for each server.
    pub idle_connections: usize,
    /// Operations whose answer may come on a later stream; the oldest end as `aborted`.
    pub pending_operations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message: 16 << 20, connections: 10_000, idle_connections: 256, pending_operations: 10_000 }
    }
}
