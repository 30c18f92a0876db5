//! One metric family: its series by their exact label values.
//!
//! The `prometheus` crate's own vectors are not used: they find a series by a hash of its label values run together, so
//! that `{tool="x", prompt=""}` and `{tool="", prompt="x"}` would be one series.

use std::collections::HashMap;
use std::time::SystemTime;

use parking_lot::RwLock;
use prometheus::core::Metric;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Counter, Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts};

use crate::buckets::HistogramBuckets;
use crate::names::MetricDefinition;
use crate::owner::Owner;

/// What one series counts with. Clones share the value.
pub(crate) trait Leaf: Metric + Clone {
    const TYPE: MetricType;
    fn build(opts: Opts, buckets: &[f64]) -> prometheus::Result<Self>;
}

macro_rules! plain_leaf {
    ($leaf:ty, $kind:ident) => {
        impl Leaf for $leaf {
            const TYPE: MetricType = MetricType::$kind;
            fn build(opts: Opts, _buckets: &[f64]) -> prometheus::Result<Self> {
                Self::with_opts(opts)
            }
        }
    };
}

plain_leaf!(IntCounter, COUNTER);
plain_leaf!(Counter, COUNTER);
plain_leaf!(IntGauge, GAUGE);
plain_leaf!(Gauge, GAUGE);

impl Leaf for Histogram {
    const TYPE: MetricType = MetricType::HISTOGRAM;
    fn build(opts: Opts, buckets: &[f64]) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts { common_opts: opts, buckets: buckets.to_vec() })
    }
}

/// The series of one metric. Names, help and buckets are valid by construction: they come from the table of the core or
/// from a checked declaration.
pub(crate) struct Family<M> {
    name: Box<str>,
    help: Box<str>,
    labels: Vec<Box<str>>,
    /// A label with the same value in every series.
    fixed: Option<(&'static str, Box<str>)>,
    buckets: Vec<f64>,
    series: RwLock<HashMap<Box<[u8]>, Entry<M>>>,
}

struct Entry<M> {
    leaf: M,
    /// When it began to count.
    since: SystemTime,
}

/// A family as the `prometheus` crate encodes it, and what its form has no place for.
pub(crate) struct Gathered {
    pub family: MetricFamily,
    /// When each series began to count, in the order of the family's.
    pub since: Vec<SystemTime>,
}

impl<M: Leaf> Family<M> {
    /// The family of a row of the table.
    pub fn core(definition: &MetricDefinition, buckets: &HistogramBuckets) -> Self {
        Self {
            name: definition.name.into(),
            help: definition.help.into(),
            labels: definition.labels.iter().map(|label| label.as_str().into()).collect(),
            fixed: None,
            buckets: definition.buckets.map_or_else(Vec::new, |group| buckets.of(group).to_vec()),
            series: RwLock::default(),
        }
    }

    /// A family whose series all carry `plugin`.
    pub fn of_plugin(name: &str, help: &str, labels: &[String], plugin: &str, buckets: &[f64]) -> Self {
        Self {
            name: name.into(),
            help: help.into(),
            labels: labels.iter().map(|label| label.as_str().into()).collect(),
            fixed: Some(("plugin", plugin.into())),
            buckets: buckets.to_vec(),
            series: RwLock::default(),
        }
    }

    /// The series with these label values, made when it is new. The caller bounds how many there can be.
    pub fn with(&self, values: &[&str]) -> M {
        debug_assert_eq!(values.len(), self.labels.len(), "{}: one value for each label", self.name);
        let key = key(values);
        if let Some(entry) = self.series.read().get(&key) {
            return entry.leaf.clone();
        }
        let mut series = self.series.write();
        series.entry(key).or_insert_with(|| Entry::new(self.build(values))).leaf.clone()
    }

    /// Shows a series that was made by another family of the same definition, with all it has counted.
    pub fn adopt(&self, values: &[&str], leaf: M) {
        self.series.write().insert(key(values), Entry::new(leaf));
    }

