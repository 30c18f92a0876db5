//! A deadline between two pieces of a body that costs nothing while pieces keep coming.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Runs out when `note_progress` was not called for `limit`. The timer is made at the first wait and, when it fires too
/// early, set again to what is left: progress itself only stores an instant.
pub(crate) struct Patience {
    limit: Duration,
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Begins now.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, last: Instant::now(), timer: None }
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

    /// `Ready` when the limit has passed since the last progress.
    pub(crate) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let deadline = self.last + self.limit;
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
}
