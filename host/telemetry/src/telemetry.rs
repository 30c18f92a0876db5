//! The room's front: where facts come in, and where the numbers go out.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use prometheus::TextEncoder;

use crate::access_log::{AccessField, AccessLogTarget, AccessRecord};
use crate::bounded_names::{BoundedNames, cut};
use crate::buckets::HistogramBuckets;
use crate::capture::{self, CaptureConfig};
use crate::certificate::CertificateMetrics;
use crate::client_names::ClientNames;
use crate::client_requests::ClientRequests;
use crate::core::Core;
use crate::endpoint::EndpointMetrics;
use crate::exports::{Exports, LogsPushConfig, MetricsPushConfig};
use crate::facts::{
    AlertDelivered, AlertsFiring, ClientIntroduced, ConfigReloadFinished, ExchangeFinished, Fact, HealthCheckFinished, JwksInUse,
    ReloadFinished, ServerUp,
};
use crate::families::Families;
use crate::log::LogHandle;
use crate::logs::Logs;
use crate::names::Label;
use crate::plugin_handles::PluginHandles;
use crate::plugin_metrics::PluginMetrics;
use crate::push::PushConfigError;
use crate::refusals::Refusals;
use crate::server::ServerMetrics;
use crate::sink::Rotation;
use crate::snapshot::MetricSnapshot;
use crate::store::Store;
use crate::trace::{TraceRecord, Traces, TracesConfig};
use crate::words::{ConfigReload, CounterByWord};

/// Plugin names that become labels; also of health checks and alert actions.
const MOST_NAMES: usize = 1000;
/// Severities are the operator's own words; nobody needs so many.
const MOST_SEVERITIES: usize = 32;
/// Servers at once. They are configured, so this only keeps a mistake from filling memory.
const MOST_SERVERS: usize = 1000;

/// What the room needs to know. The default is no access log, and every histogram with its default buckets.
#[derive(Clone, Debug, Default)]
pub struct TelemetryConfig {
    /// Where access lines go.
    pub access_log: AccessLogTarget,
    /// When the access log's file is put aside; never without it. Of no meaning where the own log goes to the same file.
    pub access_log_rotation: Option<Rotation>,
    /// The members of access lines, in this order; empty for all there are.
    pub access_fields: Vec<AccessField>,
    /// From when on a call is slow and said as a warning; never without it.
    pub slow_call_threshold: Option<Duration>,
    /// The own log, if the process has one: what it loses is counted here, and what it says can be read here.
    pub log: Option<LogHandle>,
    /// The bucket bounds of histograms.
    pub buckets: HistogramBuckets,
    /// The names of the configured servers.
    pub servers: Vec<String>,
    /// What is traced, kept and exported. What it says of the resource holds for metrics and logs too.
    pub traces: TracesConfig,
    /// What is recorded of the messages of tool calls.
    pub capture: CaptureConfig,
    /// Where metrics are pushed to; nowhere without it.
    pub metrics_push: Option<MetricsPushConfig>,
    /// Where the lines of both logs are pushed to; nowhere without it.
    pub logs_push: Option<LogsPushConfig>,
}

/// Why telemetry cannot start: the operator's configuration or the machine.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The access log cannot be opened for appending, or the thread that writes it cannot be started.
    #[error("cannot write the access log {}", path.display())]
    AccessLog {
        /// The configured file, or what the stream is called.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The exporter of traces cannot be set up.
    #[error("traces: {0}")]
    Traces(PushConfigError),
    /// The push of metrics cannot be set up.
    #[error("metrics: {0}")]
    Metrics(PushConfigError),
    /// The push of logs cannot be set up.
    #[error("logs: {0}")]
    Logs(PushConfigError),
}

/// All telemetry of one gateway.
pub struct Telemetry {
    core: Arc<Core>,
    pub(crate) store: Arc<Store>,
    pub(crate) logs: Logs,
    servers: Mutex<HashMap<Box<str>, Arc<ServerMetrics>>>,
    server_names: BoundedNames,
    plugins: Mutex<HashMap<Box<str>, Arc<PluginHandles>>>,
    plugin_names: BoundedNames,
    check_names: BoundedNames,
    clients: ClientRequests,
    refusals: Refusals,
    config_reloads: CounterByWord<ConfigReload>,
    severities: BoundedNames,
    client_names: ClientNames,
    pub(crate) traces: Traces,
    capture: CaptureConfig,
    exports: Exports,
}

