//! How long to wait after a failure: longer each time, up to a bound, and never twice the same.

use std::time::Duration;

/// How patient an outbox is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// After the first failure.
    pub first: Duration,
    /// After many.
    pub most: Duration,
    /// A batch that failed so long after its first attempt is lost.
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), most: Duration::from_secs(15), give_up: Duration::from_secs(60) }
    }
}

/// The failures since the last success.
pub(super) struct Backoff {
    patience: Patience,
    failures: u32,
}

impl Backoff {
    pub fn new(patience: Patience) -> Self {
        Self { patience, failures: 0 }
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now; what the collector asks for counts, up to four times the longest wait of our own.
    pub fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = self.patience.first.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        // Gateways that lost the same collector at the same moment shall not come back at the same moment.
        let jittered = doubled.min(self.patience.most).mul_f64(fastrand::f64().mul_add(0.4, 0.8));
        asked.map_or(jittered, |asked| asked.min(self.patience.most * 4).max(jittered))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Patience};

    #[test]
    fn waits_double_up_to_a_bound_and_start_anew() {
        let patience = Patience { first: Duration::from_millis(100), most: Duration::from_secs(1), give_up: Duration::ZERO };
        let mut backoff = Backoff::new(patience);
        let mut check = |asked: Option<u64>, low: u64, high: u64| {
            let wait = backoff.failed(asked.map(Duration::from_secs));
            assert!((Duration::from_millis(low)..=Duration::from_millis(high)).contains(&wait), "{wait:?}");
        };
        check(None, 80, 120);
        check(None, 160, 240);
        check(None, 320, 480);
        check(None, 640, 960);
        (0..100).for_each(|_| check(None, 800, 1200));
        check(Some(3), 3000, 3000);
        check(Some(3600), 4000, 4000);
        check(Some(0), 800, 1200);
        backoff.succeeded();
        assert!(backoff.failed(None) <= Duration::from_millis(120));
    }
}
