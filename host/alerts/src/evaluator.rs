//! Turns one snapshot of the metrics after another into notifications. Pure: the time is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use watchgate_hooks::{Alert, AlertState};
use watchgate_telemetry::MetricSnapshot;

use crate::condition::{Condition, Transition};
use crate::config::AlertsConfig;
use crate::fingerprint::fingerprint;
use crate::moment::Moment;
use crate::rate::RateWindow;
use crate::rule::{Rule, RuleKind};
use crate::select::{Labels, matching};
use crate::status::{ActiveAlert, AlertPhase, RuleStatus};

/// Alerts that one rule may have at a time. More of them would say the same thing a hundred times.
pub const MAX_ALERTS_PER_RULE: usize = 100;

/// The rules and where each of their alerts stands.
///
/// A value rule has one alert for each matching series in which its condition holds. A rate rule has one alert, over the sum of all matching
/// series. No data is no alert: an alert whose series is gone is resolved.
pub struct Evaluator {
    rules: Vec<RuleState>,
    repeat_interval: Duration,
}

struct RuleState {
    rule: Rule,
    rate: Option<RateWindow>,
    alerts: BTreeMap<Labels, Condition>,
    series: usize,
    ignored: usize,
}

/// What a rule compares, labelled as its alert will be found again.
type Observations = Vec<(Labels, f64)>;

impl Evaluator {
    /// An evaluator that has seen nothing. The configuration is a valid one.
    pub fn new(config: &AlertsConfig) -> Self {
        let rules = config.rules.iter().map(|rule| RuleState::new(rule.clone())).collect();
        Self { rules, repeat_interval: config.repeat_interval }
    }

    /// Goes by another configuration, a valid one, from the next step on. A rule keeps its alerts when they are still the same ones to
    /// whoever was told of them; those of the others are over. Returns what has to be said of these.
    pub fn reconfigure(&mut self, config: &AlertsConfig, now: Moment) -> Vec<Alert> {
        let mut before = std::mem::take(&mut self.rules);
        for rule in &config.rules {
            let kept = before.iter().position(|state| state.rule.has_alerts_of(rule)).map(|index| before.remove(index));
            self.rules.push(match kept {
                Some(state) => RuleState { rule: rule.clone(), ..state },
                None => RuleState::new(rule.clone()),
            });
        }
        self.repeat_interval = config.repeat_interval;
        before.iter_mut().flat_map(|state| state.resolve(now, &Observations::new())).collect()
    }

    /// Looks at the metrics as they are `now` and returns what has to be said, in the order of the rules.
    pub fn step(&mut self, now: Moment, snapshot: &MetricSnapshot) -> Vec<Alert> {
        let repeat_interval = self.repeat_interval;
        self.rules.iter_mut().flat_map(|state| state.step(now, snapshot, repeat_interval)).collect()
    }

    /// Whether there is nothing to evaluate.
    pub fn has_no_rules(&self) -> bool {
        self.rules.is_empty()
    }

    /// What fires now, worded as repeats: for an action that was not there when it was said first.
    pub fn firing(&self) -> Vec<Alert> {
        let firing = self.rules.iter().flat_map(|state| {
            state.alerts.iter().filter_map(|(labels, condition)| {
                let started_at = condition.firing_since()?;
                Some(Alert { is_repeat: true, ..state.alert(labels, condition.value(), started_at) })
            })
        });
        firing.collect()
    }

    /// How many alerts fire, for every severity that a rule has: a closed set, with zeros.
    pub fn firing_by_severity(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for state in &self.rules {
            let firing = state.alerts.values().filter(|condition| condition.firing_since().is_some()).count();
            *counts.entry(state.rule.severity.as_str()).or_insert(0) += firing;
        }
        counts
    }

    /// Where each rule stands.
    pub(crate) fn rule_status(&self) -> Vec<RuleStatus> {
        self.rules.iter().map(RuleState::status).collect()
    }

