//! The standard variables `OTEL_*` of the environment, put on top of `[traces]`, `[metrics.otlp]` and `[logs.otlp]`. As the standard has it, an empty
//! variable counts as none, and an unknown word or number is said and passed over: it may be meant for other programs. Where to send and as whom is
//! another matter: what cannot be so is a mistake.

mod signal;
mod unread;
mod values;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use watchgate_telemetry::{Compression, Exporter, LogsPushConfig, MetricsPushConfig, OtlpProtocol, PushConfig, TracesConfig};

use crate::complaint::Complaint;
use crate::file::otlp::{OtlpConfig, OtlpSettings};
use crate::file::push;
use crate::file::secret::Environment;
use crate::file::traces::{TraceSettings, exporter_word};
use crate::server_url;
use signal::{LOGS, METRICS, OTLP, Signal, TRACES};
use values::{boolean, count, milliseconds, pairs, propagators, protocol, share, shown_span};

/// The variables, and what there is to say of them.
pub struct OtelVariables<'a> {
    environment: Environment<'a>,
    /// What was passed over.
    pub warnings: Vec<String>,
    /// What cannot be so.
    pub complaints: Vec<Complaint>,
    /// What they come to, as the file would say it: table, key and value.
    pub shown: Vec<(&'static str, &'static str, Value)>,
}

impl<'a> OtelVariables<'a> {
    /// The variables of this environment.
    pub fn new(environment: Environment<'a>) -> Self {
        Self { environment, warnings: Vec::new(), complaints: Vec::new(), shown: Vec::new() }
    }

    /// Puts them on top of `[traces]`, `[metrics.otlp]` and `[logs.otlp]`.
    pub fn apply(
        &mut self,
        traces: &mut TraceSettings,
        metrics: &mut OtlpSettings<MetricsPushConfig>,
        logs: &mut OtlpSettings<LogsPushConfig>,
    ) {
        let is_disabled = self.parsed("OTEL_SDK_DISABLED", boolean) == Some(true);
        self.traces(traces, is_disabled);
        self.pushed(&METRICS, metrics, is_disabled);
        if let Some(interval) = self.parsed("OTEL_METRIC_EXPORT_INTERVAL", milliseconds) {
            metrics.config.interval = interval;
            self.show(METRICS.table, "interval", shown_span(interval));
        }
        self.export_timeout(METRICS.table, "OTEL_METRIC_EXPORT_TIMEOUT", &mut metrics.config.push);
        self.pushed(&LOGS, logs, is_disabled);
        self.export_timeout(LOGS.table, "OTEL_BLRP_EXPORT_TIMEOUT", &mut logs.config.push);
        let LogsPushConfig { interval, queue, batch, .. } = &mut logs.config;
        let names = ["OTEL_BLRP_SCHEDULE_DELAY", "OTEL_BLRP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"];
        self.batches(LOGS.table, names, interval, queue, batch);
        let unread: Vec<String> = unread::warnings(|name| self.text(name)).collect();
        self.warnings.extend(unread);
    }

    fn traces(&mut self, traces: &mut TraceSettings, is_disabled: bool) {
        self.exporter(traces, is_disabled);
        match traces.exporter.unwrap_or_default() {
            Exporter::OtlpGrpc => self.otlp(&TRACES, OtlpProtocol::Grpc, &mut traces.config.push),
            Exporter::OtlpHttp => self.otlp(&TRACES, OtlpProtocol::Http, &mut traces.config.push),
            Exporter::Zipkin => self.zipkin(&mut traces.config.push),
            Exporter::None | Exporter::Console => {}
        }
        self.export_timeout(TRACES.table, "OTEL_BSP_EXPORT_TIMEOUT", &mut traces.config.push);
        self.sampler(traces);
        self.propagators(traces);
        self.resource(traces);
        let TracesConfig { interval, queue, batch, .. } = &mut traces.config;
        let names = ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"];
        self.batches(TRACES.table, names, interval, queue, batch);
        // What follows from other keys is shown too.
        let endpoint = match traces.config.push.endpoint.as_str() {
            "" => traces.usual_endpoint().to_owned(),
            said => said.to_owned(),
        };
        self.show(TRACES.table, "exporter", exporter_word(traces.exporter.unwrap_or_default()));
        if !endpoint.is_empty() {
            self.show(TRACES.table, "endpoint", endpoint);
        }
    }

