//! The instances of one generation that wait for work, and the right to have one at work.

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant, timeout_at};

use crate::instance::Instance;

/// A call about a message of at most so many bytes is soon over.
const SMALL: usize = 128 << 10;

/// As many slots as a generation may have instances. Each is free, idle with an instance in it, or at work.
pub(crate) struct Slots {
    permits: Semaphore,
    /// Besides, for each call that may take long.
    long: Semaphore,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    instances: Vec<Instance>,
    /// How often all instances were given up. What was taken before the last time is not put back.
    clearings: u64,
}

/// A slot at work. Dropping it drops its instance; [`Slot::put_back`] keeps it.
pub(crate) struct Slot<'a> {
    // Before the permit, so that the instance's memory is back in the pool when the next call may take some.
    pub(crate) instance: Option<Instance>,
    clearings: u64,
    slots: &'a Slots,
    _permits: (SemaphorePermit<'a>, Option<SemaphorePermit<'a>>),
}

impl Slots {
    pub(crate) fn new(instances: u32) -> Self {
        let instances = instances as usize;
        Self { permits: Semaphore::new(instances), long: Semaphore::new(instances.div_ceil(2)), idle: Mutex::default() }
    }

    /// Takes a slot for a call about a message of `bytes`, and says how much of `wall` is left after the wait; `None` when no slot came free in time. Of
    /// several slots large messages have half, so that small ones need not wait for many of them.
    pub(crate) async fn take(&self, wall: Duration, bytes: usize) -> Option<(Slot<'_>, Duration)> {
        let is_long = bytes > SMALL;
        if !is_long && let Ok(permit) = self.permits.try_acquire() {
            return Some((self.slot(permit, None), wall));
        }
        let deadline = Instant::now() + wall;
        let acquiring = async {
            let long = if is_long { Some(self.long.acquire().await.ok()?) } else { None };
            Some((self.permits.acquire().await.ok()?, long))
        };
        let (permit, long) = timeout_at(deadline, acquiring).await.ok()??;
        Some((self.slot(permit, long), deadline.saturating_duration_since(Instant::now())))
    }

    fn slot<'a>(&'a self, permit: SemaphorePermit<'a>, long: Option<SemaphorePermit<'a>>) -> Slot<'a> {
        let mut idle = self.idle.lock();
        Slot { instance: idle.instances.pop(), clearings: idle.clearings, slots: self, _permits: (permit, long) }
    }

    /// Gives up every instance: the idle ones now, those at work when they are done.
    pub(crate) fn clear(&self) {
        let mut idle = self.idle.lock();
        idle.clearings += 1;
        let instances = std::mem::take(&mut idle.instances);
        drop(idle);
        // Outside the lock, because it unmaps memory.
        drop(instances);
    }
}

impl Slot<'_> {
    /// Ends the work and keeps the instance, if there is one, for the next.
    pub(crate) fn put_back(mut self) {
        let mut idle = self.slots.idle.lock();
        if idle.clearings == self.clearings {
            idle.instances.extend(self.instance.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_messages_leave_room_for_small_ones() {
        let slots = Slots::new(4);
        let wall = Duration::from_secs(1);
        let large = [slots.take(wall, SMALL + 1).await, slots.take(wall, SMALL + 1).await];
        assert!(large.iter().all(Option::is_some));
        assert!(slots.take(wall, SMALL + 1).await.is_none(), "they have half");
        let small = [slots.take(wall, SMALL).await, slots.take(wall, 0).await];
        assert!(small.iter().all(Option::is_some));
        assert!(slots.take(wall, 0).await.is_none());
        drop(large);
        assert!(slots.take(wall, SMALL + 1).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn one_slot_is_for_all() {
        let slots = Slots::new(1);
        for bytes in [0, SMALL + 1, 0] {
            assert!(slots.take(Duration::from_secs(1), bytes).await.is_some());
        }
    }
}