impl Telemetry {
    /// Opens the access log and starts its writer. The configured servers' metrics exist from now on.
    pub fn new(config: TelemetryConfig) -> Result<Arc<Self>, TelemetryError> {
        let core = Arc::new(Core::new(&config.buckets));
        core.families.build_info.with(&[env!("CARGO_PKG_VERSION")]).set(1);
        core.families.connections_open.with(&[]).set(0);
        let store = Arc::new(Store::new(core.clone()));
        let logs = Logs::start(&config, &core.families)?;
        let telemetry = Self {
            exports: Exports::start(&config, &store, &logs)?,
            logs,
            servers: Mutex::default(),
            server_names: BoundedNames::new(MOST_SERVERS),
            plugins: Mutex::default(),
            plugin_names: BoundedNames::new(MOST_NAMES),
            check_names: BoundedNames::new(MOST_NAMES),
            clients: ClientRequests::default(),
            refusals: Refusals::new(&core.families),
            config_reloads: CounterByWord::new(|result| core.families.config_reloads.with(&[result])),
            severities: BoundedNames::new(MOST_SEVERITIES),
            client_names: ClientNames::default(),
            traces: Traces::start(&config.traces, config.capture.is_on(), &core.families).map_err(TelemetryError::Traces)?,
            capture: config.capture,
            store,
            core,
        };
        telemetry.config_applied();
        for server in &config.servers {
            telemetry.server(server);
        }
        Ok(Arc::new(telemetry))
    }

    /// Takes in a fact. Never blocks; for exchanges and operations it neither locks nor allocates once their series exist.
    pub fn emit(&self, fact: impl Fact) {
        fact.record(self);
    }

    /// The handles of a server, the same for the same name until it is retired. Past 1000 servers the label is `_other`.
    pub fn server(&self, name: &str) -> Arc<ServerMetrics> {
        let mut servers = self.servers.lock();
        let label = self.server_names.label(name);
        servers.entry(label.into()).or_insert_with(|| Arc::new(ServerMetrics::new(self.core.clone(), label))).clone()
    }

    /// Removes every series of a server that is no longer configured, those of its endpoints included. Exchanges under way may go
    /// on recording into their handles; nobody sees it. Should the name come back, it starts anew.
    pub fn retire_server(&self, name: &str) {
        let mut servers = self.servers.lock();
        if let Some(server) = servers.remove(cut(name)) {
            server.retire();
            self.server_names.forget(name);
        }
    }

    /// The handles of an endpoint, the same for the same server and address (`HOST:PORT`) while anybody holds them; with the last
    /// its series go. Past 1000 endpoints the label is `_other`.
    pub fn endpoint(&self, server: &str, endpoint: &str) -> Arc<EndpointMetrics> {
        let server = self.server(server);
        self.core.endpoints.get([server.name(), endpoint], |values, owner| EndpointMetrics::new(self.core.clone(), owner, values))
    }

    /// The handles of a certificate, the same for the same name while anybody holds them; with the last its series go. The name
    /// says whose it is (a listener's address, a server), and is no path. Past 1000 the label is `_other`.
    pub fn certificate(&self, name: &str) -> Arc<CertificateMetrics> {
        self.core.certificates.get([name], |values, owner| CertificateMetrics::new(self.core.clone(), owner, values))
    }

    /// Removes every series of a health check that no longer runs. One that is still running would bring them back.
    pub fn retire_check(&self, check: &str) {
        self.families().remove_under(&[Label::Check], &[cut(check)]);
        self.check_names.forget(check);
    }

    /// Removes `watchgate_server_up` of a server that is no longer probed.
    pub fn retire_server_up(&self, server: &str) {
        if let Some(server) = self.servers.lock().get(cut(server)) {
            server.no_longer_probed();
        }
    }

    /// The handles of a plugin, the same for the same name.
    pub fn plugin(&self, name: &str) -> Arc<PluginHandles> {
        let label = self.plugin_names.label(name);
        let mut plugins = self.plugins.lock();
        plugins.entry(label.into()).or_insert_with(|| Arc::new(PluginHandles::new(self.core.clone(), label))).clone()
    }

    /// The own metrics of a new generation of a plugin; nothing is recorded before [`PluginMetrics::activate`].
    pub fn open_plugin_metrics(&self, plugin: &str) -> Arc<PluginMetrics> {
        Arc::new(PluginMetrics::new(self.store.plugins.clone(), self.plugin_names.label(plugin)))
    }

    /// Counts a client connection as open until the guard is dropped.
    pub fn connection_opened(&self) -> OpenConnection {
        let gauge = self.core.families.connections_open.with(&[]);
        gauge.inc();
        OpenConnection { gauge }
    }

