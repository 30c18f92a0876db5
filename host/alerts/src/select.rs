//! Which series of a snapshot a rule speaks of.

use std::collections::BTreeMap;

use watchgate_telemetry::MetricSnapshot;

/// Labels of a series, sorted by name.
pub(crate) type Labels = Vec<(String, String)>;

/// One matching series.
pub(crate) struct Sample<'a> {
    pub labels: &'a [(String, String)],
    pub value: f64,
}

/// The series of `metric` that have every wanted label with exactly the wanted value. A series without the label matches the empty value.
pub(crate) fn matching<'a>(snapshot: &'a MetricSnapshot, metric: &'a str, wanted: &BTreeMap<String, String>) -> Vec<Sample<'a>> {
    snapshot
        .of(metric)
        .filter(|series| wanted.iter().all(|(name, value)| series.label(name) == value))
        .map(|series| Sample { labels: &series.labels, value: series.value })
        .collect()
}
