//! How many retries are allowed in relation to requests, so that a server that is down is not asked twice as often.

use std::time::{Duration, Instant};

use crate::breaker::window::{Counts, Window};
use crate::server_config::RetryConfig;

/// What is looked back on. Its slices are a second each, which `min_per_second` builds on.
const SPAN: Duration = Duration::from_secs(10);

/// One server's. Without a lock.
pub(crate) struct RetryBudget {
    config: RetryConfig,
    /// Requests, and marked among them (but not counted as requests) the retries.
    window: Window,
}

impl RetryBudget {
    /// No request seen yet.
    pub(crate) fn new(config: RetryConfig, now: Instant) -> Self {
        Self { config, window: Window::new(SPAN, now) }
    }

    /// A request came from a client.
    pub(crate) fn note_request(&self, now: Instant) {
        if self.config.max > 0 {
            self.window.add(now, Counts { all: 1, marked: 0 });
        }
    }

    /// Whether a request may be tried again now, for the `tried`th time beyond the first (from 1). Counts it if so.
    pub(crate) fn try_retry(&self, now: Instant, tried: u32) -> bool {
        if tried > self.config.max {
            return false;
        }
        self.window.add_if(now, Counts { all: 0, marked: 1 }, |second| {
            if second.marked < u64::from(self.config.min_per_second) {
                return true;
            }
            let Counts { all: requests, marked: retries } = self.window.counts(now);
            (retries + 1) as f64 <= self.config.budget * requests as f64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, proptest};
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn budget(budget: f64, min_per_second: u32) -> (RetryBudget, Instant) {
        let now = Instant::now();
        (RetryBudget::new(RetryConfig { max: 2, backoff: Duration::ZERO, budget, min_per_second }, now), now)
    }

    /// How many of `asked` retries are allowed at one moment.
    #[track_caller]
    fn check(budget: &RetryBudget, now: Instant, asked: u32, expected: u32) {
        assert_eq!((0..asked).filter(|_| budget.try_retry(now, 1)).count(), expected as usize);
    }

    #[test]
    fn a_share_of_the_last_ten_seconds_is_allowed() {
        let (budget, start) = budget(0.2, 0);
        check(&budget, start, 10, 0);
        for _ in 0..100 {
            budget.note_request(start);
        }
        check(&budget, start, 5, 5);
        let later = start + Duration::from_secs(5);
        check(&budget, later, 100, 15);
        // The requests are forgotten, and nobody has come since.
        check(&budget, start + Duration::from_secs(10), 100, 0);
    }

    #[test]
    fn a_few_are_allowed_each_second_whatever_the_share() {
        let (budget, start) = budget(0.0, 3);
        for second in 0..30 {
            check(&budget, start + Duration::from_secs(second), 10, 3);
        }
    }

    #[test]
    fn one_request_is_tried_no_more_often_than_configured() {
        let (budget, start) = budget(1.0, 100);
        assert_eq!([1, 2, 3].map(|tried| budget.try_retry(start, tried)), [true, true, false]);
    }

    proptest! {
        #[test]
        fn never_more_than_share_and_minimum(moments in vec((0_u64..300, proptest::bool::ANY), 0..400), share in 0.0..1.0_f64, min in 0_u32..3) {
            let (budget, start) = budget(share, min);
            let (mut now, mut requests, mut retries) = (start, 0_u32, 0_u32);
            for (millis, is_request) in moments {
                now += Duration::from_millis(millis);
                if is_request {
                    budget.note_request(now);
                    requests += 1;
                } else if budget.try_retry(now, 1) {
                    retries += 1;
                }
                let seconds = (now - start).as_secs() as u32 + 1;
                assert!(f64::from(retries) <= share * f64::from(requests) + f64::from(min * seconds));
            }
        }
    }

    #[test]
    fn threads_together_take_no_more_than_there_is() {
        let (budget, start) = budget(0.5, 2);
        for _ in 0..1000 {
            budget.note_request(start);
        }
        let taken = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        taken.fetch_add(u32::from(budget.try_retry(start, 1)), Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.load(Relaxed), 500);
    }
}
