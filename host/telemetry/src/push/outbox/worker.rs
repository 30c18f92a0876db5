//! The other end of an outbox: gathers batches, delivers them, and tries again what did not get through.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

use super::{Orders, Shared};
use crate::push::backoff::Backoff;
use crate::push::error::DeliveryError;
use crate::push::health::Health;
use crate::push::pusher::Accepted;
use crate::words::PushLoss;

/// Where batches go. A delivery that is dropped half-way leaves it fit for the next.
pub(crate) trait Destination<T> {
    /// Where that is, for people.
    fn name(&self) -> String;

    /// Delivers a batch, or says why not.
    fn deliver(&mut self, batch: &[T]) -> impl Future<Output = Result<Accepted, DeliveryError>>;
}

/// Runs on the thread of the outbox.
pub(super) struct Worker<T, D> {
    shared: Arc<Shared<T>>,
    orders: watch::Receiver<Orders>,
    destination: D,
    health: Health,
    backoff: Backoff,
    /// The batch that is out for delivery, perhaps again.
    pending: Vec<T>,
    /// Since when it has failed.
    failing_since: Option<Instant>,
    /// When the next attempt may be made.
    not_before: Instant,
    /// The last flush that was attended to.
    flushed: u64,
}

/// What came of an attempt.
enum Attempt {
    Settled,
    /// The batch is still pending.
    Failed,
}

impl<T, D: Destination<T>> Worker<T, D> {
    pub fn new(signal: &'static str, shared: Arc<Shared<T>>, orders: watch::Receiver<Orders>, destination: D) -> Self {
        Self {
            health: Health::new(signal, destination.name()),
            backoff: Backoff::new(shared.settings().patience),
            shared,
            orders,
            destination,
            pending: Vec::new(),
            failing_since: None,
            not_before: Instant::now(),
            flushed: 0,
        }
    }

    /// Ends with the outbox.
    pub async fn run(mut self) {
        let mut due = Instant::now() + self.shared.settings().interval;
        loop {
            let orders = *self.orders.borrow_and_update();
            if orders.flush > self.flushed {
                let delivered = self.flush(orders.until).await;
                self.flushed = orders.flush;
                if orders.end {
                    self.lose_pending(PushLoss::Shutdown);
                    self.shared.end();
                    // Nobody waits for a later one in vain.
                    self.shared.report_flush(u64::MAX, delivered);
                    return;
                }
                self.shared.report_flush(orders.flush, delivered);
                continue;
            }
            let now = Instant::now();
            if self.pending.is_empty() && (now >= due || self.shared.has_batch()) {
                self.pending = self.shared.next_batch();
                if !self.shared.has_batch() {
                    due = now + self.shared.settings().interval;
                }
            }
            if self.pending.is_empty() || now < self.not_before {
                let wake = if self.pending.is_empty() { due } else { self.not_before };
                self.wait(wake).await;
            } else {
                self.attempt().await;
            }
        }
    }

    /// Until then, or until there is something to do.
    async fn wait(&mut self, until: Instant) {
        let gathering = self.pending.is_empty();
        tokio::select! {
            () = sleep_until(until.into()) => {}
            () = self.shared.full(), if gathering => {}
            // The sender says a last word before it goes.
            _ = self.orders.changed() => {}
        }
    }

    /// One attempt for the pending batch; cut short where a flush wants to be done before it is.
    async fn attempt(&mut self) {
        let result = {
            let delivering = self.destination.deliver(&self.pending);
            tokio::pin!(delivering);
            tokio::select! {
                result = &mut delivering => result,
                _ = self.orders.changed() => {
                    let until = self.orders.borrow().until;
                    timeout_at(until.into(), delivering).await.unwrap_or(Err(DeliveryError::TimedOut))
                }
            }
        };
        self.settle(result);
    }

    fn settle(&mut self, result: Result<Accepted, DeliveryError>) -> Attempt {
        match result {
            Ok(accepted) => {
                self.health.succeeded(&accepted, self.shared.lost(PushLoss::QueueFull));
                self.shared.lose(PushLoss::Rejected, accepted.rejected);
                self.shared.exported(u64::try_from(self.pending.len()).unwrap_or(u64::MAX));
                self.backoff.succeeded();
                self.not_before = Instant::now();
                self.failing_since = None;
                self.pending.clear();
                Attempt::Settled
            }
            Err(error) => {
                self.health.failed(&error);
                let now = Instant::now();
                self.not_before = now + self.backoff.failed(error.retry_after());
                let since = *self.failing_since.get_or_insert(now);
                if !error.is_passing() || now - since >= self.shared.settings().patience.give_up {
                    self.lose_pending(error.loss());
                }
                Attempt::Failed
            }
        }
    }

    /// One attempt for each batch, without waiting in between. The first failure ends it, because the next would fail alike, unless it was about what is
    /// in the batch.
    async fn flush(&mut self, until: Instant) -> bool {
        let mut delivered = true;
        loop {
            if self.pending.is_empty() {
                self.pending = self.shared.next_batch();
            }
            if self.pending.is_empty() {
                return delivered;
            }
            let delivering = self.destination.deliver(&self.pending);
            let result = timeout_at(until.into(), delivering).await.unwrap_or(Err(DeliveryError::TimedOut));
            let is_refused = matches!(result, Err(DeliveryError::Refused(_)));
            if matches!(self.settle(result), Attempt::Failed) {
                delivered = false;
                if !is_refused {
                    return false;
                }
            }
        }
    }

    fn lose_pending(&mut self, loss: PushLoss) {
        let count = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        self.shared.lose(loss, count);
        self.health.lost(count);
        self.failing_since = None;
        self.pending.clear();
    }
}
