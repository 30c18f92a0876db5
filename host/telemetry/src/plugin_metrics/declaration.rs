//! What a plugin says about a metric of its own, and the rules it has to keep.

use std::collections::HashSet;

use crate::MetricKind;
use crate::buckets::OPERATION_BUCKETS;

/// Longest metric name, bytes.
const LONGEST_NAME: usize = 128;
/// Longest help text, bytes.
const LONGEST_HELP: usize = 1024;
const MOST_LABELS: usize = 10;
const MOST_BUCKETS: usize = 30;
/// Names that belong to the gateway, or to Prometheus' own bookkeeping.
const RESERVED_PREFIXES: [&str; 4] = ["watchgate_", "mcp_", "process_", "scrape_"];
const RESERVED_NAMES: [&str; 1] = ["up"];
/// Labels that are added to every series, or that the text format uses.
const RESERVED_LABELS: [&str; 4] = ["plugin", "le", "quantile", "job"];

/// A metric as a plugin declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// How its values behave.
    pub kind: MetricKind,
    /// A Prometheus name.
    pub name: String,
    /// One sentence; empty is allowed.
    pub help: String,
    /// For example `bytes` or `seconds`; empty for a plain number.
    pub unit: String,
    /// Label names, in the order in which values will come.
    pub labels: Vec<String>,
    /// Upper bounds of a histogram in rising order; empty for the default of durations in seconds.
    pub buckets: Vec<f64>,
}

/// Why a declaration was refused: always the plugin's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// The name is not `[a-zA-Z_:][a-zA-Z0-9_:]*` of at most 128 bytes.
    #[error("`{0}` is no metric name: letters, digits, `_` and `:`, no digit first, at most 128 bytes")]
    BadName(String),
    /// The name belongs to the gateway or to Prometheus.
    #[error("the name `{0}` is reserved: `watchgate_`, `mcp_`, `process_`, `scrape_` and `up` are not for plugins")]
    Reserved(String),
    /// The help or unit holds more than 1024 bytes.
    #[error("the help or unit of `{0}` is longer than 1024 bytes")]
    LongText(String),
    /// A label is no label name, reserved, or stands twice; or there are more than 10.
    #[error("`{0}`: labels are at most 10 different names of letters, digits and `_`, and not `plugin`, `le`, `quantile`, `job` or `__*`")]
    BadLabels(String),
    /// Bounds are not finite, not rising, more than 30, or given for another type.
    #[error("`{0}`: buckets are at most 30 finite bounds in rising order, and only for histograms")]
    BadBuckets(String),
    /// The plugin declared the name with another shape.
    #[error("`{0}` is declared twice with different type, help, unit, labels or buckets")]
    Redeclared(String),
    /// Another plugin has the name with another type, or a histogram's `_bucket`, `_sum` or `_count` series would clash.
    #[error("`{0}` is taken by another metric of another type")]
    Taken(String),
    /// More than 100 metrics.
    #[error("a plugin may declare at most 100 metrics")]
    TooManyMetrics,
    /// Not declared by the first run of `start`.
    #[error("`{0}` was not declared by the first run of `start`")]
    NotInFirstStart(String),
}

impl Declaration {
    /// The declaration with defaults filled in, if it keeps the rules.
    pub(super) fn checked(mut self) -> Result<Self, DeclareError> {
        let name = || self.name.clone();
        if self.name.len() > LONGEST_NAME || !is_identifier(&self.name, ":") {
            return Err(DeclareError::BadName(crate::bounded_names::cut(&self.name).to_owned()));
        }
        if RESERVED_PREFIXES.iter().any(|prefix| self.name.starts_with(prefix)) || RESERVED_NAMES.contains(&self.name.as_str()) {
            return Err(DeclareError::Reserved(name()));
        }
        if self.help.len() > LONGEST_HELP || self.unit.len() > LONGEST_HELP {
            return Err(DeclareError::LongText(name()));
        }
        let distinct: HashSet<_> = self.labels.iter().collect();
        if self.labels.len() > MOST_LABELS || distinct.len() < self.labels.len() || !self.labels.iter().all(|label| is_label(label)) {
            return Err(DeclareError::BadLabels(name()));
        }
        let rising = self.buckets.iter().all(|bound| bound.is_finite()) && self.buckets.is_sorted_by(|low, high| low < high);
        let fits = self.kind == MetricKind::Histogram || self.buckets.is_empty();
        if self.buckets.len() > MOST_BUCKETS || !rising || !fits {
            return Err(DeclareError::BadBuckets(name()));
        }
        if self.kind == MetricKind::Histogram && self.buckets.is_empty() {
            self.buckets = OPERATION_BUCKETS.to_vec();
        }
        Ok(self)
    }

