//! The proxy's settings, already checked: what the gateway binary hands over, at the start and at every reload.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use watchgate_mcp::trace_meta::MetaTrace;

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
}

/// What servers are told of the trace that an exchange is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Propagation {
    /// Whether `traceparent` and `tracestate` name the gateway's own span. Off, they pass as the client sent them.
    pub headers: bool,
    /// What becomes of `params._meta.traceparent` of a request; `None` leaves it as it is.
    pub meta: Option<MetaTrace>,
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

/// TLS towards a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct UpstreamTls {
    /// PEM: authorities to trust in place of the public ones.
    pub ca: Option<PathBuf>,
    /// PEM: the client certificate and its private key to show (mTLS).
    pub client: Option<ClientIdentity>,
    /// The name to ask for and to verify, in place of the endpoint's host.
    pub server_name: Option<String>,
}

/// A client certificate for a server that wants one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientIdentity {
    /// PEM: the certificate, then its chain.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// One MCP server: one or more endpoints that are the same to clients.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Its name in labels, logs and mounts.
    pub name: String,
    /// Where it can be reached. At least one.
    pub endpoints: Vec<EndpointConfig>,
    /// Path of the configured URL as written: empty, or beginning with `/`; the same for all endpoints. For a mounted server it replaces the mount; for the
    /// only, unmounted server it says where the MCP endpoint is that probes use.
    pub path: String,
    /// Where clients see it.
    pub mount: Mount,
    /// HTTP towards it.
    pub http2: bool,
    /// Used by endpoints with `https`.
    pub tls: UpstreamTls,
    /// Which `Host` it is sent.
    pub host: HostHeader,
    /// What it is told of the client's address, scheme and host.
    pub forwarded: Forwarded,
    /// The URL under which clients know it, such as `https://mcp.example.com/weather`; with it, `resource` and `resource_metadata` of OAuth are rewritten.
    pub public_url: Option<String>,
    /// Deadlines.
    pub timeouts: ServerTimeouts,
    /// Bounds.
    pub limits: ServerLimits,
    /// When its endpoints are left alone.
    pub breaker: BreakerConfig,
    /// When one of several endpoints is passed over.
    pub ejection: EjectionConfig,
    /// How long a new or returned endpoint takes to get its full share. Zero gives it at once.
    pub slow_start: Duration,
    /// How often a request that never left is tried again.
    pub retry: RetryConfig,
}

/// One address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointConfig {
    /// Host name or address as written in a `Host` header, with the port unless it is the scheme's own.
    pub authority: String,
    /// Host name or address without brackets, for the connection.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether its URL is `https`.
    pub tls: bool,
}

/// Where clients see a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// Every path goes to the server and is kept.
    Root,
    /// Paths below `/NAME/` go to the server, with `/NAME` replaced by the path of its URL.
    Prefix,
    /// Requests for these hosts (lower case, without port) go to the server, with their path kept.
    Hosts(Vec<String>),
}

/// Which `Host` a server is sent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum HostHeader {
    /// The client's own where the server is cleartext, since servers check it against DNS rebinding; the endpoint's over TLS, where it chooses the site.
    #[default]
    Auto,
    /// The client's own.
    Preserve,
    /// The endpoint's.
    Upstream,
    /// This one.
    Fixed(String),
}

/// What a server is told of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Forwarded {
    /// Nothing is added, and what the client said of it passes.
    #[default]
    Off,
    /// `X-Forwarded-For`, `-Proto`, `-Host`, and `-Prefix` for a mounted server.
    XForwarded,
    /// `Forwarded` of RFC 7239.
    Forwarded,
    /// Both.
    Both,
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
    /// How often keys are fetched or read again.
    pub refresh: Duration,
}

/// A set of JSON Web Keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// Read again when it changes.
    File(PathBuf),
    /// `http` or `https`.
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

/// Deadlines of one exchange with a server. A stream has no deadline as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// Opening a connection, TLS included.
    pub connect: Duration,
    /// From the request being sent to the head of the answer.
    pub head: Duration,
    /// Between two pieces of an answer that is not an event stream.
    pub idle: Duration,
    /// Between two pieces of an event stream. Servers send keep-alives every 15 s or so, but need not.
    pub stream_idle: Duration,
    /// How long an unused connection is kept.
    pub pool_idle: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            // The Python SDK reads for at most 300 s: waiting longer would serve nobody.
            head: Duration::from_secs(300),
            idle: Duration::from_secs(300),
            stream_idle: Duration::from_secs(3600),
            pool_idle: Duration::from_secs(90),
        }
    }
}

