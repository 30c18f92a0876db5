//! The series of one metric of a plugin. Two generations with equal declarations share it.

use parking_lot::Mutex;
use prometheus::{Counter, Gauge, Histogram};

use super::Declaration;
use crate::MetricKind;
use crate::bounded_names::cut;
use crate::family::{Family, Gathered};
use crate::intern::OTHER;

pub(crate) struct PluginFamily {
    declaration: Declaration,
    values: Values,
    /// Held while the number of series is compared with the bound and one is added.
    growing: Mutex<()>,
}

enum Values {
    Counter(Family<Counter>),
    Gauge(Family<Gauge>),
    Histogram(Family<Histogram>),
}

impl PluginFamily {
    /// `declaration` is checked.
    pub fn new(declaration: Declaration, plugin: &str) -> Self {
        let (name, help, labels) = (&declaration.name, declaration.help_line(), &declaration.labels);
        let values = match declaration.kind {
            MetricKind::Counter => Values::Counter(Family::of_plugin(name, &help, labels, plugin, &[])),
            MetricKind::Gauge => Values::Gauge(Family::of_plugin(name, &help, labels, plugin, &[])),
            MetricKind::Histogram => Values::Histogram(Family::of_plugin(name, &help, labels, plugin, &declaration.buckets)),
        };
        Self { declaration, values, growing: Mutex::new(()) }
    }

    pub fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    pub fn len(&self) -> usize {
        match &self.values {
            Values::Counter(family) => family.len(),
            Values::Gauge(family) => family.len(),
            Values::Histogram(family) => family.len(),
        }
    }

    pub fn collect(&self) -> Option<Gathered> {
        match &self.values {
            Values::Counter(family) => family.collect(),
            Values::Gauge(family) => family.collect(),
            Values::Histogram(family) => family.collect(),
        }
    }

    /// Records a value under its labels: cut to 128 bytes, missing ones empty, surplus ones ignored. Where that would be a
    /// new series and `may_grow` says no, it goes to the series of `_other`, and the answer is `false`.
    pub fn record(&self, value: f64, labels: &[String], may_grow: impl FnOnce() -> bool) -> bool {
        let mut values: Vec<&str> =
            (0..self.declaration.labels.len()).map(|index| labels.get(index).map_or("", |label| cut(label))).collect();
        let fits = values.is_empty() || self.has(&values) || {
            let _one_at_a_time = self.growing.lock();
            let grows = may_grow();
            if grows {
                self.touch(&values);
            }
            grows
        };
        if !fits {
            values.fill(OTHER);
        }
        match &self.values {
            Values::Counter(family) => family.with(&values).inc_by(value),
            Values::Gauge(family) => family.with(&values).set(value),
            Values::Histogram(family) => family.with(&values).observe(value),
        }
        fits
    }

    fn has(&self, values: &[&str]) -> bool {
        match &self.values {
            Values::Counter(family) => family.get(values).is_some(),
            Values::Gauge(family) => family.get(values).is_some(),
            Values::Histogram(family) => family.get(values).is_some(),
        }
    }

    /// Makes the series, so that it counts towards the bound.
    fn touch(&self, values: &[&str]) {
        match &self.values {
            Values::Counter(family) => drop(family.with(values)),
            Values::Gauge(family) => drop(family.with(values)),
            Values::Histogram(family) => drop(family.with(values)),
        }
    }
}
