//! The bucket bounds of histograms: a group of metrics shares them, and the configuration may set them.

use std::fmt;

/// The boundaries that the OpenTelemetry MCP conventions advise for operation durations, seconds.
pub const OPERATION_BUCKETS: &[f64] = &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Bounds of one group at most: each is a series for each combination of labels.
const MOST_BOUNDS: usize = 50;

macro_rules! groups {
    ($($(#[doc = $meaning:literal])+ $group:ident = $name:literal, $bounds:expr;)+) => {
        /// Histograms that share their bucket bounds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BucketGroup {
            $($(#[doc = $meaning])+ $group,)+
        }

        impl BucketGroup {
            /// Every group, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$group,)+];

            /// The key in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$group => $name,)+
                }
            }

            /// The bounds without configuration, rising.
            pub const fn default_bounds(self) -> &'static [f64] {
                match self {
                    $(Self::$group => $bounds,)+
                }
            }
        }
    };
}

groups! {
    /// Durations of JSON-RPC operations and tool calls, seconds; by default those of the OpenTelemetry MCP conventions.
    Operation = "operation", OPERATION_BUCKETS;
    /// Durations of HTTP exchanges, and their upstream part, seconds.
    Http = "http", &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];
    /// Time in the gateway itself and in plugins, seconds.
    Overhead = "overhead", &[0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0];
    /// Time to open connections and to run checks, seconds.
    Connect = "connect", &[0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
    /// Calls of plugins, seconds.
    Plugin = "plugin",
        &[0.000_002, 0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.005, 0.02, 0.1, 1.0, 10.0];
    /// The reload pipeline, seconds.
    Reload = "reload", &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
    /// Sessions, seconds: one is a conversation of seconds for a script, hours for a person, days for a service.
    Session = "session", &[1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0];
    /// Sizes of messages, bytes.
    Bytes = "bytes",
        &[64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];
}

/// Why bounds are refused: the operator's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// Not finite, not rising, none, or more than 50.
    #[error("histogram buckets must be 1 to 50 finite numbers in rising order")]
    Bounds,
}

/// The bounds of every group: the defaults, but for those that were set.
#[derive(Clone, Default, PartialEq)]
pub struct HistogramBuckets {
    /// Empty for the default; else finite and rising.
    set: [Vec<f64>; BucketGroup::ALL.len()],
}

impl HistogramBuckets {
    /// Sets the upper bounds of a group; `+Inf` is added to them by itself.
    ///
    /// # Errors
    /// When they are none, more than 50, not finite, or not rising.
    pub fn set(&mut self, group: BucketGroup, bounds: Vec<f64>) -> Result<(), BucketError> {
        let rising = bounds.iter().all(|bound| bound.is_finite()) && bounds.is_sorted_by(|low, high| low < high);
        if bounds.is_empty() || bounds.len() > MOST_BOUNDS || !rising {
            return Err(BucketError::Bounds);
        }
        self.set[group as usize] = bounds;
        Ok(())
    }

    /// The upper bounds of a group, rising, without `+Inf`.
    pub fn of(&self, group: BucketGroup) -> &[f64] {
        let set = &self.set[group as usize];
        if set.is_empty() { group.default_bounds() } else { set }
    }
}

impl fmt::Debug for HistogramBuckets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(BucketGroup::ALL.iter().map(|group| (group.as_str(), self.of(*group)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{BucketError, BucketGroup, HistogramBuckets};

    #[test]
    fn defaults_are_bounds_that_could_be_set() {
        for group in BucketGroup::ALL {
            assert_eq!(HistogramBuckets::default().set(*group, group.default_bounds().to_vec()), Ok(()), "{group:?}");
        }
    }

    #[test]
    fn bounds_are_finite_few_and_rising() {
        let check = |bounds: Vec<f64>, expected: Result<(), BucketError>| {
            let mut buckets = HistogramBuckets::default();
            assert_eq!(buckets.set(BucketGroup::Http, bounds.clone()), expected, "{bounds:?}");
            let now = if expected.is_ok() { &bounds } else { BucketGroup::Http.default_bounds() };
            assert_eq!(buckets.of(BucketGroup::Http), now);
        };
        check(vec![0.5, 2.0], Ok(()));
        check(vec![-1.0], Ok(()));
        for bad in [vec![], vec![1.0, 0.5], vec![1.0, 1.0], vec![f64::NAN], vec![f64::INFINITY], (0..51).map(f64::from).collect()] {
            check(bad, Err(BucketError::Bounds));
        }
    }
}
