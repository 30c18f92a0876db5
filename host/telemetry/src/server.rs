//! One configured server's metrics: cached handles, so that the hot path finds a series without a lock or an allocation.

mod decisions;
mod exchange_series;
mod known_names;
mod operation_series;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge};

use crate::core::Core;
use crate::facts::{ExchangeFinished, HttpMethod, NameKind, OperationFinished};
use crate::names::Label;
use crate::words::{AuthResult, Limit, Retry};
use decisions::Decisions;
use exchange_series::ExchangeSeries;
pub(crate) use known_names::KnownNames;
use known_names::Source;
use operation_series::OperationSeries;

/// The metrics of one server. Made by [`crate::Telemetry::server`], once a server, and kept by who proxies to it.
pub struct ServerMetrics {
    core: Arc<Core>,
    names: Arc<KnownNames>,
    in_flight: [IntGauge; HttpMethod::ALL.len()],
    exchanges: ExchangeSeries,
    operations: OperationSeries,
    overhead: Histogram,
    upstream: OnceLock<Histogram>,
    plugins: OnceLock<Histogram>,
    bytes_to_server: Histogram,
    bytes_to_client: Histogram,
    connected: OnceLock<Histogram>,
    connect_failed: OnceLock<Histogram>,
    up: Mutex<Option<IntGauge>>,
    decisions: Decisions,
    sessions: IntGauge,
    session_duration: OnceLock<Histogram>,
}

impl ServerMetrics {
    pub(crate) fn new(core: Arc<Core>, name: &str) -> Self {
        let families = &core.families;
        Self {
            names: Arc::new(KnownNames::new(name)),
            in_flight: HttpMethod::ALL.map(|method| families.http_requests_in_flight.with(&[name, method.as_str()])),
            exchanges: ExchangeSeries::new(),
            operations: OperationSeries::new(),
            overhead: families.overhead.with(&[name]),
            upstream: OnceLock::new(),
            plugins: OnceLock::new(),
            bytes_to_server: families.message_bytes.with(&[name, "client-to-server"]),
            bytes_to_client: families.message_bytes.with(&[name, "server-to-client"]),
            connected: OnceLock::new(),
            connect_failed: OnceLock::new(),
            up: Mutex::default(),
            decisions: Decisions::new(families, name),
            sessions: families.sessions_active.with(&[name]),
            session_duration: OnceLock::new(),
            core,
        }
    }

    /// The server's configured name, as in the `server` label.
    pub fn name(&self) -> &str {
        self.names.server()
    }

    /// Makes a name that the server listed a label value of its own from now on. Cheap when the name is known. The first 500 names of a
    /// kind count, names of more than 128 bytes and resource URIs never.
    pub fn learn(&self, kind: NameKind, name: &str) {
        self.names.learn(kind, name, Source::Listed);
    }

    /// The same for a name that the server did not list, but whose `tools/call` or `prompts/get` it answered without error. The first
    /// 100 of a kind count, besides those that are listed: a server may answer so to whatever clients invent.
    pub fn learn_answered(&self, kind: NameKind, name: &str) {
        self.names.learn(kind, name, Source::Answered);
    }

    /// Whether the name is a label value of its own.
    pub fn is_known(&self, kind: NameKind, name: &str) -> bool {
        self.names.find(kind, name).is_some()
    }

    /// Counts an exchange as going on until the guard is dropped.
    pub fn in_flight(&self, method: HttpMethod) -> InFlightGuard {
        InFlightGuard::new(&self.in_flight[method as usize])
    }

    /// A request or message was refused because it was over a limit.
    pub fn limited(&self, limit: Limit) {
        self.decisions.limited(limit);
    }

    /// A request that never left was tried again, or was not because too many are.
    pub fn retried(&self, retry: Retry) {
        self.decisions.retried(retry);
    }

    /// There is a verdict on a request's credentials: the gateway's own, or an answer 401 or 403 of the server.
    pub fn authenticated(&self, result: AuthResult) {
        self.decisions.authenticated(result);
    }

    /// A legacy session began. It is active until [`Self::session_ended`], which must follow on the same handle.
    pub fn session_opened(&self) {
        self.sessions.inc();
    }

    /// A legacy session ended after `duration`.
    pub fn session_ended(&self, duration: Duration) {
        self.sessions.dec();
        let families = &self.core.families;
        let durations = self.session_duration.get_or_init(|| families.session_duration.owned(self.names.owner(), &[self.name()]));
        durations.observe(duration.as_secs_f64());
    }

    pub(crate) fn names(&self) -> &Arc<KnownNames> {
        &self.names
    }

    pub(crate) fn exchange_finished(&self, fact: &ExchangeFinished<'_>) {
        self.exchanges.record(&self.core, &self.names, fact);
        let (families, owner) = (&self.core.families, self.names.owner());
        // A stream lasts until somebody ends it; its time says nothing of the server.
        let upstream = if fact.is_stream() { Duration::ZERO } else { fact.upstream };
        for (slot, family, time) in [(&self.upstream, &families.upstream, upstream), (&self.plugins, &families.plugins, fact.plugins)] {
            if !time.is_zero() {
                slot.get_or_init(|| family.owned(owner, &[self.name()])).observe(time.as_secs_f64());
            }
        }
    }

    pub(crate) fn operation_finished(&self, fact: &OperationFinished<'_>) {
        self.operations.record(&self.core, &self.names, fact);
        let (requests, responses) =
            if fact.from_client { (&self.bytes_to_server, &self.bytes_to_client) } else { (&self.bytes_to_client, &self.bytes_to_server) };
        if fact.request_bytes > 0 {
            requests.observe(bytes(fact.request_bytes));
        }
        if fact.response_bytes > 0 {
            responses.observe(bytes(fact.response_bytes));
        }
        if let Some(overhead) = fact.overhead {
            self.overhead.observe(overhead.as_secs_f64());
        }
    }

    pub(crate) fn upstream_connected(&self, duration: Duration, ok: bool) {
        let (slot, result) = if ok { (&self.connected, "ok") } else { (&self.connect_failed, "failed") };
        let families = &self.core.families;
        slot.get_or_init(|| families.upstream_connect.owned(self.names.owner(), &[self.name(), result])).observe(duration.as_secs_f64());
    }

    pub(crate) fn probed(&self, up: bool) {
        let families = &self.core.families;
        self.up.lock().get_or_insert_with(|| families.server_up.owned(self.names.owner(), &[self.name()])).set(i64::from(up));
    }

    pub(crate) fn no_longer_probed(&self) {
        let mut up = self.up.lock();
        if up.take().is_some() && !self.names.owner().is_retired() {
            self.core.families.server_up.remove_under(&[self.name()]);
        }
    }

    /// Takes away every series of the server. What handles record from now on is shown to nobody.
    pub(crate) fn retire(&self) {
        self.names.owner().retire();
        self.core.endpoints.end_under(&[self.name()]);
        self.core.families.remove_under(&[Label::Server], &[self.name()]);
    }
}

/// One exchange going on, or one request that is with an endpoint; dropping it ends the count.
#[must_use = "the exchange counts as going on until this is dropped"]
pub struct InFlightGuard {
    gauge: IntGauge,
}

impl InFlightGuard {
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone() }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a message of 2^53 bytes does not exist")]
fn bytes(count: u64) -> f64 {
    count as f64
}

/// A counter made when it first counts.
type LazyCounter = OnceLock<IntCounter>;
