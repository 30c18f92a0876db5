//! What `/api/alerts` shows: a snapshot, ready to be written as JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use watchgate_hooks::{Alert, AlertState, unix_ms};

use crate::rule::{Operator, Rule, RuleKind};

/// Everything about alerts at one time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AlertsSnapshot {
    /// When the rules were last evaluated, milliseconds since the Unix epoch; 0 before the first time.
    pub evaluated_at_ms: u64,
    /// In the order of the configuration.
    pub rules: Vec<RuleStatus>,
    /// Pending and firing alerts, by rule.
    pub alerts: Vec<ActiveAlert>,
    /// The last resolved alerts, newest first.
    pub resolved: Vec<ActiveAlert>,
    /// Notifications that have not arrived yet, by action.
    pub waiting: BTreeMap<String, usize>,
}

/// One rule and how it stands.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStatus {
    /// The rule's name.
    pub name: String,
    /// The metric.
    pub metric: String,
    /// Labels a series must have.
    pub labels: BTreeMap<String, String>,
    /// The window of a rate in seconds; absent for a value rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_over_seconds: Option<f64>,
    /// How it compares.
    pub op: Operator,
    /// With what.
    pub threshold: f64,
    /// How long the condition must hold, in seconds.
    pub for_seconds: f64,
    /// The severity.
    pub severity: String,
    /// Matching series at the last evaluation. 0 means that the rule has nothing to look at: perhaps a misspelt name.
    pub series: usize,
    /// Series, or alerts of a value rule, left out because there are too many.
    pub ignored: usize,
    /// Alerts whose condition does not yet hold long enough.
    pub pending: usize,
    /// Alerts that fire.
    pub firing: usize,
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertPhase {
    /// The condition holds, but not yet long enough.
    Pending,
    /// It has been said.
    Firing,
    /// It is over.
    Resolved,
}

/// One alert.
#[derive(Clone, Debug, Serialize)]
pub struct ActiveAlert {
    /// The rule's name.
    pub name: String,
    /// Where it stands.
    pub state: AlertPhase,
    /// The severity.
    pub severity: String,
    /// The summary.
    pub summary: String,
    /// The value last compared.
    pub value: f64,
    /// The threshold.
    pub threshold: f64,
    /// Labels of the series and of the rule.
    pub labels: BTreeMap<String, String>,
    /// When it began to fire, milliseconds since the Unix epoch; absent while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<u64>,
    /// When it was over, milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at_ms: Option<u64>,
    /// As in notifications.
    pub fingerprint: String,
}

impl RuleStatus {
    pub(crate) fn new(rule: &Rule, series: usize, ignored: usize, pending: usize, firing: usize) -> Self {
        Self {
            name: rule.name.clone(),
            metric: rule.metric.clone(),
            labels: rule.labels.clone(),
            rate_over_seconds: match rule.kind {
                RuleKind::Value => None,
                RuleKind::Rate { window } => Some(window.as_secs_f64()),
            },
            op: rule.op,
            threshold: rule.threshold,
            for_seconds: rule.for_.as_secs_f64(),
            severity: rule.severity.clone(),
            series,
            ignored,
            pending,
            firing,
        }
    }
}

impl ActiveAlert {
    pub(crate) fn new(alert: Alert, state: AlertPhase) -> Self {
        Self {
            state,
            started_at_ms: (state != AlertPhase::Pending).then(|| unix_ms(alert.started_at)),
            resolved_at_ms: alert.resolved_at.filter(|_| alert.state == AlertState::Resolved).map(unix_ms),
            name: alert.name,
            severity: alert.severity,
            summary: alert.summary,
            value: alert.value,
            threshold: alert.threshold,
            labels: alert.labels.into_iter().collect(),
            fingerprint: alert.fingerprint,
        }
    }
}
