//! The four plugin kinds as traits. The sandbox implements them for Wasm components; tests implement them by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use watchgate_mcp::{ContentCounts, Direction};

use crate::failure::HookFailure;
use crate::interest::Interest;
use crate::message::{Message, Reply};

/// A boxed future, because policies are trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Decides about messages before they go on. Failing is denying.
pub trait RedactionPolicy: Send + Sync {
    /// The plugin's name.
    fn name(&self) -> &str;
    /// What it declared in `start`.
    fn interest(&self) -> &Interest;
    /// Looks at one message. Deadlines are the implementation's own.
    fn redact(&self, message: Message) -> BoxFuture<'_, Result<Reply, HookFailure>>;
    /// A reply broke the contract in a way that only the chain can see. What made it may be in any state: an implementation that keeps
    /// state between calls begins anew. Returns at once.
    fn distrust(&self) {}
}

/// One finished operation, after redaction.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The configured name of the server.
    pub server: Arc<str>,
    /// Who sent the request or notification.
    pub direction: Direction,
    /// As sent, cut at 128 bytes.
    pub method: Box<str>,
    /// Tool, prompt, URI or task, cut at 256 bytes.
    pub name: Option<Box<str>>,
    /// One of `watchgate_mcp::Outcome`.
    pub outcome: watchgate_mcp::Outcome,
    /// JSON-RPC error code of the answer.
    pub error_code: Option<i64>,
    /// Arrival to last byte.
    pub duration: Duration,
    /// Waiting for the server.
    pub upstream: Duration,
    /// Bytes of the request message.
    pub request_bytes: u64,
    /// Bytes of the response message.
    pub response_bytes: u64,
    /// Bytes of `params.arguments`.
    pub argument_bytes: u64,
    /// Bytes of `result`.
    pub result_bytes: u64,
    /// Content blocks of the result by type.
    pub content: ContentCounts,
    /// Negotiated protocol version.
    pub protocol_version: Option<Box<str>>,
    /// First 64 KiB of the request, where texts are kept.
    pub request_text: Option<Bytes>,
    /// First 64 KiB of the response, likewise.
    pub response_text: Option<Bytes>,
}

/// Derives metrics from operations. Failing is counted.
pub trait MetricDerivation: Send + Sync {
    /// The plugin's name.
    fn name(&self) -> &str;
    /// Whether it declared `keep-text`.
    fn keeps_text(&self) -> bool;
    /// How often `collect` wants to be called; `None` when the plugin has no `collection` interface.
    fn collect_interval(&self) -> Option<Duration>;
    /// Sees one operation. Never called twice at once.
    fn observe(&self, operation: Operation) -> BoxFuture<'_, Result<(), HookFailure>>;
    /// The timer. Never called during `observe`.
    fn collect(&self) -> BoxFuture<'_, Result<(), HookFailure>>;
}

/// How well a check found things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HealthStatus {
    /// As it should be.
    Ok,
    /// Somebody should look.
    Degraded,
    /// It does not work.
    Failing,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// How well.
    pub status: HealthStatus,
    /// One sentence, at most 1 KiB.
    pub detail: String,
}

/// Checks something on a schedule. Failing makes the check unknown.
pub trait HealthCheck: Send + Sync {
    /// The plugin's name, which is the check's name.
    fn name(&self) -> &str;
    /// Time between two checks.
    fn interval(&self) -> Duration;
    /// Checks once. Never called twice at once.
    fn check(&self) -> BoxFuture<'_, Result<HealthReport, HookFailure>>;
}

/// Whether an alert fires or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertState {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

/// One notification about one alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The rule's name.
    pub name: String,
    /// Firing or resolved.
    pub state: AlertState,
    /// Whether this was said before for the same firing.
    pub is_repeat: bool,
    /// The rule's severity.
    pub severity: String,
    /// The rule's summary; may be empty.
    pub summary: String,
    /// The value compared.
    pub value: f64,
    /// The threshold.
    pub threshold: f64,
    /// Labels, sorted by name.
    pub labels: Vec<(String, String)>,
    /// When it began to fire.
    pub started_at: SystemTime,
    /// When it was resolved.
    pub resolved_at: Option<SystemTime>,
    /// The same for all notifications about one rule and series.
    pub fingerprint: String,
}

/// Tells somebody. Failing is retried by the caller.
pub trait AlertAction: Send + Sync {
    /// The plugin's name.
    fn name(&self) -> &str;
    /// Delivers one notification.
    fn notify(&self, alert: Alert) -> BoxFuture<'_, Result<(), HookFailure>>;
}
