//! `[alerts]` and `[[alerts.rule]]`.

use std::ops::Range;

use watchgate_alerts::{AlertsConfig, AlertsConfigError, Operator, Rule, RuleKind};

use super::part::{FileReader, Part, labels};

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
    let metric = reader.text(part, "metric");
    let op = reader.one_of(part, "op").and_then(|op| Operator::parse(&op));
    let threshold = reader.number(part, "threshold");
    Some(Rule { name: name?, metric: metric?, labels: wanted, kind, op: op?, threshold: threshold?, for_, severity, extra_labels, summary })
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
