//! All series as plain values at one moment: what alert rules are evaluated on.

use prometheus::proto::{Metric, MetricFamily, MetricType};

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The metric; for histograms with `_count` or `_sum` appended.
    pub name: String,
    /// Label names and values, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

/// Every series of the core and of live plugins; histograms by count and sum, without buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricSnapshot {
    /// Sorted by name.
    pub series: Vec<Series>,
}

impl MetricSnapshot {
    /// The series of one metric.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Series> {
        let start = self.series.partition_point(|series| series.name.as_str() < name);
        self.series[start..].iter().take_while(move |series| series.name == name)
    }

    /// Sorts series given in any order.
    pub fn from_series(mut series: Vec<Series>) -> Self {
        series.sort_by(|left, right| left.name.cmp(&right.name).then_with(|| left.labels.cmp(&right.labels)));
        Self { series }
    }

    pub(crate) fn from_families(families: &[MetricFamily]) -> Self {
        let mut series = Vec::new();
        for family in families {
            for metric in family.get_metric() {
                let labels: Vec<_> = metric.get_label().iter().map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
                let mut push = |suffix: &str, value: f64| {
                    series.push(Series { name: format!("{}{suffix}", family.name()), labels: labels.clone(), value });
                };
                match family.get_field_type() {
                    MetricType::COUNTER => push("", metric.get_counter().get_value()),
                    MetricType::HISTOGRAM => {
                        let histogram = metric.get_histogram();
                        push("_count", count(histogram.get_sample_count()));
                        push("_sum", histogram.get_sample_sum());
                    }
                    MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => push("", metric.get_gauge().get_value()),
                }
            }
        }
        Self::from_series(series)
    }
}

impl Series {
    /// The value of a label; empty when the series does not have it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// What a series has counted; for gauges its value.
pub(crate) fn events(kind: MetricType, metric: &Metric) -> f64 {
    match kind {
        MetricType::COUNTER => metric.get_counter().get_value(),
        MetricType::HISTOGRAM => count(metric.get_histogram().get_sample_count()),
        MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => metric.get_gauge().get_value(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a counter of 2^53 observations is out of reach, and the text format has the same limit")]
fn count(count: u64) -> f64 {
    count as f64
}
