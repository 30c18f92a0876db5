//! When somebody waits for a delivery, and until when.

use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Set by who waits, kept by who delivers.
#[derive(Default)]
pub(super) struct Haste {
    until: Mutex<Option<Instant>>,
    asked: Notify,
}

impl Haste {
    /// Somebody waits until then.
    pub fn ask(&self, until: Instant) {
        *self.until.lock() = Some(until);
        self.asked.notify_one();
    }

    /// Nobody waits any more.
    pub fn end(&self) {
        *self.until.lock() = None;
    }

    /// When a delivery that is under way has to be over.
    pub fn until(&self) -> Option<tokio::time::Instant> {
        self.until.lock().map(tokio::time::Instant::from_std)
    }

    /// Sleeps until `until`, or until somebody begins to wait.
    pub async fn pause(&self, until: tokio::time::Instant) {
        let _asked_or_not = tokio::time::timeout_at(until, self.asked.notified()).await;
    }
}
