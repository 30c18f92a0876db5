//! A plugin of all kinds whose behaviour is chosen by its configuration, so that one component serves the tests of the host.
//!
//! Every key is optional. `when` limits misbehaviour to messages whose raw body holds that text (and to operations whose name does), so
//! that the trial of a new generation passes and a test decides when it happens.

mod config;
mod evil;
mod redact;

use watchgate_plugin::{
    Alert, AlertAction, Counter, Gauge, HealthCheck, Message, MetricCollection, MetricDerivation, Operation, Plugin, RedactionPolicy,
    Report, Setup, Status, Verdict, export_plugin, info,
};

use config::Config;

struct Probe {
    config: Config,
    /// Calls of `redact` on this instance.
    calls: u64,
    notified: u32,
    redacted: Counter,
    operations: Counter,
    text_bytes: Counter,
    collections: Gauge,
    collected: u32,
}

impl Plugin for Probe {
    fn start(setup: &Setup) -> Result<Self, String> {
        let config: Config = setup.config_as()?;
        match config.start.as_str() {
            "ok" => {}
            "err" => return Err("the probe was told to refuse".to_owned()),
            other => evil::do_evil(other)?,
        }
        config.declare_interest(setup)?;
        let starts = Counter::declare("probe_starts_total", "Instances started.", "", &[])?;
        let probe = Self {
            calls: 0,
            notified: 0,
            collected: 0,
            redacted: Counter::declare("probe_redacted_total", "Messages seen by redact.", "", &["surface"])?,
            operations: Counter::declare("probe_operations_total", "Operations seen by observe.", "", &["outcome", "name"])?,
            text_bytes: Counter::declare("probe_text_bytes_total", "Bytes of text seen by observe.", "bytes", &["side"])?,
            collections: Gauge::declare("probe_collections", "Calls of collect on this instance.", "", &[])?,
            config,
        };
        starts.add(1.0, &[]);
        Ok(probe)
    }
}

impl RedactionPolicy for Probe {
    fn redact(&mut self, message: &Message) -> Verdict {
        self.calls += 1;
        redact::redact(self, message)
    }
}

impl MetricDerivation for Probe {
    fn observe(&mut self, operation: &Operation) {
        let name = operation.name().unwrap_or_default();
        self.operations.add(1.0, &[&operation.outcome(), &name]);
        for (side, text) in [("request", operation.request_text()), ("response", operation.response_text())] {
            if let Some(text) = text {
                self.text_bytes.add(text.len() as f64, &[side]);
            }
        }
        if !self.config.when.is_empty() && !name.contains(&self.config.when) {
            return;
        }
        match self.config.observe.as_str() {
            "count" => {}
            "undeclared-metric" => match Counter::declare("probe_late_total", "Declared outside start.", "", &[]) {
                Ok(_) => info!("late declaration accepted"),
                Err(reason) => info!("late declaration refused: {reason}"),
            },
            "series-flood" => (0..5000).for_each(|series| self.operations.add(1.0, &["flood", &series.to_string()])),
            "bad-values" => self.operations.add(-1.0, &["bad", &name]),
            other => evil::must_do_evil(other),
        }
    }
}

impl MetricCollection for Probe {
    fn collect(&mut self) {
        self.collected += 1;
        self.collections.set(f64::from(self.collected), &[]);
    }
}

impl HealthCheck for Probe {
    fn check(&mut self) -> Report {
        let report = |status, detail: &str| Report { status, detail: detail.to_owned() };
        match self.config.health.as_str() {
            "ok" => report(Status::Ok, "the probe is well"),
            "degraded" => report(Status::Degraded, "the probe was told to be degraded"),
            "failing" => report(Status::Failing, "the probe was told to fail"),
            "long" => report(Status::Ok, &"long detail ".repeat(1000)),
            other => {
                evil::must_do_evil(other);
                report(Status::Ok, "the probe waited")
            }
        }
    }
}

impl AlertAction for Probe {
    fn notify(&mut self, alert: &Alert) -> Result<(), String> {
        self.notified += 1;
        info!("alert {}", alert.json());
        match self.config.notify.as_str() {
            "ok" => Ok(()),
            "error" => Err("the probe was told to fail".to_owned()),
            other => match other.strip_prefix("error-first:").and_then(|count| count.parse::<u32>().ok()) {
                Some(count) if self.notified <= count => Err(format!("the probe was told to fail {count} times")),
                Some(_) => Ok(()),
                None => evil::do_evil(other),
            },
        }
    }
}

export_plugin!(Probe: redaction, derivation, collection, health, alerting);
