//! How many series each metric has, what was folded into `_other`, and what telemetry was lost.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::{Metric, MetricFamily, MetricType};
use serde::Serialize;

use crate::families::MetricName;
use crate::intern::OTHER;
use crate::telemetry::Telemetry;

/// What a scrape would hold now, by metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cardinality {
    /// Series in all.
    pub series: usize,
    /// Lines with a value in all: a histogram's series has one for each bucket, and two more.
    pub samples: usize,
    /// Every metric that has series, the one with the most samples first.
    pub metrics: Vec<MetricCardinality>,
    /// What went to `_other`, because a set of values is full or knows only some.
    pub folded: Vec<Folded>,
    /// What was lost.
    pub dropped: Vec<Dropped>,
}

/// The series of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricCardinality {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The plugins that declared it; none for a metric of the gateway's own.
    pub plugins: Vec<String>,
    /// Combinations of label values.
    pub series: usize,
    /// Lines with a value.
    pub samples: usize,
    /// Different values of each label.
    pub labels: BTreeMap<String, usize>,
}

/// The events of one metric whose value for one label was not used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Folded {
    /// The metric.
    pub metric: String,
    /// The label that says `_other`.
    pub label: String,
    /// Series in which it does.
    pub series: usize,
    /// Events counted in them; of gauges the sum of their values.
    pub events: f64,
}

/// A row of `watchgate_telemetry_dropped_total`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dropped {
    /// Which kind of telemetry.
    pub signal: String,
    /// Why.
    pub reason: String,
    /// How often.
    pub count: f64,
}

impl Telemetry {
    /// How many series each metric has, what was folded and what was lost.
    pub fn cardinality(&self) -> Cardinality {
        let families = self.store.families();
        let mut metrics: Vec<MetricCardinality> = families.iter().map(of_family).collect();
        metrics.sort_by(|left, right| right.samples.cmp(&left.samples).then_with(|| left.name.cmp(&right.name)));
        Cardinality {
            series: metrics.iter().map(|metric| metric.series).sum(),
            samples: metrics.iter().map(|metric| metric.samples).sum(),
            metrics,
            folded: families.iter().flat_map(folded).collect(),
            dropped: families.iter().filter(|family| family.name() == MetricName::TelemetryDropped.as_str()).flat_map(dropped).collect(),
        }
    }
}

fn of_family(family: &MetricFamily) -> MetricCardinality {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for label in family.get_metric().iter().flat_map(Metric::get_label) {
        values.entry(label.name()).or_default().insert(label.value());
    }
    let is_own = MetricName::all().any(|row| row.name == family.name());
    let plugins = values.get("plugin").filter(|_| !is_own).map(|plugins| plugins.iter().map(ToString::to_string).collect());
    let samples = |metric: &Metric| match family.get_field_type() {
        // The bucket without a bound is written, but is none of these.
        MetricType::HISTOGRAM => metric.get_histogram().get_bucket().len() + 3,
        _ => 1,
    };
    MetricCardinality {
        name: family.name().to_owned(),
        kind: kind(family),
        plugins: plugins.unwrap_or_default(),
        series: family.get_metric().len(),
        samples: family.get_metric().iter().map(samples).sum(),
        labels: values.into_iter().map(|(label, values)| (label.to_owned(), values.len())).collect(),
    }
}

fn kind(family: &MetricFamily) -> &'static str {
    match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::HISTOGRAM => "histogram",
        MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => "gauge",
    }
}

fn folded(family: &MetricFamily) -> Vec<Folded> {
    let mut by_label: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for metric in family.get_metric() {
        for label in metric.get_label().iter().filter(|label| label.value() == OTHER) {
            let (series, events) = by_label.entry(label.name()).or_default();
            *series += 1;
            *events += crate::snapshot::events(family.get_field_type(), metric);
        }
    }
    let row = |(label, (series, events)): (&str, (usize, f64))| Folded {
        metric: family.name().to_owned(),
        label: label.to_owned(),
        series,
        events,
    };
    by_label.into_iter().filter(|(_, (_, events))| *events > 0.0).map(row).collect()
}

fn dropped(family: &MetricFamily) -> Vec<Dropped> {
    let row = |metric: &Metric| {
        let label = |name: &str| metric.get_label().iter().find(|label| label.name() == name).map_or("", |label| label.value()).to_owned();
        Dropped { signal: label("signal"), reason: label("reason"), count: metric.get_counter().get_value() }
    };
    family.get_metric().iter().map(row).filter(|dropped| dropped.count > 0.0).collect()
}