    fn exporter(&mut self, traces: &mut TraceSettings, is_disabled: bool) {
        if is_disabled {
            traces.exporter = Some(Exporter::None);
            return;
        }
        let said = traces.exporter;
        let protocol = self.protocol(&TRACES).map(|protocol| match protocol {
            OtlpProtocol::Grpc => Exporter::OtlpGrpc,
            OtlpProtocol::Http => Exporter::OtlpHttp,
        });
        let otlp = match (protocol, said) {
            (Some(protocol), _) => protocol,
            (None, Some(exporter @ (Exporter::OtlpGrpc | Exporter::OtlpHttp))) => exporter,
            (None, _) => Exporter::OtlpHttp,
        };
        let named = |word: &str| match word {
            "otlp" => Some(otlp),
            "zipkin" => Some(Exporter::Zipkin),
            "console" => Some(Exporter::Console),
            "none" => Some(Exporter::None),
            _ => None,
        };
        // Of a list the first that the gateway has.
        let first = |words: &str| words.split(',').map(str::trim).find_map(named).ok_or("is none of otlp, zipkin, console, none");
        let chosen = self.parsed(TRACES.exporter, first);
        traces.exporter = match (chosen, said) {
            (Some(chosen), _) => Some(chosen),
            (None, Some(Exporter::OtlpGrpc | Exporter::OtlpHttp)) => Some(otlp),
            (None, Some(other)) => Some(other),
            (None, None) => self.of(&TRACES, "ENDPOINT").map(|_| otlp),
        };
    }

    /// Metrics or logs. They are pushed only where that is asked for by name: the variables for all signals say where to, since they may have been
    /// set for traces, and metrics and logs can be had without a push.
    fn pushed<C: OtlpConfig + PartialEq>(&mut self, signal: &Signal, settings: &mut OtlpSettings<C>, is_disabled: bool) {
        let has_endpoint = self.text(signal.own[0]).is_some();
        let chosen = self.text(signal.exporter).and_then(|words| self.wants_otlp(signal.exporter, &words));
        settings.is_on = !is_disabled && chosen.unwrap_or(settings.is_on || has_endpoint);
        if settings.is_on {
            let said = self.protocol(signal);
            let (protocol, push) = settings.config.way();
            *protocol = said.unwrap_or(*protocol);
            self.otlp(signal, *protocol, push);
        }
        self.show(signal.table, "protocol", settings.protocol_word());
        if let Some(mut config) = settings.finished() {
            self.show(signal.table, "endpoint", config.way().1.endpoint.as_str());
        }
    }

    /// Whether a list of exporters names OTLP. What Prometheus reads and the files of logs are there in any case.
    fn wants_otlp(&mut self, name: &'static str, words: &str) -> Option<bool> {
        let words = || words.split(',').map(str::trim);
        if words().all(|word| matches!(word, "otlp" | "prometheus" | "console" | "none")) {
            return Some(words().any(|word| word == "otlp"));
        }
        self.pass_over(name, "is none of otlp, prometheus, console, none");
        None
    }

    fn protocol(&mut self, signal: &Signal) -> Option<OtlpProtocol> {
        self.of(signal, "PROTOCOL").and_then(|name| self.parsed(name, protocol))
    }

