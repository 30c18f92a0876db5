//! A telemetry that has said all it can say.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use watchgate_telemetry::{
    AccessLine, AlertDelivered, AlertsFiring, CertificateMetrics, ClientIntroduced, Declaration, EndpointMetrics, ExchangeFinished,
    HealthCheckFinished, InvalidTraceContext, JwksInUse, MetricKind, PluginMetrics, ReloadFinished, RuntimeWatch, ServerUp, Telemetry,
    TelemetryDropped, TraceContextInvalid, UpstreamConnected,
};

use crate::scene;

const SECOND: Duration = Duration::from_secs(1);

/// The metrics that the plugin declares.
pub const OF_PLUGIN: [&str; 3] = ["shop_orders_total", "shop_queue_bytes", "shop_wait_seconds"];

/// What keeps series alive.
pub struct Held {
    _endpoint: Arc<EndpointMetrics>,
    _certificate: Arc<CertificateMetrics>,
    _plugin: Arc<PluginMetrics>,
    _runtime: RuntimeWatch,
}

/// Every fact and every handle once.
#[must_use = "some series last as long as this"]
pub fn say_everything(telemetry: &Telemetry) -> Held {
    let server = telemetry.server("weather");
    let line = AccessLine { client_name: Some("ci".into()), ..AccessLine::default() };
    telemetry.emit(ExchangeFinished { line, ..scene::exchange(&server) });
    telemetry.emit(scene::tool_call(&server, "echo"));
    server.session_opened();
    server.session_ended(SECOND);
    telemetry.emit(ClientIntroduced { protocol_version: Some("2025-11-25"), name: Some("inspector"), at: std::time::Instant::now() });
    telemetry.emit(UpstreamConnected { server: &server, duration: SECOND, ok: true });
    telemetry.emit(ServerUp { server: "weather", up: true });
    telemetry.emit(JwksInUse { keys: Some((1, Some(SystemTime::UNIX_EPOCH + SECOND))) });
    telemetry.emit(ReloadFinished { plugin: "p", result: "live", reason: None, duration: SECOND });
    telemetry.emit(TelemetryDropped { signal: "operations", reason: "queue_full" });
    telemetry.emit(TraceContextInvalid { reason: InvalidTraceContext::TraceparentMalformed, server: "s", client: [127, 0, 0, 1].into() });
    telemetry.emit(HealthCheckFinished { check: "c", status: "ok", duration: SECOND });
    telemetry.emit(AlertsFiring { severity: "page", count: 2 });
    telemetry.emit(AlertDelivered { action: "a", result: "delivered" });
    let bounds = telemetry.process_bounds();
    bounds.connections_limited(2);
    bounds.connection_waits();
    bounds.holding(1);
    let plugin = telemetry.plugin("p");
    plugin.called("redaction", SECOND);
    plugin.failed("redaction", "trap");
    plugin.state("live");
    plugin.operations_dropped("queue_full");
    let endpoint = telemetry.endpoint("weather", "10.0.0.7:3001");
    endpoint.up(true);
    let certificate = telemetry.certificate("weather");
    certificate.not_after(SystemTime::UNIX_EPOCH + SECOND);
    Held { _endpoint: endpoint, _certificate: certificate, _plugin: plugin_metrics(telemetry), _runtime: runtime(telemetry) }
}

fn plugin_metrics(telemetry: &Telemetry) -> Arc<PluginMetrics> {
    let metrics = telemetry.open_plugin_metrics("p");
    let [orders, queue, wait] = OF_PLUGIN.map(|name| {
        let (kind, unit) = match name {
            "shop_orders_total" => (MetricKind::Counter, ""),
            "shop_queue_bytes" => (MetricKind::Gauge, "bytes"),
            _ => (MetricKind::Histogram, "seconds"),
        };
        let declaration = Declaration {
            kind,
            name: name.into(),
            help: "Of the shop.".into(),
            unit: unit.into(),
            labels: vec!["shop".into()],
            buckets: Vec::new(),
        };
        metrics.declare(declaration).unwrap()
    });
    metrics.activate();
    metrics.set(queue, -2.5, &["a".into()]);
    metrics.observe(wait, 0.3, &["a".into()]);
    for label in 0..1001 {
        metrics.add(orders, 1.0, &[label.to_string()]);
    }
    metrics.add(orders, -1.0, &[]);
    metrics
}

fn runtime(telemetry: &Telemetry) -> RuntimeWatch {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let watch = telemetry.watch_runtime(runtime.handle()).unwrap();
    let sampled = || telemetry.snapshot().of("watchgate_runtime_lag_seconds_count").any(|series| series.value > 0.0);
    runtime.block_on(async {
        while !sampled() {
            tokio::task::yield_now().await;
        }
    });
    watch
}
