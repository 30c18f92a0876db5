//! `[metrics.otlp]` and `[logs.otlp]`: where metrics and log lines are pushed to.

use watchgate_telemetry::{LogsPushConfig, MetricsPushConfig, OtlpProtocol, PushConfig};

use super::part::{FileReader, Part};
use super::push;

/// What one of the tables and the environment say, with defaults for what they do not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OtlpSettings<C> {
    /// Whether anything is pushed.
    pub is_on: bool,
    /// How; without an endpoint it is the protocol's usual one.
    pub config: C,
}

/// What the tables have in common.
pub trait OtlpConfig: Clone {
    /// How it travels, and where to.
    fn way(&mut self) -> (&mut OtlpProtocol, &mut PushConfig);
}

impl OtlpConfig for MetricsPushConfig {
    fn way(&mut self) -> (&mut OtlpProtocol, &mut PushConfig) {
        (&mut self.protocol, &mut self.push)
    }
}

impl OtlpConfig for LogsPushConfig {
    fn way(&mut self) -> (&mut OtlpProtocol, &mut PushConfig) {
        (&mut self.protocol, &mut self.push)
    }
}

impl<C: OtlpConfig> OtlpSettings<C> {
    /// What telemetry is told; `None` when nothing is pushed.
    pub fn finished(&self) -> Option<C> {
        let mut config = self.is_on.then(|| self.config.clone())?;
        let (protocol, push) = config.way();
        if push.endpoint.is_empty() {
            push.endpoint = usual_endpoint(*protocol).to_owned();
        }
        Some(config)
    }

    /// How the file says it.
    pub fn protocol_word(&mut self) -> &'static str {
        let (protocol, _) = self.config.way();
        match (self.is_on, *protocol) {
            (false, _) => "none",
            (true, OtlpProtocol::Grpc) => "grpc",
            (true, OtlpProtocol::Http) => "http",
        }
    }

    /// Reads what the tables have in common. `table` is how the table is called in complaints.
    fn read(reader: &mut FileReader<'_>, part: &Part<'_, '_>, table: &str) -> Self
    where
        C: Default,
    {
        let mut settings = Self { is_on: false, config: C::default() };
        let word = reader.one_of(part, "protocol");
        settings.is_on = word.as_ref().is_some_and(|word| word != "none");
        let (protocol, to) = settings.config.way();
        if word.is_some_and(|word| word == "grpc") {
            *protocol = OtlpProtocol::Grpc;
        }
        push::read(reader, part, table, to);
        settings
    }
}

/// Where a collector on this machine listens.
fn usual_endpoint(protocol: OtlpProtocol) -> &'static str {
    match protocol {
        OtlpProtocol::Grpc => "http://localhost:4317",
        OtlpProtocol::Http => "http://localhost:4318",
    }
}

/// Reads `[metrics.otlp]`, which stands in `metrics`.
pub fn read_metrics(reader: &mut FileReader<'_>, metrics: &Part<'_, '_>) -> OtlpSettings<MetricsPushConfig> {
    let Some(part) = reader.part(metrics, "otlp") else { return OtlpSettings::default() };
    let mut settings = OtlpSettings::<MetricsPushConfig>::read(reader, &part, "metrics.otlp");
    settings.config.interval = reader.duration(&part, "interval").unwrap_or(settings.config.interval);
    settings
}

/// Reads `[logs.otlp]`, which stands in `logs`.
pub fn read_logs(reader: &mut FileReader<'_>, logs: &Part<'_, '_>) -> OtlpSettings<LogsPushConfig> {
    let Some(part) = reader.part(logs, "otlp") else { return OtlpSettings::default() };
    let mut settings = OtlpSettings::<LogsPushConfig>::read(reader, &part, "logs.otlp");
    let config = &mut settings.config;
    config.queue = reader.size_of_count(&part, "queue").unwrap_or(config.queue);
    config.batch = reader.size_of_count(&part, "batch").unwrap_or(config.batch.min(config.queue));
    if config.batch > config.queue {
        reader.complain(part.at("batch"), format!("`logs.otlp.batch` must be no more than `logs.otlp.queue`, which is {}", config.queue));
    }
    config.interval = reader.duration(&part, "interval").unwrap_or(config.interval);
    settings
}
