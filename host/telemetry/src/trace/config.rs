//! What the operator decides about traces.

use std::time::Duration;

use crate::push::PushConfig;

/// Where finished traces go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Exporter {
    /// Nowhere; the recent ones can still be looked at in the gateway.
    #[default]
    None,
    /// To a collector by OTLP over gRPC, usually at port 4317.
    OtlpGrpc,
    /// To a collector by OTLP over HTTP with protobuf bodies, usually at port 4318.
    OtlpHttp,
    /// To Zipkin, as version 2 JSON, usually at port 9411.
    Zipkin,
    /// To standard output, one JSON object a line for each trace.
    Console,
}

/// Bounds of the store of recent traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentConfig {
    /// At most so many exchanges; 0 switches the store off.
    pub count: usize,
    /// At most so many bytes, reckoned with what the spans hold on to.
    pub bytes: usize,
}

/// What is traced, kept and exported. `Debug` shows no header values.
#[derive(Clone, Debug, PartialEq)]
pub struct TracesConfig {
    /// Where finished traces go.
    pub exporter: Exporter,
    /// How they get there; of no meaning for [`Exporter::None`] and [`Exporter::Console`].
    pub push: PushConfig,
    /// Traces that may wait to be exported; more are dropped and counted.
    pub queue: usize,
    /// At most so many traces in one request.
    pub batch: usize,
    /// How long a trace waits at most for a batch to fill.
    pub interval: Duration,
    /// The share of traces without a sampled parent that is recorded and exported, from 0 to 1.
    pub ratio: f64,
    /// Whether the parent's sampled flag decides, where there is a parent; otherwise the ratio decides for all.
    pub parent_based: bool,
    /// Whether failed exchanges are exported though they were not sampled.
    pub export_errors: bool,
    /// Whether slow ones are.
    pub export_slow: bool,
    /// From when on an exchange is slow.
    pub slow: Duration,
    /// Whether `X-Debug-Trace: true` of a client forces a trace.
    pub debug_header: bool,
    /// The resource attribute `service.name`.
    pub service_name: String,
    /// The resource attribute `service.version`.
    pub service_version: String,
    /// More resource attributes, by name and value.
    pub resource: Vec<(String, String)>,
    /// How many recent traces the gateway keeps itself.
    pub recent: RecentConfig,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            exporter: Exporter::None,
            push: PushConfig::default(),
            queue: 2048,
            batch: 512,
            interval: Duration::from_secs(5),
            ratio: 0.1,
            parent_based: true,
            export_errors: true,
            export_slow: true,
            slow: Duration::from_millis(300),
            debug_header: true,
            service_name: "watchgate".to_owned(),
            service_version: env!("CARGO_PKG_VERSION").to_owned(),
            resource: Vec::new(),
            recent: RecentConfig { count: 2000, bytes: 16 * 1024 * 1024 },
        }
    }
}
