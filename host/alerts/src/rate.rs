//! The rate of counters over a window, from samples taken one after another. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::select::{Labels, Sample};

/// Series a rate adds up at most. Only a last value is kept for each, and the metric store has bounds of its own; this one bounds a rule
/// without labels on the largest metric.
const MAX_SERIES: usize = 10_000;

/// Adds up the increases of several counters.
///
/// - A counter that went down was reset: what it shows now is its increase.
/// - A counter that was not there at the previous observation began at zero, because the store is in this process and shows every series
///   from its first increment on. Only the very first observation counts as a base line.
/// - The rate is the increase divided by the time really observed, at most the window; so shortly after the start it is neither
///   under- nor overstated.
pub(crate) struct RateWindow {
    window: Duration,
    last: HashMap<Labels, LastSeen>,
    steps: VecDeque<Step>,
    previous: Option<Duration>,
}

struct LastSeen {
    value: f64,
    at: Duration,
}

struct Step {
    from: Duration,
    to: Duration,
    increase: f64,
}

/// What one observation tells.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// Increase for each second. `None` at the first observation and while no series is there.
    pub rate: Option<f64>,
    /// Series added up.
    pub series: usize,
    /// Series over the bound.
    pub ignored: usize,
}

impl RateWindow {
    pub fn new(window: Duration) -> Self {
        Self { window, last: HashMap::new(), steps: VecDeque::new(), previous: None }
    }

    /// Takes in all series as they are now.
    pub fn observe(&mut self, now: Duration, samples: &[Sample<'_>]) -> Observed {
        let mut observed = Observed::default();
        let mut increase = 0.0;
        for sample in samples.iter().filter(|sample| sample.value.is_finite()) {
            let seen = LastSeen { value: sample.value, at: now };
            if let Some(last) = self.last.get_mut(sample.labels) {
                increase += if seen.value >= last.value { seen.value - last.value } else { seen.value };
                *last = seen;
            } else if self.last.len() < MAX_SERIES {
                increase += if self.previous.is_some() { seen.value } else { 0.0 };
                self.last.insert(sample.labels.to_vec(), seen);
            } else {
                observed.ignored += 1;
                continue;
            }
            observed.series += 1;
        }
        self.forget(now);
        if let Some(from) = self.previous.replace(now) {
            self.steps.push_back(Step { from, to: now, increase });
        }
        if observed.series > 0 {
            observed.rate = self.rate(now);
        }
        observed
    }

    /// A step counts while its middle lies in the window, so that a late timer does not shorten the window by a whole step. The newest
    /// always counts.
    fn rate(&mut self, now: Duration) -> Option<f64> {
        let begin = now.saturating_sub(self.window);
        while self.steps.len() > 1 && self.steps.front().is_some_and(|step| (step.from + step.to) / 2 < begin) {
            self.steps.pop_front();
        }
        let span = now.saturating_sub(self.steps.front()?.from).as_secs_f64();
        let increase: f64 = self.steps.iter().map(|step| step.increase).sum();
        (span > 0.0).then(|| increase / span)
    }

    /// A series that is away for a moment (a plugin being swapped) is not counted from zero when it is back.
    fn forget(&mut self, now: Duration) {
        let begin = now.saturating_sub(self.window);
        self.last.retain(|_, last| last.at >= begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observes the given (second, values by series) and compares the rates.
    fn check(window: u64, observations: &[(u64, &[(&str, f64)])], expected: &[Option<f64>]) {
        let mut rate = RateWindow::new(Duration::from_secs(window));
        let rates: Vec<Option<f64>> = observations
            .iter()
            .map(|(second, values)| {
                let labels: Vec<Labels> = values.iter().map(|(name, _)| vec![("series".to_owned(), (*name).to_owned())]).collect();
                let samples: Vec<Sample<'_>> =
                    labels.iter().zip(*values).map(|(labels, (_, value))| Sample { labels, value: *value }).collect();
                rate.observe(Duration::from_secs(*second), &samples).rate
            })
            .collect();
        assert_eq!(rates, expected, "window {window}, {observations:?}");
    }

    #[test]
    fn increases_add_up_over_series() {
        check(
            60,
            &[(0, &[("a", 100.0), ("b", 7.0)]), (10, &[("a", 130.0), ("b", 7.0)]), (20, &[("a", 130.0), ("b", 17.0)])],
            &[None, Some(3.0), Some(2.0)],
        );
    }

    #[test]
    fn a_reset_counts_what_came_after_it() {
        check(60, &[(0, &[("a", 100.0)]), (10, &[("a", 20.0)]), (20, &[("a", 40.0)])], &[None, Some(2.0), Some(2.0)]);
    }

    #[test]
    fn a_series_that_appears_began_at_zero() {
        check(60, &[(0, &[]), (10, &[("a", 5.0)]), (20, &[("a", 5.0), ("b", 5.0)])], &[None, Some(0.5), Some(0.5)]);
    }

    #[test]
    fn a_series_away_for_a_moment_is_not_counted_from_zero() {
        let swap: &[(u64, &[(&str, f64)])] = &[(0, &[("a", 100.0)]), (10, &[]), (20, &[("a", 120.0)])];
        check(60, swap, &[None, None, Some(1.0)]);
    }

    #[test]
    fn old_steps_leave_the_window() {
        let burst: &[(u64, &[(&str, f64)])] =
            &[(0, &[("a", 0.0)]), (10, &[("a", 60.0)]), (20, &[("a", 60.0)]), (30, &[("a", 60.0)]), (40, &[("a", 60.0)])];
        check(20, burst, &[None, Some(6.0), Some(3.0), Some(0.0), Some(0.0)]);
    }

    #[test]
    fn nonsense_values_are_no_data() {
        check(60, &[(0, &[("a", f64::NAN)]), (10, &[("a", f64::INFINITY)]), (20, &[("a", 10.0)])], &[None, None, Some(0.5)]);
        check(60, &[(5, &[("a", 1.0)]), (5, &[("a", 2.0)])], &[None, None]);
    }
}
