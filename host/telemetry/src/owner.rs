//! Whether what a series belongs to is still there: the series of a server that was removed must not come back.

use std::sync::atomic::{AtomicBool, Ordering};

/// Something that series belong to and that a reload of the configuration can take away: a server, an endpoint, a certificate.
#[derive(Default)]
pub(crate) struct Owner {
    retired: AtomicBool,
}

impl Owner {
    /// Series made for it from now on are shown to nobody. Remove those it has after this call, not before.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}
