//! When a check runs: at once, then at its interval with jitter, never twice at the same time.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// However slow a check is, the thing checked gets a pause of this share of the interval between two runs.
const LEAST_PAUSE: f64 = 0.1;
/// Shares of the interval by which a run comes earlier or later, so that the checks of many gateways that were started together spread.
const JITTER: f64 = 0.1;
/// No check runs more often, whatever a plugin asks for.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Runs `check` for ever.
pub(crate) async fn repeat<Run: Future<Output = ()>>(interval: Duration, mut check: impl FnMut() -> Run) {
    let interval = interval.max(SHORTEST_INTERVAL);
    let random = RandomState::new();
    for round in 0_u64.. {
        let started = Instant::now();
        check().await;
        let due = started + jittered(interval, random.hash_one(round));
        tokio::time::sleep_until(due.max(Instant::now() + interval.mul_f64(LEAST_PAUSE))).await;
    }
}

/// `interval` moved by a share of up to [`JITTER`], evenly spread over all values of `random`.
#[allow(clippy::cast_precision_loss, reason = "a share needs no 64 bits")]
fn jittered(interval: Duration, random: u64) -> Duration {
    let share = random as f64 / u64::MAX as f64;
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_spreads_over_a_tenth_each_way() {
        let check = |random, expected| assert_eq!(jittered(Duration::from_secs(10), random).as_millis(), expected);
        check(0, 9000);
        check(u64::MAX / 2, 10_000);
        check(u64::MAX, 11_000);
    }

    #[tokio::test(start_paused = true)]
    async fn runs_follow_each_other_at_the_interval() {
        let begun = Instant::now();
        let mut starts = Vec::new();
        let runs = repeat(Duration::from_secs(10), || {
            starts.push(begun.elapsed());
            std::future::ready(())
        });
        assert!(tokio::time::timeout(Duration::from_secs(95), runs).await.is_err());
        assert_eq!(starts[0], Duration::ZERO);
        assert!((9..=11).contains(&starts.len()), "{starts:?}");
        let gaps: Vec<Duration> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (8990..=11_010).contains(&gap.as_millis())), "{gaps:?}");
        assert!(gaps.iter().any(|gap| *gap != gaps[0]), "no jitter: {gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_check_never_overlaps_itself_and_leaves_a_pause() {
        let begun = Instant::now();
        let mut starts = Vec::new();
        let runs = repeat(Duration::from_secs(10), || {
            starts.push(begun.elapsed().as_secs());
            tokio::time::sleep(Duration::from_secs(30))
        });
        assert!(tokio::time::timeout(Duration::from_secs(70), runs).await.is_err());
        assert_eq!(starts, [0, 31, 62]);
    }
}
