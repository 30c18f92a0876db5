//! Waiting for a condition, always with a deadline; the only place of the tests that sleeps.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long anything that is expected to happen may take before the test fails. Generous, because
/// a loaded machine is not a failure; nothing waits this long when all is well.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long between two looks at a condition that cannot wake its waiter.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks again and again until `look` gives a value.
///
/// # Panics
/// When [`DEADLINE`] has passed; `what` names the condition.
#[track_caller]
pub fn wait_until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match wait_for(DEADLINE, look) {
        Some(found) => found,
        None => panic!("waited {DEADLINE:?} in vain: {what}"),
    }
}

/// Looks again and again until `look` gives a value, or gives up with `None` after `limit`.
pub fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let give_up = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= give_up {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Lets time pass: for the pace of traffic, never to wait for something.
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// A gate between threads: closed at first, opened once, then open for good. Clones share it.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everyone pass, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Whether the gate is open.
    pub fn is_open(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until the gate is open.
    ///
    /// # Panics
    /// When [`DEADLINE`] has passed; `what` names what should have opened it.
    #[track_caller]
    pub fn wait(&self, what: &str) {
        let closed = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, _) = self.0.1.wait_timeout_while(closed, DEADLINE, |open| !*open).unwrap_or_else(PoisonError::into_inner);
        assert!(*open, "waited {DEADLINE:?} in vain: {what}");
    }
}
