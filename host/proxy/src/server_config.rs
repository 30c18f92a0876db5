//! One server's settings, already checked: where it is, what it is told, what it may be asked for.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

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
    /// Whether the gateway asks it anything of its own to see whether it is up. Off, nothing is sent to it but what clients ask.
    pub probe: bool,
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
    /// How long to wait, by and large, before an endpoint is asked again that was tried already; doubles each time, up to a second. Zero never asks it
    /// again.
    pub backoff: Duration,
    /// Retries in relation to requests (0 to 1), over the last ten seconds.
    pub budget: f64,
    /// Retries a second that are allowed whatever the budget says.
    pub min_per_second: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        // A server without others is given about half a second to be back from a restart.
        Self { max: 4, backoff: Duration::from_millis(50), budget: 0.2, min_per_second: 10 }
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
            probe: true,
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