    fn otlp(&mut self, signal: &Signal, protocol: OtlpProtocol, push: &mut PushConfig) {
        if let Some(name) = self.of(signal, "ENDPOINT") {
            // The variable for all signals names their common base, the one for this signal the place itself.
            let is_base = name == "OTEL_EXPORTER_OTLP_ENDPOINT" && protocol == OtlpProtocol::Http;
            let is_insecure =
                protocol == OtlpProtocol::Grpc && self.of(signal, "INSECURE").is_some_and(|name| self.parsed(name, boolean) == Some(true));
            self.endpoint(name, if is_base { signal.path } else { "" }, (protocol == OtlpProtocol::Grpc).then_some(is_insecure), push);
        }
        if let Some(name) = self.of(signal, "HEADERS") {
            self.headers(signal.table, name, push);
        }
        if let Some(timeout) = self.of(signal, "TIMEOUT").and_then(|name| self.parsed(name, milliseconds)) {
            push.timeout = timeout;
            self.show(signal.table, "timeout", shown_span(timeout));
        }
        let compression = |word: &str| push::compression(word).ok_or("is neither gzip nor none");
        if let Some(compression) = self.of(signal, "COMPRESSION").and_then(|name| self.parsed(name, compression)) {
            push.compression = compression;
            self.show(signal.table, "compression", if compression == Compression::Gzip { "gzip" } else { "none" });
        }
        self.certificates(signal, push);
    }

    fn certificates(&mut self, signal: &Signal, push: &mut PushConfig) {
        let mut file = |what: &str, key: &'static str| {
            let path = self.of(signal, what).and_then(|name| self.text(name)).map(PathBuf::from)?;
            self.shown.push((signal.tls_table, key, json!(path)));
            Some(path)
        };
        if let Some(path) = file("CERTIFICATE", "ca") {
            push.tls.ca = Some(path);
        }
        match (file("CLIENT_CERTIFICATE", "certificate"), file("CLIENT_KEY", "key")) {
            (Some(certificate), Some(key)) => push.tls.client = Some((certificate, key)),
            (None, None) => {}
            _ => self.complain("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "and OTEL_EXPORTER_OTLP_CLIENT_KEY must be set together"),
        }
    }

    fn zipkin(&mut self, push: &mut PushConfig) {
        self.endpoint("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "", None, push);
        if let Some(timeout) = self.parsed("OTEL_EXPORTER_ZIPKIN_TIMEOUT", milliseconds) {
            push.timeout = timeout;
            self.show(TRACES.table, "timeout", shown_span(timeout));
        }
    }

    /// `bare`: a text without a scheme is `HOST:PORT`, as gRPC has it, and whether it is spoken to in cleartext.
    fn endpoint(&mut self, name: &'static str, path: &str, bare: Option<bool>, push: &mut PushConfig) {
        let Some(mut text) = self.text(name) else { return };
        if let Some(is_insecure) = bare.filter(|_| !text.contains("://")) {
            text.insert_str(0, if is_insecure { "http://" } else { "https://" });
        }
        match server_url::fetched(&text, push::EXAMPLE) {
            Ok(url) => push.endpoint = if path.is_empty() { url } else { format!("{}{path}", url.trim_end_matches('/')) },
            Err(problem) => self.complain(name, problem),
        }
    }

    fn headers(&mut self, table: &'static str, name: &'static str, push: &mut PushConfig) {
        let text = self.text(name).unwrap_or_default();
        let Some(pairs) = pairs(&text) else {
            return self.complain(name, "must be NAME=VALUE, separated by commas, with `%` only before two hexadecimal digits");
        };
        push.headers.clear();
        for (key, value) in pairs {
            match push::header(&key, &value) {
                Ok(header) => push.headers.push(header),
                Err(problem) => self.complain(name, problem),
            }
        }
        let shown = push.headers.iter().map(|(key, _)| (key.clone(), json!({ "env": name }))).collect();
        self.show(table, "headers", Value::Object(shown));
    }

    fn sampler(&mut self, traces: &mut TraceSettings) {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        let Some(word) = self.text(SAMPLER) else { return };
        let (parent_based, kind) = word.strip_prefix("parentbased_").map_or((false, word.as_str()), |kind| (true, kind));
        let ratio = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.parsed("OTEL_TRACES_SAMPLER_ARG", share).unwrap_or(1.0),
            _ => return self.pass_over(SAMPLER, "is no sampler that the gateway has"),
        };
        (traces.config.ratio, traces.config.parent_based) = (ratio, parent_based);
        self.show(TRACES.table, "ratio", ratio);
        self.show(TRACES.table, "parent_based", parent_based);
    }