/// Bounds on what is held in memory for client connections and the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once, over all listeners; further ones wait in the listen queue.
    pub connections: usize,
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            headers: 200,
            header_bytes: 64 << 10,
            http2_streams: 200,
            pending_operations: 10_000,
            sessions: 100_000,
        }
    }
}

/// Bounds on the use of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerLimits {
    /// Bytes of a request body, and of an answer or an event that a redaction policy must see whole, also once it is decoded.
    pub message: usize,
    /// Exchanges at once, event streams not counted; more are answered 503.
    pub concurrency: Option<u32>,
    /// Requests by client; more are answered 429.
    pub rate: Option<RateLimit>,
    /// Event streams at once of one client address; more are answered 429.
    pub streams_per_client: Option<u32>,
    /// Unused connections kept for each endpoint.
    pub idle_connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { message: 16 << 20, concurrency: None, rate: None, streams_per_client: None, idle_connections: 256 }
    }
}

/// A token bucket for each client.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimit {
    /// Requests a second on average; above 0, also below 1.
    pub per_second: f64,
    /// Requests at once after a rest; at least 1.
    pub burst: u32,
    /// What tells clients apart.
    pub by: RateKey,
}

/// What tells clients apart for a rate limit. A request that lacks it counts by address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// The client's address; of an IPv6 address the first 64 bits.
    Address,
    /// The value of a header.
    Header(HeaderName),
    /// `Mcp-Session-Id`.
    Session,
    /// The name that its key or token is bound to.
    Client,
}

/// When an endpoint is left alone for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerConfig {
    /// Off keeps it closed whatever happens; it can still be opened by hand.
    pub enabled: bool,
    /// Opens when at least this share (0 to 1) of the exchanges in `window` failed.
    pub error_share: f64,
    /// But not before so many exchanges were seen in `window`.
    pub min_requests: u32,
    /// What is looked back on.
    pub window: Duration,
    /// Opens also after so many failed connects in a row.
    pub connect_failures: u32,
    /// How long it is open before one trial exchange is let through; doubles up to ten times that while trials fail.
    pub open: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            error_share: 0.5,
            min_requests: 20,
            window: Duration::from_secs(10),
            connect_failures: 5,
            open: Duration::from_secs(5),
        }
    }
}

/// When one of several endpoints is passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct EjectionConfig {
    /// Failures in a row after which it is.
    pub consecutive_failures: u32,
    /// For how long the first time; each further time adds the same again, up to ten times.
    pub base: Duration,
    /// At most this share (0 to 1) of a server's endpoints at once; at least one endpoint always stays.
    pub max_share: f64,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self { consecutive_failures: 5, base: Duration::from_secs(10), max_share: 0.5 }
    }
}

/// How often a request that never left is tried again. One that may have been seen by a server never is.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// Tries beyond the first, each on another endpoint where there is one.
    pub max: u32,
    /// Retries in relation to requests (0 to 1), over the last ten seconds.
    pub budget: f64,
    /// Retries a second that are allowed whatever the budget says.
    pub min_per_second: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        // More than the failures after which an endpoint is passed over: where there is little traffic, one that goes away costs no call.
        Self { max: 2, budget: 0.2, min_per_second: 10 }
    }
}

impl ServerConfig {
    /// A server with one endpoint and every default.
    pub fn new(name: &str, endpoint: EndpointConfig, path: &str, mount: Mount) -> Self {
        Self {
            name: name.to_owned(),
            endpoints: vec![endpoint],
            path: path.to_owned(),
            mount,
            http2: false,
            tls: UpstreamTls::default(),
            host: HostHeader::default(),
            forwarded: Forwarded::default(),
            public_url: None,
            timeouts: ServerTimeouts::default(),
            limits: ServerLimits::default(),
            breaker: BreakerConfig::default(),
            ejection: EjectionConfig::default(),
            slow_start: Duration::from_secs(10),
            retry: RetryConfig::default(),
        }
    }

    /// The path of the MCP endpoint, for requests of the gateway's own.
    pub fn endpoint_path(&self) -> &str {
        if matches!(self.path.as_str(), "" | "/") { "/mcp" } else { &self.path }
    }
}

impl EndpointConfig {
    /// A cleartext endpoint.
    pub fn http(address: IpAddr, port: u16) -> Self {
        let host = address.to_string();
        let authority = if address.is_ipv6() { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Self { authority, host, port, tls: false }
    }
}
