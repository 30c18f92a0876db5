//! How many client connections may be open at once, changed while some are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use watchgate_telemetry::ProcessBounds;

/// It is over that all slots are taken when so many are free again: one part of this many. Else every connection that ends would end it.
const ROOM: usize = 16;

/// Slots for connections. Whoever finds none waits, and clients with it in the listen queue.
pub(crate) struct ConnectionSlots {
    free: Arc<Semaphore>,
    limit: Mutex<Limit>,
    /// All were taken, and it was said.
    is_full: AtomicBool,
    bounds: ProcessBounds,
}

struct Limit {
    wanted: usize,
    /// Slots over the limit that are still in use; they are taken away when they are given back.
    excess: usize,
}

impl ConnectionSlots {
    /// This many.
    pub(crate) fn new(limit: usize, bounds: ProcessBounds) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        bounds.connections_limited(limit);
        let free = Arc::new(Semaphore::new(limit));
        Self { free, limit: Mutex::new(Limit { wanted: limit, excess: 0 }), is_full: AtomicBool::new(false), bounds }
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
        self.bounds.connections_limited(wanted);
    }

    /// A slot, where there is one.
    pub(crate) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let slot = self.free.clone().try_acquire_owned().ok()?;
            if let Some(slot) = self.keep(slot) {
                return Some(slot);
            }
        }
    }

    /// Waits for a slot.
    pub(crate) async fn take(&self) -> OwnedSemaphorePermit {
        loop {
            let slot = self.free.clone().acquire_owned().await.expect("the semaphore is never closed");
            if let Some(slot) = self.keep(slot) {
                return slot;
            }
        }
    }

    /// The slot, unless there are to be fewer.
    fn keep(&self, slot: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        let mut limit = self.limit.lock();
        if limit.excess == 0 {
            return Some(slot);
        }
        limit.excess -= 1;
        slot.forget();
        None
    }

    /// A connection finds no slot. Tells whether that had to be said.
    pub(crate) fn note_full(&self) -> bool {
        self.bounds.connection_waits();
        let is_news = !self.is_full.swap(true, Relaxed);
        if is_news {
            let limit = self.limit.lock().wanted;
            tracing::warn!(
                limit,
                "as many client connections are open as may be (max_connections): others wait, and idle ones are ended for them"
            );
        }
        is_news
    }

    /// A slot was given back. Tells whether it had to be said that there is room again.
    pub(crate) fn note_free(&self) -> bool {
        if !self.is_full.load(Relaxed) || self.free.available_permits() < self.limit.lock().wanted.div_ceil(ROOM) {
            return false;
        }
        let is_news = self.is_full.swap(false, Relaxed);
        if is_news {
            tracing::info!("there is room for client connections again");
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use watchgate_telemetry::{Telemetry, TelemetryConfig};

    use super::*;

    fn slots(limit: usize) -> ConnectionSlots {
        ConnectionSlots::new(limit, Telemetry::new(TelemetryConfig::default()).unwrap().process_bounds())
    }

    async fn check_free(slots: &ConnectionSlots, expected: usize) {
        let mut held = Vec::new();
        while let Ok(slot) = tokio::time::timeout(std::time::Duration::from_millis(1), slots.take()).await {
            held.push(slot);
        }
        assert_eq!(held.len(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_changes_while_slots_are_held() {
        let slots = slots(3);
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
        let slots = slots(2);
        let held = [slots.take().await, slots.take().await];
        slots.set_limit(1);
        slots.set_limit(3);
        check_free(&slots, 1).await;
        drop(held);
        check_free(&slots, 3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn that_all_are_taken_is_said_once_and_over_when_there_is_room() {
        let slots = slots(32);
        let mut held: Vec<_> = std::iter::from_fn(|| slots.try_take()).collect();
        assert_eq!(held.len(), 32);
        assert_eq!([slots.note_full(), slots.note_full()], [true, false]);
        held.pop();
        assert!(!slots.note_free(), "one is hardly room");
        held.pop();
        assert_eq!([slots.note_free(), slots.note_free()], [true, false]);
        assert!(slots.note_full());
    }
}
