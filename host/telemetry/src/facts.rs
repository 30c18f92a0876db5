//! Everything the product can say about itself: one struct a fact, given to [`Telemetry::emit`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub use crate::error_type::ErrorType;
use crate::server::ServerMetrics;
use crate::telemetry::Telemetry;
use crate::trace::{SpanId, TraceFinished, TraceId};
use crate::words::{ConfigReload, ConnectionRefusal, GuardRefusal, InvalidTraceContext, UpstreamCause};

mod sealed {
    pub trait Sealed {}
}

/// Something that happened. Only this room defines facts.
pub trait Fact: sealed::Sealed {
    /// Counts it where it belongs.
    #[doc(hidden)]
    fn record(self, telemetry: &Telemetry);
}

macro_rules! facts {
    ($($fact:ty => |$this:ident, $telemetry:ident| $record:expr;)*) => {
        $(
            impl sealed::Sealed for $fact {}
            impl Fact for $fact {
                fn record(self, telemetry: &Telemetry) {
                    let ($this, $telemetry) = (self, telemetry);
                    $record
                }
            }
        )*
    };
}

/// The HTTP methods an MCP endpoint knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpMethod {
    /// `GET`: a legacy event stream.
    Get,
    /// `POST`: messages.
    Post,
    /// `DELETE`: the end of a legacy session.
    Delete,
    /// `OPTIONS`.
    Options,
    /// Any other.
    Other,
}

impl HttpMethod {
    /// Every method, in the order of declaration.
    pub const ALL: [Self; 5] = [Self::Get, Self::Post, Self::Delete, Self::Options, Self::Other];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => crate::intern::OTHER,
        }
    }
}

impl From<&str> for HttpMethod {
    fn from(method: &str) -> Self {
        Self::ALL[..4].iter().copied().find(|known| known.as_str() == method).unwrap_or(Self::Other)
    }
}

/// What a name in a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource, by its URI: never a label, never in the access line.
    Resource,
}

impl NameKind {
    /// The word in the access line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
        }
    }
}

/// An HTTP exchange ended. Feeds `watchgate_http_*`, `watchgate_client_requests_total` and the access line.
pub struct ExchangeFinished<'a> {
    /// The server it was routed to.
    pub server: &'a ServerMetrics,
    /// The request's method.
    pub http_method: HttpMethod,
    /// The status sent to the client; 0 when it left before a head was sent.
    pub status: u16,
    /// How it ended: one of the design's outcomes.
    pub outcome: &'static str,
    /// When the request's head had arrived.
    pub started: SystemTime,
    /// From then to the last byte of the answer.
    pub duration: Duration,
    /// The part spent waiting for the upstream server; what a slow client makes it wait is not in it.
    pub upstream: Duration,
    /// The part spent in plugins.
    pub plugins: Duration,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the response body.
    pub response_bytes: u64,
    /// What only the access line says, but for `client_name`, by which exchanges are also counted.
    pub line: AccessLine,
}

/// Long by design: it lasts until somebody ends it.
pub(crate) const LISTEN: &str = "subscriptions/listen";

impl ExchangeFinished<'_> {
    /// Whether it lasts until somebody ends it: a `GET` (the streams of legacy sessions), or `subscriptions/listen`.
    pub(crate) fn is_stream(&self) -> bool {
        self.http_method == HttpMethod::Get || self.line.mcp_method == Some(LISTEN)
    }
}

