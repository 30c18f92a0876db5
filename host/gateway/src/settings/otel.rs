//! The standard variables `OTEL_*` of the environment, put on top of `[traces]`. As the standard has it, an empty variable counts as none, and
//! an unknown word or number is said and passed over: it may be meant for other programs. Where to send and as whom is another matter: what
//! cannot be so is a mistake.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use watchgate_telemetry::{Compression, Exporter, PushConfig};

use crate::complaint::Complaint;
use crate::file::push;
use crate::file::secret::Environment;
use crate::file::traces::{TraceSettings, exporter_word};
use crate::server_url;

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

    /// Puts them on top of `[traces]`.
    pub fn apply(&mut self, traces: &mut TraceSettings) {
        self.exporter(traces);
        match traces.exporter.unwrap_or_default() {
            exporter @ (Exporter::OtlpGrpc | Exporter::OtlpHttp) => {
                let path = if exporter == Exporter::OtlpHttp { "/v1/traces" } else { "" };
                self.otlp(path, &mut traces.config.push);
            }
            Exporter::Zipkin => self.zipkin(&mut traces.config.push),
            Exporter::None | Exporter::Console => {}
        }
        self.sampler(traces);
        self.resource(traces);
        self.batches(traces);
        // What follows from other keys is shown too.
        let endpoint = traces.finished().push.endpoint;
        self.show("exporter", exporter_word(traces.exporter.unwrap_or_default()));
        if !endpoint.is_empty() {
            self.show("endpoint", endpoint);
        }
    }

    fn exporter(&mut self, traces: &mut TraceSettings) {
        if self.parsed("OTEL_SDK_DISABLED", boolean) == Some(true) {
            traces.exporter = Some(Exporter::None);
            return;
        }
        let said = traces.exporter;
        let protocol = self.of_traces("PROTOCOL").and_then(|name| self.parsed(name, protocol));
        let otlp = match (protocol, said) {
            (Some(protocol), _) => protocol,
            (None, Some(exporter @ (Exporter::OtlpGrpc | Exporter::OtlpHttp))) => exporter,
            (None, _) => Exporter::OtlpHttp,
        };
        let chosen = self.parsed("OTEL_TRACES_EXPORTER", |word| match word {
            "otlp" => Ok(otlp),
            "zipkin" => Ok(Exporter::Zipkin),
            "console" => Ok(Exporter::Console),
            "none" => Ok(Exporter::None),
            _ => Err("is none of otlp, zipkin, console, none"),
        });
        traces.exporter = match (chosen, said) {
            (Some(chosen), _) => Some(chosen),
            (None, Some(Exporter::OtlpGrpc | Exporter::OtlpHttp)) => Some(otlp),
            (None, Some(other)) => Some(other),
            (None, None) => self.of_traces("ENDPOINT").map(|_| otlp),
        };
    }

    fn otlp(&mut self, path: &str, push: &mut PushConfig) {
        if let Some(name) = self.of_traces("ENDPOINT") {
            // The variable for all signals names their common base, the one for traces the place itself.
            let path = if name == "OTEL_EXPORTER_OTLP_ENDPOINT" { path } else { "" };
            self.endpoint(name, path, push);
        }
        if let Some(name) = self.of_traces("HEADERS") {
            self.headers(name, push);
        }
        if let Some(timeout) = self.of_traces("TIMEOUT").and_then(|name| self.parsed(name, milliseconds)) {
            push.timeout = timeout;
            self.show("timeout", format!("{}ms", timeout.as_millis()));
        }
        let compression = |word: &str| push::compression(word).ok_or("is neither gzip nor none");
        if let Some(compression) = self.of_traces("COMPRESSION").and_then(|name| self.parsed(name, compression)) {
            push.compression = compression;
            self.show("compression", if compression == Compression::Gzip { "gzip" } else { "none" });
        }
        self.certificates(push);
    }

    fn certificates(&mut self, push: &mut PushConfig) {
        let mut file = |what: &str, key: &'static str| {
            let path = self.of_traces(what).and_then(|name| self.text(name)).map(PathBuf::from)?;
            self.shown.push(("traces.tls", key, json!(path)));
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
        self.endpoint("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "", push);
        if let Some(timeout) = self.parsed("OTEL_EXPORTER_ZIPKIN_TIMEOUT", milliseconds) {
            push.timeout = timeout;
            self.show("timeout", format!("{}ms", timeout.as_millis()));
        }
    }

    fn endpoint(&mut self, name: &'static str, path: &str, push: &mut PushConfig) {
        let Some(text) = self.text(name) else { return };
        match server_url::fetched(&text) {
            Ok(url) => push.endpoint = if path.is_empty() { url } else { format!("{}{path}", url.trim_end_matches('/')) },
            Err(problem) => self.complain(name, problem),
        }
    }

    fn headers(&mut self, name: &'static str, push: &mut PushConfig) {
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
        self.show("headers", Value::Object(shown));
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
        self.show("ratio", ratio);
        self.show("parent_based", parent_based);
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
                self.show("resource", Value::Object(resource));
            }
        }
        if let Some(name) = self.text("OTEL_SERVICE_NAME") {
            config.service_name = name;
        }
        self.show("service_name", config.service_name.as_str());
        self.show("service_version", config.service_version.as_str());
    }

    fn batches(&mut self, traces: &mut TraceSettings) {
        let config = &mut traces.config;
        if let Some(interval) = self.parsed("OTEL_BSP_SCHEDULE_DELAY", milliseconds) {
            config.interval = interval;
            self.show("interval", format!("{}ms", interval.as_millis()));
        }
        if let Some(queue) = self.parsed("OTEL_BSP_MAX_QUEUE_SIZE", count) {
            config.queue = queue;
            self.show("queue", queue);
        }
        if let Some(batch) = self.parsed("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", count) {
            config.batch = batch;
        }
        config.batch = config.batch.min(config.queue);
        self.show("batch", config.batch);
    }

    /// The variable of OTLP that holds for traces: their own before the one for all signals.
    fn of_traces(&self, what: &str) -> Option<&'static str> {
        let names = OTLP.iter().find(|(known, ..)| *known == what).map(|(_, own, all)| [*own, *all])?;
        names.into_iter().find(|name| self.text(name).is_some())
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

    fn show(&mut self, key: &'static str, value: impl Into<Value>) {
        self.shown.push(("traces", key, value.into()));
    }
}