    /// Pending and firing alerts.
    pub(crate) fn active(&self) -> Vec<ActiveAlert> {
        let active = self.rules.iter().flat_map(|state| {
            state.alerts.iter().map(|(labels, condition)| {
                let started_at = condition.firing_since();
                let alert = state.alert(labels, condition.value(), started_at.unwrap_or(SystemTime::UNIX_EPOCH));
                ActiveAlert::new(alert, if started_at.is_some() { AlertPhase::Firing } else { AlertPhase::Pending })
            })
        });
        active.collect()
    }
}

impl RuleState {
    fn new(rule: Rule) -> Self {
        let rate = match rule.kind {
            RuleKind::Value => None,
            RuleKind::Rate { window } => Some(RateWindow::new(window)),
        };
        Self { rule, rate, alerts: BTreeMap::new(), series: 0, ignored: 0 }
    }

    fn step(&mut self, now: Moment, snapshot: &MetricSnapshot, repeat_interval: Duration) -> Vec<Alert> {
        let observations = self.observe(now, snapshot);
        let mut said = self.resolve(now, &observations);
        for (labels, value) in observations {
            if !self.rule.op.holds(value, self.rule.threshold) {
                continue;
            }
            if !self.alerts.contains_key(&labels) && self.alerts.len() >= MAX_ALERTS_PER_RULE {
                self.ignored += 1;
                continue;
            }
            let condition = self.alerts.entry(labels.clone()).or_insert_with(|| Condition::begin(now, value));
            let Some(transition) = condition.hold(now, value, self.rule.for_, repeat_interval) else { continue };
            let started_at = condition.firing_since().unwrap_or(now.wall);
            said.push(Alert { is_repeat: transition == Transition::StillFires, ..self.alert(&labels, value, started_at) });
        }
        said
    }

    fn observe(&mut self, now: Moment, snapshot: &MetricSnapshot) -> Observations {
        let samples = matching(snapshot, &self.rule.metric, &self.rule.labels);
        let Some(rate) = &mut self.rate else {
            (self.series, self.ignored) = (samples.len(), 0);
            return samples.iter().map(|sample| (sample.labels.to_vec(), sample.value)).collect();
        };
        let observed = rate.observe(now.elapsed, &samples);
        (self.series, self.ignored) = (observed.series, observed.ignored);
        let labels = self.rule.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        observed.rate.map(|rate| (labels, rate)).into_iter().collect()
    }

    /// Ends the alerts whose condition does not hold any more or whose series is gone.
    fn resolve(&mut self, now: Moment, observations: &Observations) -> Vec<Alert> {
        let holding: BTreeSet<&Labels> =
            observations.iter().filter(|(_, value)| self.rule.op.holds(*value, self.rule.threshold)).map(|(labels, _)| labels).collect();
        let over: Vec<(Labels, Condition)> = self.alerts.extract_if(.., |labels, _| !holding.contains(labels)).collect();
        let resolved = over.into_iter().filter_map(|(labels, condition)| {
            let started_at = condition.firing_since()?;
            let value = observations.iter().find(|(observed, _)| *observed == labels).map_or(condition.value(), |(_, value)| *value);
            Some(Alert { state: AlertState::Resolved, resolved_at: Some(now.wall), ..self.alert(&labels, value, started_at) })
        });
        resolved.collect()
    }

    /// The notification that the alert with these labels fires.
    fn alert(&self, series: &[(String, String)], value: f64, started_at: SystemTime) -> Alert {
        let mut labels: BTreeMap<String, String> = series.iter().cloned().collect();
        labels.retain(|_, value| !value.is_empty());
        labels.extend(self.rule.extra_labels.clone());
        let labels: Labels = labels.into_iter().collect();
        Alert {
            name: self.rule.name.clone(),
            state: AlertState::Firing,
            is_repeat: false,
            severity: self.rule.severity.clone(),
            summary: self.rule.summary.clone(),
            value,
            threshold: self.rule.threshold,
            started_at,
            resolved_at: None,
            fingerprint: fingerprint(&self.rule.name, series),
            labels,
        }
    }

    fn status(&self) -> RuleStatus {
        let firing = self.alerts.values().filter(|condition| condition.firing_since().is_some()).count();
        RuleStatus::new(&self.rule, self.series, self.ignored, self.alerts.len() - firing, firing)
    }
}
