//! A histogram of latencies with a relative error under two per cent, in constant memory.

use std::time::Duration;

/// Buckets for each doubling.
const STEPS: usize = 64;
/// Doublings from 64 ns on: enough for a minute.
const DOUBLINGS: usize = 32;

/// Counts of latencies.
#[derive(Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; STEPS * DOUBLINGS], total: 0 }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The latency that this share of all (0 to 1) does not exceed; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_bound(index));
            }
        }
        Duration::ZERO
    }

    /// The median.
    pub fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// The latency that one in a hundred exceeds.
    pub fn p99(&self) -> Duration {
        self.quantile(0.99)
    }
}

/// The middle one of the rounds' quantiles: a disturbance of the machine that falls on a few rounds does not move it.
pub fn median_quantile(rounds: &[Latencies], share: f64) -> Duration {
    let mut quantiles: Vec<Duration> = rounds.iter().map(|round| round.quantile(share)).collect();
    quantiles.sort_unstable();
    quantiles.get(quantiles.len() / 2).copied().unwrap_or_default()
}

/// Linear below [`STEPS`] nanoseconds, then [`STEPS`] buckets for each doubling.
fn bucket(nanoseconds: u64) -> usize {
    let steps = STEPS as u64;
    if nanoseconds < steps {
        return nanoseconds as usize;
    }
    let doubling = nanoseconds.ilog2() - steps.ilog2();
    let within = (nanoseconds >> doubling) - steps;
    ((doubling as usize + 1) * STEPS + within as usize).min(STEPS * DOUBLINGS - 1)
}

fn upper_bound(bucket: usize) -> u64 {
    let (doubling, within) = (bucket / STEPS, (bucket % STEPS) as u64);
    match doubling.checked_sub(1) {
        None => within,
        Some(shift) => ((STEPS as u64 + within + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_its_bucket_and_close_to_its_bound() {
        for nanoseconds in [0, 1, 63, 64, 65, 127, 128, 1000, 123_456, 999_999_999, 59_999_999_999] {
            let bound = upper_bound(bucket(nanoseconds));
            assert!(bound >= nanoseconds && bound as f64 <= nanoseconds as f64 * 1.02, "{nanoseconds}: {bound}");
        }
    }

    #[test]
    fn quantiles_of_a_known_distribution() {
        let mut latencies = Latencies::default();
        for microseconds in 1..=1000 {
            latencies.record(Duration::from_micros(microseconds));
        }
        let check = |share: f64, expected: f64| {
            let found = latencies.quantile(share).as_secs_f64() * 1e6;
            assert!((found / expected - 1.0).abs() < 0.02, "{share}: {found}");
        };
        check(0.5, 500.0);
        check(0.99, 990.0);
        check(1.0, 1000.0);
        assert_eq!(Latencies::default().p99(), Duration::ZERO);
    }
}