    /// The names that stand at the head of its lines in the text format.
    pub(super) fn sample_names(&self) -> Vec<String> {
        let mut names = vec![self.name.clone()];
        if self.kind == MetricKind::Histogram {
            names.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", self.name)));
        }
        names
    }

    /// The help line: never empty, because the encoder wants one.
    pub(super) fn help_line(&self) -> String {
        let help = if self.help.is_empty() { "Declared by a plugin without a description." } else { &self.help };
        if self.unit.is_empty() { help.to_owned() } else { format!("{help} Unit: {}.", self.unit) }
    }
}

fn is_label(name: &str) -> bool {
    name.len() <= LONGEST_NAME && is_identifier(name, "") && !name.starts_with("__") && !RESERVED_LABELS.contains(&name)
}

fn is_identifier(name: &str, also: &str) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || character == '_' || also.contains(character);
    name.chars().all(fits) && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{Declaration, DeclareError};
    use crate::MetricKind::{self, Counter, Gauge, Histogram};

    fn declaration(kind: MetricKind, name: &str, labels: &[&str], buckets: &[f64]) -> Declaration {
        let labels = labels.iter().map(ToString::to_string).collect();
        Declaration { kind, name: name.into(), help: "Help.".into(), unit: String::new(), labels, buckets: buckets.to_vec() }
    }

    fn check(declaration: Declaration, expected: Option<fn(String) -> DeclareError>) {
        let name = declaration.name.clone();
        assert_eq!(declaration.checked().err(), expected.map(|error| error(name.clone())), "{name}");
    }

    #[test]
    fn names_are_prometheus_names_and_not_the_gateways() {
        for good in ["a", "_a9", "a:b_total", "uptime", "mcpx"] {
            check(declaration(Counter, good, &[], &[]), None);
        }
        for bad in ["", "9a", "a-b", "a b", "a\nb", "ä", "a{b"] {
            check(declaration(Counter, bad, &[], &[]), Some(DeclareError::BadName));
        }
        for reserved in ["watchgate_x", "mcp_x_total", "process_x", "scrape_x", "up"] {
            check(declaration(Gauge, reserved, &[], &[]), Some(DeclareError::Reserved));
        }
        let long = declaration(Counter, &"x".repeat(129), &[], &[]);
        assert_eq!(long.checked(), Err(DeclareError::BadName("x".repeat(128))));
    }

    #[test]
    fn labels_are_few_different_and_free() {
        check(declaration(Counter, "x", &["a", "_b", "c9"], &[]), None);
        for bad in [vec!["a", "a"], vec!["plugin"], vec!["le"], vec!["__x"], vec!["9"], vec![""], vec!["a:b"], vec!["é"]] {
            check(declaration(Counter, "x", &bad, &[]), Some(DeclareError::BadLabels));
        }
        let eleven = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        check(declaration(Counter, "x", &eleven, &[]), Some(DeclareError::BadLabels));
        check(declaration(Counter, "x", &eleven[..10], &[]), None);
    }

    #[test]
    fn buckets_rise() {
        check(declaration(Histogram, "x", &[], &[0.1, 1.0]), None);
        for bad in [vec![1.0, 0.1], vec![1.0, 1.0], vec![f64::NAN], vec![1.0, f64::INFINITY], vec![0.0; 31]] {
            check(declaration(Histogram, "x", &[], &bad), Some(DeclareError::BadBuckets));
        }
        check(declaration(Counter, "x", &[], &[1.0]), Some(DeclareError::BadBuckets));
        assert!(!declaration(Histogram, "x", &[], &[]).checked().unwrap().buckets.is_empty());
    }
}
