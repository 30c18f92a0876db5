//! How many client connections may be open at once, changed while some are.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Slots for connections. Whoever finds none waits, and clients with it in the listen queue.
pub(crate) struct ConnectionSlots {
    free: Arc<Semaphore>,
    limit: Mutex<Limit>,
}

struct Limit {
    wanted: usize,
    /// Slots over the limit that are still in use; they are taken away when they are given back.
    excess: usize,
}

impl ConnectionSlots {
    /// This many.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(limit)), limit: Mutex::new(Limit { wanted: limit, excess: 0 }) }
    }

    /// This many from now on. Connections over a lower limit stay open, but none follows them.
    pub(crate) fn set_limit(&self, wanted: usize) {
        let wanted = wanted.min(Semaphore::MAX_PERMITS);
        let mut limit = self.limit.lock();
        let total = limit.wanted + limit.excess;
        if wanted >= total {
            self.free.add_permits(wanted - total);
            limit.excess = 0;
        } else {
            let surplus = total - wanted;
            let gone = self.free.forget_permits(surplus);
            limit.excess = surplus - gone;
        }
        limit.wanted = wanted;
    }

    /// Waits for a slot.
    pub(crate) async fn take(&self) -> OwnedSemaphorePermit {
        loop {
            let slot = self.free.clone().acquire_owned().await.expect("the semaphore is never closed");
            let mut limit = self.limit.lock();
            if limit.excess == 0 {
                return slot;
            }
            limit.excess -= 1;
            slot.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check_free(slots: &ConnectionSlots, expected: usize) {
        let mut held = Vec::new();
        while let Ok(slot) = tokio::time::timeout(std::time::Duration::from_millis(1), slots.take()).await {
            held.push(slot);
        }
        assert_eq!(held.len(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_changes_while_slots_are_held() {
        let slots = ConnectionSlots::new(3);
        let first = slots.take().await;
        let second = slots.take().await;
        slots.set_limit(1);
        check_free(&slots, 0).await;
        drop(first);
        check_free(&slots, 0).await;
        drop(second);
        check_free(&slots, 1).await;
        slots.set_limit(5);
        check_free(&slots, 5).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_raised_again_gives_back_what_was_to_go() {
        let slots = ConnectionSlots::new(2);
        let held = [slots.take().await, slots.take().await];
        slots.set_limit(1);
        slots.set_limit(3);
        check_free(&slots, 1).await;
        drop(held);
        check_free(&slots, 3).await;
    }
}
