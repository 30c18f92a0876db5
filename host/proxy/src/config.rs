//! The proxy's settings, already checked: what the gateway binary hands over, at the start and at every reload.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use watchgate_mcp::trace_meta::MetaTrace;

use crate::server_config::ServerConfig;

/// Everything the proxy is told. Two that are equal behave the same, so a reload keeps every part that did not change.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyConfig {
    /// The servers, in the order of the configuration. At least one.
    pub servers: Vec<ServerConfig>,
    /// Deadlines that belong to client connections or to the process.
    pub timeouts: Timeouts,
    /// Bounds that belong to client connections or to the process.
    pub limits: Limits,
    /// How the address of a client is known, and what servers are told of it.
    pub clients: ClientAddresses,
    /// Who may ask at all.
    pub guard: GuardConfig,
    /// Whom the gateway lets in; `None` leaves that to the servers.
    pub auth: Option<AuthConfig>,
    /// What servers are told of traces.
    pub propagation: Propagation,
    /// Whether redaction policies may come while it runs. Then answers are asked for uncompressed from the start, so that a policy that
    /// goes live can read those already under way.
    pub expects_policies: bool,
    /// Whether names of header fields pass over HTTP/1.1 in the case in which they were written, and not in lower case. For connections that are opened
    /// from then on.
    pub preserves_header_case: bool,
}

/// What servers are told of the trace that an exchange is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Propagation {
    /// Whether `traceparent` and `tracestate` name the gateway's own span. Off, they pass as the client sent them.
    pub headers: bool,
    /// What becomes of `params._meta.traceparent` of a request; `None` leaves it as it is.
    pub meta: Option<MetaTrace>,
    /// Whether a request without `X-Request-ID` gets one, and every answer tells it.
    pub request_ids: bool,
}

/// One address that takes client traffic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenerConfig {
    /// `HOST:PORT` as configured; port 0 takes a free one. Listeners are told apart by it.
    pub address: String,
    /// TLS; `None` serves cleartext.
    pub tls: Option<ServerTls>,
    /// Whether HTTP/2 is spoken: by ALPN with TLS, by prior knowledge without.
    pub http2: bool,
}

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// PEM: the certificate, then its chain. Read again when it changes.
    pub certificate: PathBuf,
    /// PEM: its private key. Read again when it changes.
    pub key: PathBuf,
    /// PEM: authorities of client certificates. With it, a client without a certificate of theirs is not let in.
    pub client_ca: Option<PathBuf>,
}

/// How the address of a client is known.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClientAddresses {
    /// Proxies in front of the gateway that append to `X-Forwarded-For` (or `Forwarded`). 0: only the connection's own address counts, and what a
    /// client says about itself is thrown away where the gateway tells its own.
    pub trusted_hops: u8,
}

/// Who may ask at all: the defence against DNS rebinding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// Values of `Host` that are let in, lower case, without port, `*.` for one label or more; `None` lets every one in.
    pub hosts: Option<Vec<String>>,
    /// Values of `Origin` that are let in (`https://app.example.com`, `*`) beside the origin of the requested host itself; requests without `Origin`
    /// always are. `None` lets every one in.
    pub origins: Option<Vec<String>>,
}

impl GuardConfig {
    /// Lets everybody in; for a gateway that other machines reach by names it does not know.
    pub const OPEN: Self = Self { hosts: None, origins: None };

    /// For a listener on loopback: only pages and names of this machine.
    pub fn loopback() -> Self {
        let names = ["localhost", "127.0.0.1", "[::1]"];
        Self {
            hosts: Some(names.map(str::to_owned).to_vec()),
            origins: Some(names.iter().flat_map(|name| ["http", "https"].map(|scheme| format!("{scheme}://{name}"))).collect()),
        }
    }
}

/// Whom the gateway lets in. A request passes when one of the ways accepts it.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthConfig {
    /// Bearer keys, each bound to a name.
    pub keys: Vec<ClientKey>,
    /// JSON Web Tokens.
    pub jwt: Option<JwtConfig>,
    /// Whether `Authorization` goes on to the server. Off where the key is the gateway's own.
    pub pass_authorization: bool,
}

/// One bearer key. The key itself is in no log, label or `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// What it is called in logs and metrics.
    pub name: String,
    /// SHA-256 of the key.
    pub digest: [u8; 32],
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ClientKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// JSON Web Tokens that are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// Where the keys are.
    pub jwks: JwksSource,
    /// Accepted values of `iss`.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`.
    pub audiences: Vec<String>,
    /// The claim whose value names the client in logs and metrics.
    pub name_claim: String,
    /// Tolerance for clocks that differ.
    pub leeway: Duration,
    /// How often keys are fetched again.
    pub refresh: Duration,
    /// Who gives clients their tokens (issuers of RFC 8414): the gateway says so of servers with a public URL. Where there are none, servers say it
    /// themselves.
    pub authorization_servers: Vec<String>,
}

/// A set of JSON Web Keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A file as it was when the configuration was read; another content is another configuration.
    File {
        /// Where it is.
        path: PathBuf,
        /// What is in it. Public keys, no secret.
        content: Bytes,
    },
    /// `http` or `https`. Fetched again and again.
    Url(String),
}

/// Deadlines that belong to client connections or to the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Between two requests of a client's connection, and for the head of each; also for the TLS handshake.
    pub client_head: Duration,
    /// Between two pieces of a request body.
    pub client_body: Duration,
    /// After SIGTERM readiness is red and everything else as before for this long, so that balancers notice.
    pub drain_delay: Duration,
    /// How long running exchanges may take to finish on shutdown; streams are ended when it is over.
    pub drain: Duration,
    /// How long an operation whose answer may come on a later stream is remembered.
    pub pending: Duration,
    /// How long a session without traffic is counted as active.
    pub session_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            client_head: Duration::from_secs(75),
            client_body: Duration::from_secs(300),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(10),
            pending: Duration::from_secs(300),
            session_idle: Duration::from_secs(3600),
        }
    }
}

/// Bounds on what is held in memory for client connections and the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once, over all listeners. Further ones wait, and those on which nothing is asked are ended for them.
    pub connections: usize,
    /// Of these, those that come from one address; further ones are closed. `None` leaves it at the bound on all.
    pub connections_per_client: Option<u32>,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Exchanges at once on one HTTP/2 connection.
    pub http2_streams: u32,
    /// Operations whose answer may come on a later stream; the oldest end as `aborted`.
    pub pending_operations: usize,
    /// Sessions that are followed; the one idle longest is forgotten.
    pub sessions: usize,
    /// Bytes of messages that are held whole at once, those up to 64 KiB not counted; of one client address a quarter. More are answered 503.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_client: None,
            headers: 200,
            header_bytes: 64 << 10,
            http2_streams: 200,
            pending_operations: 10_000,
            sessions: 100_000,
            held_bytes: 1 << 30,
        }
    }
}
