//! Metrics that the plugin owns, declared in `start` and kept in the plugin's type.

use crate::bindings::imports::watchgate::plugin::metrics::{declare_counter, declare_gauge, declare_histogram};
use crate::{Counter, Gauge, Histogram};

impl Counter {
    /// Declares a counter; by convention its name ends in `_total`. `unit` may be empty, else for example `bytes`.
    ///
    /// # Errors
    /// A sentence: called outside `start`, a bad or taken name, or not what the first run of `start` declared.
    pub fn declare(name: &str, help: &str, unit: &str, labels: &[&str]) -> Result<Self, String> {
        declare_counter(name, help, unit, labels)
    }
}

impl Gauge {
    /// Declares a gauge; `unit` and errors as for [`Counter::declare`].
    ///
    /// # Errors
    /// As for [`Counter::declare`].
    pub fn declare(name: &str, help: &str, unit: &str, labels: &[&str]) -> Result<Self, String> {
        declare_gauge(name, help, unit, labels)
    }
}

impl Histogram {
    /// Declares a histogram with upper bucket bounds in rising order (at most 30; none for the default of durations in seconds).
    ///
    /// # Errors
    /// As for [`Counter::declare`].
    pub fn declare(name: &str, help: &str, unit: &str, labels: &[&str], buckets: &[f64]) -> Result<Self, String> {
        declare_histogram(name, help, unit, labels, buckets)
    }
}
