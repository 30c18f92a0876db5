//! `[traces]`: which exchanges are traced, what is kept, where it goes, and what servers are told of it.

use std::time::Duration;

use toml::de::DeValue;
use watchgate_catalog::manifest::values;
use watchgate_mcp::trace_meta::MetaTrace;
use watchgate_proxy::Propagation;
use watchgate_telemetry::{Exporter, RecentConfig, TracesConfig};

use super::part::{FileReader, Part, labels};
use super::push;

/// What `[traces]` and the environment say, with defaults for what they do not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceSettings {
    /// Where traces go, where that is said; the one in `config` does not count.
    pub exporter: Option<Exporter>,
    /// Everything else; without an endpoint it is the exporter's usual one, and what is slow stands in `slow`.
    pub config: TracesConfig,
    /// From when on an exchange is slow, where that is said; else what `[logs]` says of calls.
    pub slow: Option<Duration>,
    /// Whether servers are told of the gateway's own span; `None` is `auto`.
    pub propagate: Option<bool>,
    /// What becomes of the context in messages.
    pub meta: Option<MetaTrace>,
    /// Whether requests get ids; `None` is `auto`.
    pub request_ids: Option<bool>,
}

impl TraceSettings {
    /// What telemetry is told. `slow_call`: from when on a call is said as slow; never without it.
    pub fn finished(&self, slow_call: Option<Duration>) -> TracesConfig {
        let exporter = self.exporter.unwrap_or_default();
        let slow = self.slow.or(slow_call).unwrap_or(Duration::MAX);
        let mut config = TracesConfig { exporter, slow, ..self.config.clone() };
        if config.push.endpoint.is_empty() {
            config.push.endpoint = self.usual_endpoint().to_owned();
        }
        config
    }

    /// Where its exporter sends traces without an endpoint; empty where it sends none.
    pub fn usual_endpoint(&self) -> &'static str {
        usual_endpoint(self.exporter.unwrap_or_default())
    }

    /// What the proxy is told.
    pub fn propagation(&self) -> Propagation {
        let exports = self.exporter.unwrap_or_default() != Exporter::None;
        let headers = self.propagate.unwrap_or(exports);
        Propagation { headers, meta: self.meta, request_ids: self.request_ids.unwrap_or(exports) }
    }

    /// These settings, but for what is read at the start only, which is as in `started`.
    pub fn with_start_only_of(self, started: &Self) -> Self {
        Self { propagate: self.propagate, meta: self.meta, request_ids: self.request_ids, ..started.clone() }
    }
}

fn usual_endpoint(exporter: Exporter) -> &'static str {
    match exporter {
        Exporter::None | Exporter::Console => "",
        Exporter::OtlpGrpc => "http://localhost:4317",
        Exporter::OtlpHttp => "http://localhost:4318",
        Exporter::Zipkin => "http://localhost:9411",
    }
}

/// Every exporter, as the file names it.
const EXPORTERS: [(&str, Exporter); 5] = [
    ("none", Exporter::None),
    ("otlp-grpc", Exporter::OtlpGrpc),
    ("otlp-http", Exporter::OtlpHttp),
    ("zipkin", Exporter::Zipkin),
    ("console", Exporter::Console),
];

/// How the file names an exporter.
pub fn exporter_word(exporter: Exporter) -> &'static str {
    EXPORTERS.iter().find(|(_, known)| *known == exporter).map_or("none", |(word, _)| word)
}

/// Reads `[traces]`.
pub fn read(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> TraceSettings {
    let mut traces = TraceSettings::default();
    let Some(part) = reader.part(top, "traces") else { return traces };
    let exporter = reader.one_of(&part, "exporter");
    traces.exporter = exporter.and_then(|word| EXPORTERS.iter().find(|(known, _)| *known == word)).map(|(_, exporter)| *exporter);
    push::read(reader, &part, "traces", &mut traces.config.push);
    read_config(reader, &part, &mut traces.config);
    traces.slow = reader.duration(&part, "slow");
    traces.propagate = reader.read(&part, "propagate", flag_or_auto).flatten();
    traces.meta = reader.one_of(&part, "meta").and_then(|word| meta(&word));
    traces.request_ids = reader.read(&part, "request_ids", flag_or_auto).flatten();
    traces
}

fn read_config(reader: &mut FileReader<'_>, part: &Part<'_, '_>, config: &mut TracesConfig) {
    config.queue = reader.size_of_count(part, "queue").unwrap_or(config.queue);
    config.batch = reader.size_of_count(part, "batch").unwrap_or(config.batch.min(config.queue));
    if config.batch > config.queue {
        reader.complain(part.at("batch"), format!("`traces.batch` must be no more than `traces.queue`, which is {}", config.queue));
    }
    config.interval = reader.duration(part, "interval").unwrap_or(config.interval);
    config.ratio = reader.number(part, "ratio").unwrap_or(config.ratio);
    let TracesConfig { parent_based, export_errors, export_slow, debug_header, service_name, service_version, .. } = config;
    let flags =
        [("parent_based", parent_based), ("export_errors", export_errors), ("export_slow", export_slow), ("debug_header", debug_header)];
    for (key, place) in flags {
        *place = reader.flag(part, key).unwrap_or(*place);
    }
    for (key, place) in [("service_name", service_name), ("service_version", service_version)] {
        if let Some(text) = reader.parsed(part, key, not_empty) {
            *place = text;
        }
    }
    config.resource = reader.read(part, "resource", labels).unwrap_or_default().into_iter().collect();
    let RecentConfig { count, bytes } = &mut config.recent;
    *count = reader.size_of_count(part, "recent_count").unwrap_or(*count);
    *bytes = reader.size(part, "recent_bytes").unwrap_or(*bytes);
}

fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn flag_or_auto(value: &DeValue<'_>) -> values::Parsed<Option<bool>> {
    match (value.as_bool(), value.as_str()) {
        (Some(flag), _) => Ok(Some(flag)),
        (None, Some("auto")) => Ok(None),
        (None, _) => Err(values::wanted("\"auto\", true or false", value)),
    }
}

fn meta(word: &str) -> Option<MetaTrace> {
    match word {
        "rewrite" => Some(MetaTrace::Rewrite),
        "add" => Some(MetaTrace::Add),
        _ => None,
    }
}
