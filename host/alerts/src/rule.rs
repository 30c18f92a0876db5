//! What an operator asks to be told about: one condition on one metric.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// One rule. [`crate::AlertsConfig::validate`] says what a rule must keep to.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique among the rules; the name of its alerts.
    pub name: String,
    /// Metric name as in `/metrics`; for a histogram its `_count` or `_sum`.
    pub metric: String,
    /// A series matches when it has each of these labels with exactly this value. An empty value matches a series without the label.
    pub labels: BTreeMap<String, String>,
    /// What is compared.
    pub kind: RuleKind,
    /// How it is compared.
    pub op: Operator,
    /// With what.
    pub threshold: f64,
    /// How long the condition must hold before the alert fires. Zero: at once.
    pub for_: Duration,
    /// For routing, e.g. `critical`, `warning`, `info`.
    pub severity: String,
    /// Added to the labels of its alerts; they win over labels of the series.
    pub extra_labels: BTreeMap<String, String>,
    /// One sentence for people; may be empty.
    pub summary: String,
}

impl Rule {
    /// Whether an alert of the one, once fired, is an alert of the other: the same name and labels, over the same series.
    pub(crate) fn has_alerts_of(&self, other: &Self) -> bool {
        let identity = |rule: &Self| (rule.name.clone(), rule.metric.clone(), rule.labels.clone(), rule.kind);
        let shown = |rule: &Self| (rule.severity.clone(), rule.extra_labels.clone());
        identity(self) == identity(other) && shown(self) == shown(other)
    }
}

/// What a rule compares with its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// The value of each matching series. Each series in which the condition holds is an alert of its own.
    Value,
    /// The increase for each second of all matching counters together. One alert a rule.
    Rate {
        /// How far back increases count.
        window: Duration,
    },
}

/// How a value is compared with the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Operator {
    /// `>`
    #[serde(rename = ">")]
    Above,
    /// `>=`
    #[serde(rename = ">=")]
    AtLeast,
    /// `<`
    #[serde(rename = "<")]
    Below,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
}

impl Operator {
    /// Reads `>`, `>=`, `<` or `<=`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            ">" => Some(Self::Above),
            ">=" => Some(Self::AtLeast),
            "<" => Some(Self::Below),
            "<=" => Some(Self::AtMost),
            _ => None,
        }
    }

    /// Whether `value` stands so to `threshold`. NaN never does.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_compare_as_written() {
        let check = |text: &str, expected: [bool; 4]| {
            let op = Operator::parse(text).unwrap();
            assert_eq!([0.0, 1.0, 2.0, f64::NAN].map(|value| op.holds(value, 1.0)), expected, "{text}");
        };
        check(">", [false, false, true, false]);
        check(">=", [false, true, true, false]);
        check("<", [true, false, false, false]);
        check("<=", [true, true, false, false]);
        assert_eq!(Operator::parse("=="), None);
    }
}