    /// As [`Self::with`] while `owner` is there; for one that is retired a series that is shown to nobody.
    pub fn owned(&self, owner: &Owner, values: &[&str]) -> M {
        let key = key(values);
        // Whether it is retired is asked under the lock that the removal of its series takes: what is found or added here is
        // either there to be removed, or of no successor.
        {
            let series = self.series.read();
            if let Some(entry) = series.get(&key).filter(|_| !owner.is_retired()) {
                return entry.leaf.clone();
            }
        }
        let mut series = self.series.write();
        if owner.is_retired() {
            return self.build(values);
        }
        series.entry(key).or_insert_with(|| Entry::new(self.build(values))).leaf.clone()
    }

    /// Removes the series whose label values begin with `prefix`. Handles of them go on counting, unseen.
    pub fn remove_under(&self, prefix: &[&str]) {
        let prefix = key(prefix);
        self.series.write().retain(|key, _| !key.starts_with(&prefix));
    }

    /// The series with these label values, if there is one.
    pub fn get(&self, values: &[&str]) -> Option<M> {
        self.series.read().get(&key(values)).map(|entry| entry.leaf.clone())
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.series.read().len()
    }

    /// Calls `visit` with each series whose label values begin with `prefix`.
    pub fn for_each_under(&self, prefix: &[&str], mut visit: impl FnMut(&M)) {
        let prefix = key(prefix);
        for (key, entry) in self.series.read().iter() {
            if key.starts_with(&prefix) {
                visit(&entry.leaf);
            }
        }
    }

    /// The family as it is now, series in the order of their label values; `None` without series.
    pub fn collect(&self) -> Option<Gathered> {
        let mut rows: Vec<(Box<[u8]>, M, SystemTime)> =
            self.series.read().iter().map(|(key, entry)| (key.clone(), entry.leaf.clone(), entry.since)).collect();
        if rows.is_empty() {
            return None;
        }
        rows.sort_by(|left, right| left.0.cmp(&right.0));
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_string());
        family.set_help(self.help.to_string());
        family.set_field_type(M::TYPE);
        family.set_metric(rows.iter().map(|(_, leaf, _)| leaf.metric()).collect());
        Some(Gathered { family, since: rows.into_iter().map(|(_, _, since)| since).collect() })
    }

    fn build(&self, values: &[&str]) -> M {
        let mut labels: HashMap<String, String> =
            self.labels.iter().map(|name| name.to_string()).zip(values.iter().map(|value| (*value).to_owned())).collect();
        if let Some((name, value)) = &self.fixed {
            labels.insert((*name).to_owned(), value.to_string());
        }
        let opts = Opts::new(self.name.as_ref(), self.help.as_ref()).const_labels(labels);
        M::build(opts, &self.buckets).expect("names, help and buckets are valid by construction")
    }
}

impl<M> Entry<M> {
    fn new(leaf: M) -> Self {
        Self { leaf, since: SystemTime::now() }
    }
}

/// The label values as one key, each ended by a byte that UTF-8 never holds.
pub(crate) fn key(values: &[&str]) -> Box<[u8]> {
    let mut key = Vec::with_capacity(values.iter().map(|value| value.len() + 1).sum());
    for value in values {
        key.extend_from_slice(value.as_bytes());
        key.push(0xff);
    }
    key.into()
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::Family;

    #[test]
    fn series_whose_values_read_alike_when_joined_stay_apart() {
        let labels = ["a".to_owned(), "b".to_owned()];
        let family: Family<IntCounter> = Family::of_plugin("x_total", "X.", &labels, "p", &[]);
        family.with(&["one", ""]).inc();
        family.with(&["", "one"]).inc_by(2);
        family.with(&["on", "e"]).inc_by(4);
        assert_eq!(family.len(), 3);
        assert_eq!(family.get(&["one", ""]).map(|leaf| leaf.get()), Some(1));
        assert_eq!(family.get(&["", "one"]).map(|leaf| leaf.get()), Some(2));
    }
}
