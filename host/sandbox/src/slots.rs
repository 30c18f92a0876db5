//! The instances of one generation that wait for work, and the right to have one at work.

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Duration, Instant, timeout_at};

use crate::instance::Instance;

/// As many slots as a generation may have instances. Each is free, idle with an instance in it, or at work.
pub(crate) struct Slots {
    permits: Semaphore,
    idle: Mutex<Vec<Instance>>,
}

/// A slot at work. Dropping it drops its instance; [`Slot::put_back`] keeps it.
pub(crate) struct Slot<'a> {
    // Before the permit, so that the instance's memory is back in the pool when the next call may take some.
    pub(crate) instance: Option<Instance>,
    slots: &'a Slots,
    _permit: SemaphorePermit<'a>,
}

impl Slots {
    pub(crate) fn new(instances: u32) -> Self {
        Self { permits: Semaphore::new(instances as usize), idle: Mutex::new(Vec::new()) }
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
        Slot { instance: self.idle.lock().pop(), slots: self, _permit: permit }
    }

    /// Drops the idle instances.
    pub(crate) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle.lock());
        drop(idle);
    }
}

impl Slot<'_> {
    /// Ends the work and keeps the instance, if there is one, for the next.
    pub(crate) fn put_back(mut self) {
        if let Some(instance) = self.instance.take() {
            self.slots.idle.lock().push(instance);
        }
    }
}
