//! A deadline between two pieces of a body that costs nothing while pieces keep coming.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes a second that a body must come with on the whole, where a pace is asked for.
const MINIMUM_PACE: u64 = 1 << 10;

/// Runs out when `note_progress` was not called for `limit`. The timer is made at the first wait and, when it fires too
/// early, set again to what is left: progress itself only stores an instant.
pub(crate) struct Patience {
    limit: Duration,
    last: Instant,
    pace: Option<Pace>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What has come of a body that has to come at a pace.
struct Pace {
    begun: Instant,
    bytes: u64,
}

impl Patience {
    /// Begins now.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, last: Instant::now(), pace: None, timer: None }
    }

    /// Begins now, and runs out as well when all of the body has taken longer than `limit` and a second for each KiB that came: one who sends a byte
    /// now and then has no more time than one who sends nothing.
    pub(crate) fn paced(limit: Duration) -> Self {
        let patience = Self::new(limit);
        Self { pace: Some(Pace { begun: patience.last, bytes: 0 }), ..patience }
    }

    /// Begins again, now and with this limit. A timer that is set goes on, unless it would be too late.
    pub(crate) fn renew(&mut self, limit: Duration) {
        (self.limit, self.last) = (limit, Instant::now());
        let deadline = self.deadline();
        if let Some(timer) = &mut self.timer
            && timer.deadline() > deadline
        {
            timer.as_mut().reset(deadline);
        }
    }

    /// Something came: now, which is returned for who wants to know it as well.
    pub(crate) fn note_progress(&mut self) -> std::time::Instant {
        self.last = Instant::now();
        self.last()
    }

    /// When something came last, or it began.
    pub(crate) fn last(&self) -> std::time::Instant {
        self.last.into_std()
    }

    /// That many bytes of the body came.
    pub(crate) fn note_bytes(&mut self, bytes: usize) {
        if let Some(pace) = &mut self.pace {
            pace.bytes += bytes as u64;
        }
    }

    fn deadline(&self) -> Instant {
        let next = self.last + self.limit;
        match &self.pace {
            None => next,
            Some(pace) => next.min(pace.begun + self.limit + Duration::from_millis(pace.bytes * 1000 / MINIMUM_PACE)),
        }
    }

    /// `Ready` when the limit has passed since the last progress.
    pub(crate) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.deadline();
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            match timer.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if Instant::now() >= deadline => return Poll::Ready(()),
                Poll::Ready(()) => timer.as_mut().reset(deadline),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn runs_out_only_without_progress() {
        let begun = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(10));
        for _ in 0..5 {
            let waited = tokio::time::timeout(Duration::from_secs(6), std::future::poll_fn(|context| patience.poll_over(context))).await;
            assert!(waited.is_err(), "over after {:?}", begun.elapsed());
            patience.note_progress();
        }
        std::future::poll_fn(|context| patience.poll_over(context)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(40));
    }

    #[tokio::test(start_paused = true)]
    async fn runs_out_anew_when_it_is_renewed_with_more_time_or_less() {
        let mut patience = Patience::new(Duration::from_secs(10));
        for (limit, over) in [(10, false), (100, false), (3, true), (20, true)].map(|(limit, over)| (Duration::from_secs(limit), over)) {
            let begun = Instant::now();
            patience.renew(limit);
            let wait = if over { limit } else { limit - Duration::from_secs(1) };
            let waited =
                tokio::time::timeout(wait + Duration::from_millis(1), std::future::poll_fn(|context| patience.poll_over(context))).await;
            assert_eq!(waited.is_ok(), over, "{limit:?} after {:?}", begun.elapsed());
        }
    }

    /// A piece of `bytes` every `every`, of a body that may take ten seconds; how long it is waited for.
    async fn check_paced(bytes: usize, every: Duration, expected: Duration) {
        let begun = Instant::now();
        let mut patience = Patience::paced(Duration::from_secs(10));
        while tokio::time::timeout(every, std::future::poll_fn(|context| patience.poll_over(context))).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(1000), "waited for ever");
            patience.note_progress();
            patience.note_bytes(bytes);
        }
        assert_eq!(begun.elapsed(), expected, "{bytes} bytes every {every:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_must_come_at_a_pace_does_not_last_by_progress_alone() {
        let second = Duration::from_secs(1);
        check_paced(0, second, 10 * second).await;
        check_paced(1, second, 10 * second + Duration::from_millis(9)).await;
        check_paced(512, second, 19 * second).await;
        check_paced(2048, 11 * second, 10 * second).await;
    }
}