/// What OTLP variables are about, with the one for traces and the one for all signals.
const OTLP: [(&str, &str, &str); 8] = [
    ("ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ("HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
    ("TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
    ("COMPRESSION", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"),
    ("CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ("CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
    ("CLIENT_KEY", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
];

/// Longer than any deadline that makes sense, milliseconds.
const DAY: u64 = 86_400_000;

fn boolean(word: &str) -> Result<bool, &'static str> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

fn protocol(word: &str) -> Result<Exporter, &'static str> {
    match word {
        "grpc" => Ok(Exporter::OtlpGrpc),
        "http/protobuf" => Ok(Exporter::OtlpHttp),
        _ => Err("is neither grpc nor http/protobuf"),
    }
}

fn milliseconds(text: &str) -> Result<Duration, &'static str> {
    let found = text.parse().ok().filter(|milliseconds| (1..=DAY).contains(milliseconds));
    found.map(Duration::from_millis).ok_or("is no number of milliseconds from 1 to a day")
}

fn count(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|count| (1..=1_000_000).contains(count)).ok_or("is no number from 1 to 1000000")
}

fn share(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("is no number from 0 to 1")
}

/// `NAME=VALUE,NAME=VALUE` with values percent-encoded; `None` when it is something else.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (name, value) = entry.split_once('=')?;
            let name = decoded(name.trim()).filter(|name| !name.is_empty())?;
            Some((name, decoded(value.trim())?))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).filter(|(digits, _)| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