    /// Whether servers are told of the gateway's span. `baggage` passes as it came, whether it is named or not.
    fn propagators(&mut self, traces: &mut TraceSettings) {
        const PROPAGATORS: &str = "OTEL_PROPAGATORS";
        let Some(words) = self.text(PROPAGATORS).filter(|words| words.contains(|letter| letter != ',' && letter != ' ')) else { return };
        let (trace_context, others) = propagators(&words);
        if others {
            self.pass_over(PROPAGATORS, "names propagators that the gateway does not have; it has tracecontext, and passes baggage on");
        }
        // Named beside others it is what the gateway does anyway; where only others are named, what is meant cannot be done.
        if !trace_context && !others {
            traces.propagate = Some(false);
            self.show(TRACES.table, "propagate", false);
        }
    }

    /// How long an export may take: no longer than one request to the collector may.
    fn export_timeout(&mut self, table: &'static str, name: &'static str, push: &mut PushConfig) {
        if let Some(timeout) = self.parsed(name, milliseconds).filter(|timeout| *timeout < push.timeout) {
            push.timeout = timeout;
            self.show(table, "timeout", shown_span(timeout));
        }
    }

    fn resource(&mut self, traces: &mut TraceSettings) {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let config = &mut traces.config;
        match self.text(ATTRIBUTES).map(|text| pairs(&text)) {
            None => {}
            // As the standard has it: all of it or nothing.
            Some(None) => self.pass_over(ATTRIBUTES, "is not NAME=VALUE, separated by commas"),
            Some(Some(pairs)) => {
                for (key, value) in pairs {
                    match key.as_str() {
                        "service.name" => config.service_name = value,
                        "service.version" => config.service_version = value,
                        _ => {
                            config.resource.retain(|(known, _)| *known != key);
                            config.resource.push((key, value));
                        }
                    }
                }
                let resource = config.resource.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
                self.show(TRACES.table, "resource", Value::Object(resource));
            }
        }
        if let Some(name) = self.text("OTEL_SERVICE_NAME") {
            config.service_name = name;
        }
        self.show(TRACES.table, "service_name", config.service_name.as_str());
        self.show(TRACES.table, "service_version", config.service_version.as_str());
    }

    /// `names` are the variables of interval, queue and batch.
    fn batches(&mut self, table: &'static str, names: [&'static str; 3], interval: &mut Duration, queue: &mut usize, batch: &mut usize) {
        if let Some(said) = self.parsed(names[0], milliseconds) {
            *interval = said;
            self.show(table, "interval", shown_span(said));
        }
        if let Some(said) = self.parsed(names[1], count) {
            *queue = said;
            self.show(table, "queue", said);
        }
        if let Some(said) = self.parsed(names[2], count) {
            *batch = said;
        }
        *batch = (*batch).min(*queue);
        self.show(table, "batch", *batch);
    }

    /// The variable of OTLP that holds for a signal: its own before the one for all signals.
    fn of(&self, signal: &Signal, what: &str) -> Option<&'static str> {
        let index = OTLP.iter().position(|(known, _)| *known == what)?;
        [signal.own[index], OTLP[index].1].into_iter().find(|name| self.text(name).is_some())
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.environment)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn parsed<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        let text = self.text(name)?;
        parse(&text).map_err(|problem| self.pass_over(name, problem)).ok()
    }

    fn pass_over(&mut self, name: &str, problem: &str) {
        self.warnings.push(format!("the environment variable {name} is passed over: its value {problem}"));
    }

    fn complain(&mut self, name: &'static str, problem: impl Display) {
        self.complaints.push(Complaint::flag(name, problem.to_string()));
    }

    fn show(&mut self, table: &'static str, key: &'static str, value: impl Into<Value>) {
        self.shown.push((table, key, value.into()));
    }
}

#[cfg(test)]
mod tests;
