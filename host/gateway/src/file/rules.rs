//! `[alerts]` and `[[alerts.rule]]`.

use std::collections::BTreeMap;
use std::ops::Range;

use watchgate_alerts::{AlertsConfig, AlertsConfigError, Operator, Rule, RuleKind};
use watchgate_telemetry::MetricKind;

use super::part::{FileReader, Part, labels};
use crate::known_series::{self, Named};

/// Reads `[alerts]`.
pub fn read(reader: &mut FileReader<'_>, top: &Part<'_, '_>) -> AlertsConfig {
    let mut alerts = AlertsConfig::default();
    let Some(part) = reader.part(top, "alerts") else { return alerts };
    alerts.evaluation_interval = reader.duration(&part, "evaluation_interval").unwrap_or(alerts.evaluation_interval);
    alerts.repeat_interval = reader.duration(&part, "repeat_interval").unwrap_or(alerts.repeat_interval);
    let rules = reader.list(&part, "rule");
    let (places, rules): (Vec<_>, Vec<_>) = rules.iter().filter_map(|part| Some((part.at("name"), read_rule(reader, part)?))).unzip();
    alerts.rules = rules;
    complain_together(reader, &alerts, &part, &places);
    alerts
}

/// One rule, if it is sound. What only makes sense together with the other rules is checked by `watchgate-alerts`.
fn read_rule(reader: &mut FileReader<'_>, part: &Part<'_, '_>) -> Option<Rule> {
    let kind = match reader.duration(part, "rate_over") {
        Some(window) => RuleKind::Rate { window },
        None => RuleKind::Value,
    };
    let wanted = reader.read(part, "labels", labels).unwrap_or_default();
    let for_ = reader.duration(part, "for").unwrap_or_default();
    let severity = reader.text(part, "severity").unwrap_or_else(|| "warning".to_owned());
    let extra_labels = reader.read(part, "extra_labels", labels).unwrap_or_default();
    let summary = reader.text(part, "summary").unwrap_or_default();
    let name = reader.text(part, "name");
    let metric = reader.parsed(part, "metric", metric);
    complain_of_labels(reader, part, metric.as_deref(), &wanted);
    let op = reader.one_of(part, "op").and_then(|op| Operator::parse(&op));
    let threshold = reader.number(part, "threshold");
    Some(Rule { name: name?, metric: metric?, labels: wanted, kind, op: op?, threshold: threshold?, for_, severity, extra_labels, summary })
}

/// The name of a metric that has values to compare, or may be a plugin's.
fn metric(name: &str) -> Result<String, String> {
    match known_series::metric(name) {
        Err(problem) => Err(format!("must be a metric as in /metrics: {problem}")),
        Ok(Named::Own(row)) if row.kind == MetricKind::Histogram => {
            Err(format!("must be one series: {name} is a histogram, with {name}_count and {name}_sum"))
        }
        Ok(_) => Ok(name.to_owned()),
    }
}

/// A rule about labels that the metric does not have would never fire.
fn complain_of_labels(reader: &mut FileReader<'_>, part: &Part<'_, '_>, metric: Option<&str>, labels: &BTreeMap<String, String>) {
    let Some(Ok(Some(row))) = metric.map(|metric| known_series::metric(metric).map(Named::definition)) else { return };
    for (label, value) in labels {
        if let Err(problem) = known_series::label(row, label, Some(value)) {
            reader.complain(part.at("labels"), format!("{}: {problem}", part.path("labels")));
        }
    }
}

/// What is wrong with rules that could be read, alone or together, at the place of each.
fn complain_together(reader: &mut FileReader<'_>, alerts: &AlertsConfig, part: &Part<'_, '_>, places: &[Range<usize>]) {
    for mistake in alerts.validate().err().unwrap_or_default() {
        let place = match &mistake {
            AlertsConfigError::Rule { position, .. } => places.get(position - 1).cloned(),
            AlertsConfigError::Interval { key, .. } => Some(part.at(key)),
            AlertsConfigError::TooManyRules(_) => None,
        };
        reader.complain(place.unwrap_or_else(|| part.at("rule")), mistake.to_string());
    }
}