    /// Every metric in the Prometheus text format 0.0.4.
    pub fn render_prometheus(&self) -> String {
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&self.store.families(), &mut text)
            .expect("every family has a name and a series, and a String takes any text");
        text
    }

    /// Every series as plain values.
    pub fn snapshot(&self) -> MetricSnapshot {
        MetricSnapshot::from_families(&self.store.families())
    }

    /// Writes out the lines of both logs queued so far; blocks at most for `deadline`.
    pub fn flush(&self, deadline: Duration) {
        self.logs.flush(deadline);
    }

    /// Writes and exports what is queued, for the last time: what comes later may be lost. Blocks at most for `deadline`, needs nothing
    /// from the caller's runtime, and tells whether everything got out. A collector that runs on the caller's own thread cannot
    /// answer meanwhile.
    pub fn shutdown(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        thread::scope(|scope| {
            let traces = scope.spawn(|| self.traces.shutdown(until));
            // It is the writers of logs who hand lines to the export. Where nobody takes their lines, time is left for a collector that does.
            self.flush(deadline / 2);
            let others = self.exports.shutdown(until);
            traces.join().unwrap_or(false) && others
        })
    }

    /// Exports the metrics of now and the log lines queued so far. As [`Self::shutdown`], but exporting goes on.
    pub fn flush_exports(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        self.flush(deadline);
        self.exports.flush(until)
    }

    pub(crate) fn families(&self) -> &Families {
        &self.core.families
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub(crate) fn exchange_finished(&self, fact: ExchangeFinished<'_>) {
        if let Some(HeldLine(record)) = self.hold_line(fact) {
            self.logs.say(record);
        }
    }

    /// Takes in the fact, but for its access line: that waits until its request id may be said. `None` where there is no line.
    pub fn hold_line(&self, fact: ExchangeFinished<'_>) -> Option<HeldLine> {
        fact.server.exchange_finished(&fact);
        if let Some(client) = &fact.line.client_name {
            self.clients.count(self.families(), client);
        }
        self.logs.line(fact).map(HeldLine)
    }

    /// Says a line that waited, with what the request id may be said as.
    pub fn say_line(&self, HeldLine(mut record): HeldLine, request_id: Option<Box<str>>) {
        record.line.request_id = request_id;
        self.logs.say(record);
    }

    pub(crate) fn trace_finished(&self, record: TraceRecord) {
        capture::say(&record);
        self.traces.finished(record);
    }

    /// What is recorded of the messages of tool calls.
    pub fn capture(&self) -> &CaptureConfig {
        &self.capture
    }

    pub(crate) fn server_up(&self, fact: &ServerUp<'_>) {
        let server = self.servers.lock().get(cut(fact.server)).cloned();
        if let Some(server) = server {
            server.probed(fact.up);
        }
    }

    pub(crate) fn client_introduced(&self, fact: &ClientIntroduced<'_>) {
        let version = fact.protocol_version.map_or("", |version| self.core.versions.text(self.core.versions.number(version)));
        self.client_names.count(self.families(), version, fact.name.unwrap_or_default(), fact.at);
    }

    pub(crate) fn config_reload_finished(&self, fact: &ConfigReloadFinished) {
        self.config_reloads.count(fact.result);
        match fact.result {
            ConfigReload::Applied => self.config_applied(),
            ConfigReload::Refused => self.families().config_last_reload_successful.with(&[]).set(0),
        }
    }

    pub(crate) fn jwks_in_use(&self, fact: &JwksInUse) {
        let (keys, last_load) = (&self.families().jwks_keys, &self.families().jwks_last_load);
        match fact.keys {
            Some((count, _)) => keys.with(&[]).set(i64::try_from(count).unwrap_or(i64::MAX)),
            None => keys.remove_under(&[]),
        }
        match fact.keys.and_then(|(_, loaded)| loaded) {
            Some(loaded) => last_load.with(&[]).set(seconds_since_epoch(loaded)),
            None => last_load.remove_under(&[]),
        }
    }

    fn config_applied(&self) {
        self.families().config_last_reload_successful.with(&[]).set(1);
        self.families().config_last_reload.with(&[]).set(seconds_since_epoch(SystemTime::now()));
    }

    pub(crate) fn reload_finished(&self, fact: &ReloadFinished<'_>) {
        let families = self.families();
        families.reloads.with(&[fact.result, fact.reason.unwrap_or("")]).inc();
        families.reload_duration.with(&[fact.result]).observe(fact.duration.as_secs_f64());
        if fact.result == "live" {
            families.reload_last_success.with(&[]).set(seconds_since_epoch(SystemTime::now()));
        }
    }

    pub(crate) fn health_check_finished(&self, fact: &HealthCheckFinished<'_>) {
        let check = self.check_names.label(fact.check);
        let states = &self.families().health_check_status;
        states.with(&[check, fact.status]);
        states.for_each_under(&[check], |gauge| gauge.set(0));
        states.with(&[check, fact.status]).set(1);
        self.families().health_check_duration.with(&[check]).observe(fact.duration.as_secs_f64());
    }

    pub(crate) fn alerts_firing(&self, fact: &AlertsFiring<'_>) {
        let count = i64::try_from(fact.count).unwrap_or(i64::MAX);
        self.families().alerts_firing.with(&[self.severities.label(fact.severity)]).set(count);
    }

    pub(crate) fn alert_delivered(&self, fact: &AlertDelivered<'_>) {
        self.families().alert_notifications.with(&[self.plugin_names.label(fact.action), fact.result]).inc();
    }
}

fn seconds_since_epoch(moment: SystemTime) -> f64 {
    moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The access line of an exchange that is counted already; see [`Telemetry::hold_line`].
pub struct HeldLine(AccessRecord);

/// One client connection; dropping it ends the count.
#[must_use = "the connection counts as open until this is dropped"]
pub struct OpenConnection {
    gauge: prometheus::IntGauge,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