/// The fields of the access line that are not in [`ExchangeFinished`]; absent ones are left out of it.
#[derive(Clone, Debug, Default)]
pub struct AccessLine {
    /// The method of the first message; `None` when there is none or the specification does not define it.
    pub mcp_method: Option<&'static str>,
    /// The tool or prompt as the client wrote it; the line says `_other` unless it is known.
    pub name: Option<Box<str>>,
    /// What `name` names.
    pub name_kind: Option<NameKind>,
    /// The code of a JSON-RPC error in the answer.
    pub rpc_error_code: Option<i64>,
    /// A hash of the session's id, never the id: it is a credential.
    pub session: Option<[u8; 8]>,
    /// The MCP revision in use.
    pub protocol_version: Option<&'static str>,
    /// The id that the client got in the gateway's own error.
    pub error_id: Option<Box<str>>,
    /// Whose fault an error is: `client`, `upstream`, `plugin` or `gateway`.
    pub fault: Option<&'static str>,
    /// Why the gate did not let the client in: a word of [`crate::AuthResult`].
    pub auth_result: Option<&'static str>,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// `X-Request-ID` as received; the line holds its first 128 bytes.
    pub request_id: Option<Box<str>>,
    /// How many JSON-RPC requests and notifications the exchange carried.
    pub operations: u32,
    /// The name of the client's key, or of its token, which begins with `jwt:`; never the key. The line holds its first 128 bytes.
    pub client_name: Option<Arc<str>>,
    /// The authority of the endpoint that was chosen, where the server has several.
    pub endpoint: Option<Arc<str>>,
    /// How often the request was tried; left out of the line unless more than once.
    pub attempts: u32,
    /// Why the last try brought no answer, or not all of it.
    pub cause: Option<UpstreamCause>,
    /// The trace of the exchange.
    pub trace_id: Option<TraceId>,
    /// The span of the exchange.
    pub span_id: Option<SpanId>,
    /// Whether the trace is kept or exported, where that is known.
    pub sampled: Option<bool>,
    /// The part of `upstream` spent opening a connection; zero when one was open.
    pub connect: Duration,
    /// The part of the duration spent waiting for the request's body.
    pub read: Duration,
    /// The part of it spent passing the answer on, waiting for a client that is slow to take it included.
    pub write: Duration,
}

/// A JSON-RPC request or notification, in either direction, ended. Feeds the `mcp_*` metrics and those of tools.
pub struct OperationFinished<'a> {
    /// The server it belongs to.
    pub server: &'a ServerMetrics,
    /// Whether the client sent it.
    pub from_client: bool,
    /// A method of the specification; `None` is counted as `_other`.
    pub method: Option<&'static str>,
    /// The tool or prompt it names, as sent; `_other` unless [`ServerMetrics::learn`]ed.
    pub name: Option<&'a str>,
    /// What the method names, also when `name` is absent.
    pub name_kind: Option<NameKind>,
    /// How it ended: one of the design's outcomes.
    pub outcome: &'static str,
    /// Why it failed, if it did.
    pub error_type: Option<ErrorType>,
    /// The MCP revision in use.
    pub protocol_version: Option<&'static str>,
    /// From its arrival to the last byte of its answer.
    pub duration: Duration,
    /// The part spent waiting for the upstream server; zero when it was not asked.
    pub upstream: Duration,
    /// The part spent in the gateway itself, upstream and plugin time excluded; `None` where that cannot be told.
    pub overhead: Option<Duration>,
    /// Bytes of the request or notification.
    pub request_bytes: u64,
    /// Bytes of its answer; 0 when there was none.
    pub response_bytes: u64,
}

/// A client said who it is: its `initialize` or `server/discover` was answered.
pub struct ClientIntroduced<'a> {
    /// The MCP revision that was agreed on.
    pub protocol_version: Option<&'static str>,
    /// The name in its `clientInfo`, as sent.
    pub name: Option<&'a str>,
    /// When.
    pub at: Instant,
}

/// A connection to the upstream server was opened, or could not be.
pub struct UpstreamConnected<'a> {
    /// The server.
    pub server: &'a ServerMetrics,
    /// How long that took.
    pub duration: Duration,
    /// Whether there is a connection.
    pub ok: bool,
}

/// A client connection was ended before there was an exchange.
pub struct ConnectionRefused {
    /// Why.
    pub reason: ConnectionRefusal,
}

/// A request was refused by the allow-lists for `Host` and `Origin`.
pub struct GuardRefused {
    /// Which of them.
    pub reason: GuardRefusal,
}

