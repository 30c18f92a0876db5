//! The instances of one generation that wait for work, and the right to have one at work.

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant, timeout_at};

use crate::instance::Instance;

/// As many slots as a generation may have instances. Each is free, idle with an instance in it, or at work.
pub(crate) struct Slots {
    permits: Semaphore,
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
    _permit: SemaphorePermit<'a>,
}

impl Slots {
    pub(crate) fn new(instances: u32) -> Self {
        Self { permits: Semaphore::new(instances as usize), idle: Mutex::default() }
    }

    /// Takes a slot, and says how much of `wall` is left after the wait; `None` when no slot came free in time.
    pub(crate) async fn take(&self, wall: Duration) -> Option<(Slot<'_>, Duration)> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Some((self.slot(permit), wall));
        }
        let deadline = Instant::now() + wall;
        let permit = timeout_at(deadline, self.permits.acquire()).await.ok()?.ok()?;
        Some((self.slot(permit), deadline.saturating_duration_since(Instant::now())))
    }

    fn slot<'a>(&'a self, permit: SemaphorePermit<'a>) -> Slot<'a> {
        let mut idle = self.idle.lock();
        Slot { instance: idle.instances.pop(), clearings: idle.clearings, slots: self, _permit: permit }
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
