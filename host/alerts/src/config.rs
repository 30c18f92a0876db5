//! The settings of alerting, and what makes them wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::rule::{Rule, RuleKind};

/// More rules than anybody writes by hand; each costs a pass over the series of its metric at every evaluation.
const MAX_RULES: usize = 1000;
/// A rate keeps one number for each evaluation in its window, so a window is bounded.
const MAX_WINDOW: Duration = Duration::from_secs(24 * 3600);
const MAX_NAME: usize = 128;
const MAX_LABEL_VALUE: usize = 256;

/// How alerts are evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertsConfig {
    /// The rules; their order is the order of notifications.
    pub rules: Vec<Rule>,
    /// Time between two evaluations.
    pub evaluation_interval: Duration,
    /// After this long an alert that still fires is said again.
    pub repeat_interval: Duration,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { rules: Vec::new(), evaluation_interval: Duration::from_secs(15), repeat_interval: Duration::from_secs(4 * 3600) }
    }
}

/// What is wrong with the settings. It is the operator's fault; the text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlertsConfigError {
    /// An interval that cannot be.
    #[error("alerts: `{key}` {problem}")]
    Interval {
        /// The setting.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Too many rules.
    #[error("alerts: {0} rules, at most {MAX_RULES} are allowed")]
    TooManyRules(usize),
    /// One rule is wrong.
    #[error("alert rule {position} `{rule}`: `{key}` {problem}")]
    Rule {
        /// From 1, in the order of the file.
        position: usize,
        /// Its name, perhaps empty.
        rule: String,
        /// The setting.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl AlertsConfig {
    /// Says everything that is wrong, not only the first.
    ///
    /// # Errors
    /// All complaints, in the order of the rules.
    pub fn validate(&self) -> Result<(), Vec<AlertsConfigError>> {
        let mut errors = Vec::new();
        let mut interval = |key, ok: bool, problem: &str| {
            if !ok {
                errors.push(AlertsConfigError::Interval { key, problem: problem.to_owned() });
            }
        };
        interval("evaluation_interval", self.evaluation_interval >= Duration::from_millis(100), "must be at least 100ms");
        interval("repeat_interval", self.repeat_interval >= self.evaluation_interval, "must be at least the evaluation interval");
        if self.rules.len() > MAX_RULES {
            errors.push(AlertsConfigError::TooManyRules(self.rules.len()));
        }
        let mut names = BTreeSet::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let mut problems = rule_problems(rule, self.evaluation_interval);
            if !names.insert(rule.name.as_str()) {
                problems.push(("name", "is used by an earlier rule".to_owned()));
            }
            errors.extend(problems.into_iter().map(|(key, problem)| AlertsConfigError::Rule {
                position: index + 1,
                rule: rule.name.clone(),
                key,
                problem,
            }));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

fn rule_problems(rule: &Rule, evaluation_interval: Duration) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let mut require = |key, ok: bool, problem: &str| {
        if !ok {
            problems.push((key, problem.to_owned()));
        }
    };
    let words = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "-_. ".contains(c));
    require("name", !rule.name.trim().is_empty(), "must not be empty");
    require(
        "name",
        rule.name.len() <= MAX_NAME && words(&rule.name),
        "may have letters, digits, `-`, `_`, `.` and spaces, at most 128 bytes",
    );
    require("metric", is_metric_name(&rule.metric), "must be a metric name as in /metrics, e.g. `watchgate_mcp_tool_calls_total`");
    require("threshold", rule.threshold.is_finite(), "must be a finite number");
    let severity = rule.severity.as_bytes();
    let severity_fits =
        (1..=32).contains(&severity.len()) && severity.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
    require("severity", severity_fits, "must be 1 to 32 of `a-z`, `0-9` and `_`, e.g. `critical`");
    require("summary", rule.summary.len() <= 1024, "must be at most 1024 bytes");
    if let RuleKind::Rate { window } = rule.kind {
        require("rate_over", window >= evaluation_interval, "must be at least the evaluation interval: a rate needs two evaluations");
        require("rate_over", window <= MAX_WINDOW, "must be at most 24h");
    }
    for (key, labels) in [("labels", &rule.labels), ("extra_labels", &rule.extra_labels)] {
        for (name, value) in labels {
            if !is_label_name(name) {
                problems.push((key, format!("has `{name}`, which is not a label name")));
            }
            if value.len() > MAX_LABEL_VALUE {
                problems.push((key, format!("has a value for `{name}` of more than {MAX_LABEL_VALUE} bytes")));
            }
        }
    }
    problems
}

/// Prometheus' rule for metric names.
fn is_metric_name(text: &str) -> bool {
    text.len() <= 256
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// Prometheus' rule for label names.
fn is_label_name(text: &str) -> bool {
    is_metric_name(text) && !text.contains(':')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rule::Operator;

    fn good() -> Rule {
        Rule {
            name: "tool errors".to_owned(),
            metric: "watchgate_mcp_tool_calls_total".to_owned(),
            labels: BTreeMap::new(),
            kind: RuleKind::Rate { window: Duration::from_secs(60) },
            op: Operator::Above,
            threshold: 0.1,
            for_: Duration::ZERO,
            severity: "warning".to_owned(),
            extra_labels: BTreeMap::new(),
            summary: String::new(),
        }
    }

    /// Changes a good rule and names what is complained about.
    fn check(change: impl FnOnce(&mut Rule), expected: &[&str]) {
        let mut rule = good();
        change(&mut rule);
        let config = AlertsConfig { rules: vec![rule], ..AlertsConfig::default() };
        let complaints = config.validate().err().unwrap_or_default();
        let keys: Vec<&str> = complaints
            .iter()
            .map(|error| match error {
                AlertsConfigError::Rule { key, .. } => *key,
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(keys, expected, "{complaints:?}");
    }

    #[test]
    fn each_mistake_is_named() {
        check(|_| (), &[]);
        check(|rule| rule.name.clear(), &["name"]);
        check(|rule| rule.name = "a\nb".to_owned(), &["name"]);
        check(|rule| rule.metric = "tool calls".to_owned(), &["metric"]);
        check(|rule| rule.metric.clear(), &["metric"]);
        check(|rule| rule.threshold = f64::NAN, &["threshold"]);
        check(|rule| rule.severity = "Very Bad".to_owned(), &["severity"]);
        check(|rule| rule.kind = RuleKind::Rate { window: Duration::from_secs(1) }, &["rate_over"]);
        check(|rule| rule.kind = RuleKind::Rate { window: Duration::from_secs(90_000) }, &["rate_over"]);
        check(|rule| _ = rule.labels.insert("a:b".to_owned(), String::new()), &["labels"]);
        check(|rule| _ = rule.extra_labels.insert("team".to_owned(), "x".repeat(300)), &["extra_labels"]);
        check(
            |rule| {
                rule.threshold = f64::INFINITY;
                rule.severity.clear();
            },
            &["threshold", "severity"],
        );
    }

    #[test]
    fn names_are_unique_and_intervals_possible() {
        let config = AlertsConfig {
            rules: vec![good(), good()],
            evaluation_interval: Duration::from_secs(15),
            repeat_interval: Duration::from_secs(1),
        };
        let texts: Vec<String> = config.validate().unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "alerts: `repeat_interval` must be at least the evaluation interval",
                "alert rule 2 `tool errors`: `name` is used by an earlier rule",
            ]
        );
    }
}