/// The configuration was read again.
pub struct ConfigReloadFinished {
    /// What came of it.
    pub result: ConfigReload,
}

/// How it stands with the keys that tokens of clients are verified with.
pub struct JwksInUse {
    /// How many there are, and when they were last loaded; `None` where no tokens are configured.
    pub keys: Option<(usize, Option<SystemTime>)>,
}

/// A probe told whether the server works. Counts only for servers that have handles, see [`Telemetry::server`]: a probe may end
/// after its server was retired.
pub struct ServerUp<'a> {
    /// The server's configured name.
    pub server: &'a str,
    /// Whether it works.
    pub up: bool,
}

/// The reload pipeline ended for a plugin file.
pub struct ReloadFinished<'a> {
    /// The plugin's name; no label, because the states of a plugin stand in `watchgate_plugin_state`.
    pub plugin: &'a str,
    /// `live`, `refused` or `removed`.
    pub result: &'static str,
    /// The reason code of a refusal.
    pub reason: Option<&'static str>,
    /// From the file being seen to the end.
    pub duration: Duration,
}

/// Trace context from a client was left out. Every reason of an [`crate::InvalidContexts`] is a fact of its own. Counted, and said in the own log.
pub struct TraceContextInvalid<'a> {
    /// Why.
    pub reason: InvalidTraceContext,
    /// The configured name of the server that the request is for.
    pub server: &'a str,
    /// The client's address.
    pub client: IpAddr,
}

/// A piece of telemetry was lost.
pub struct TelemetryDropped {
    /// Which kind: `access_log`, `operations` ...
    pub signal: &'static str,
    /// Why: `queue_full`, `redaction` ...
    pub reason: &'static str,
}

/// A health check ran.
pub struct HealthCheckFinished<'a> {
    /// Its name.
    pub check: &'a str,
    /// `ok`, `degraded`, `failing` or `unknown`.
    pub status: &'static str,
    /// How long it ran.
    pub duration: Duration,
}

/// How many alerts of a severity are firing.
pub struct AlertsFiring<'a> {
    /// The severity named in the rules.
    pub severity: &'a str,
    /// How many; 0 clears it.
    pub count: usize,
}

/// An alert plugin was asked to notify.
pub struct AlertDelivered<'a> {
    /// The plugin's name.
    pub action: &'a str,
    /// `delivered`, `failed` ...
    pub result: &'static str,
}

facts! {
    ExchangeFinished<'_> => |fact, telemetry| telemetry.exchange_finished(fact);
    OperationFinished<'_> => |fact, _telemetry| fact.server.operation_finished(&fact);
    ClientIntroduced<'_> => |fact, telemetry| telemetry.client_introduced(&fact);
    UpstreamConnected<'_> => |fact, _telemetry| fact.server.upstream_connected(fact.duration, fact.ok);
    ConnectionRefused => |fact, telemetry| telemetry.refusals().connections.count(fact.reason);
    GuardRefused => |fact, telemetry| telemetry.refusals().guard.count(fact.reason);
    JwksInUse => |fact, telemetry| telemetry.jwks_in_use(&fact);
    ConfigReloadFinished => |fact, telemetry| telemetry.config_reload_finished(&fact);
    ServerUp<'_> => |fact, telemetry| telemetry.server_up(&fact);
    ReloadFinished<'_> => |fact, telemetry| telemetry.reload_finished(&fact);
    TelemetryDropped => |fact, telemetry| telemetry.families().telemetry_dropped.with(&[fact.signal, fact.reason]).inc();
    TraceFinished => |fact, telemetry| telemetry.trace_finished(fact.0);
    TraceContextInvalid<'_> => |fact, telemetry| telemetry.traces.context_invalid(&fact);
    HealthCheckFinished<'_> => |fact, telemetry| telemetry.health_check_finished(&fact);
    AlertsFiring<'_> => |fact, telemetry| telemetry.alerts_firing(&fact);
    AlertDelivered<'_> => |fact, telemetry| telemetry.alert_delivered(&fact);
}
