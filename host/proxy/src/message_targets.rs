//! The URLs that clients of HTTP+SSE (2024-11-05) post to: each belongs to an open stream, on which the answers come. In that era nothing else
//! tells of a session.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::pending::SessionKey;

/// Those of one server; bounded by its open streams.
#[derive(Default)]
pub(crate) struct MessageTargets {
    /// How many streams there are. Most servers have none, and their requests need not be looked up.
    count: AtomicUsize,
    /// How many streams each of them belongs to.
    open: Mutex<HashMap<SessionKey, usize>>,
}

impl MessageTargets {
    /// The server has named this one on a stream, which lasts until what is given back is dropped.
    pub(crate) fn open(self: &Arc<Self>, key: SessionKey) -> OpenTarget {
        *self.open.lock().entry(key).or_insert(0) += 1;
        self.count.fetch_add(1, Ordering::Relaxed);
        OpenTarget { targets: self.clone(), key }
    }

    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Whether this one belongs to an open stream.
    pub(crate) fn is_open(&self, key: SessionKey) -> bool {
        self.open.lock().contains_key(&key)
    }
}

/// One of an open stream.
pub(crate) struct OpenTarget {
    targets: Arc<MessageTargets>,
    key: SessionKey,
}

impl OpenTarget {
    /// By what the session is known.
    pub(crate) fn key(&self) -> SessionKey {
        self.key
    }
}

impl Drop for OpenTarget {
    fn drop(&mut self) {
        let mut open = self.targets.open.lock();
        if let Some(streams) = open.get_mut(&self.key) {
            *streams -= 1;
            if *streams == 0 {
                open.remove(&self.key);
            }
        }
        self.targets.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_open_as_long_as_one_of_its_streams() {
        let targets = Arc::new(MessageTargets::default());
        let (key, other) = (SessionKey { server: 1, hash: 7 }, SessionKey { server: 1, hash: 8 });
        let check = |any: bool, open: bool| assert_eq!((targets.any(), targets.is_open(key), targets.is_open(other)), (any, open, false));
        check(false, false);
        let (first, second) = (targets.open(key), targets.open(key));
        drop(first);
        check(true, true);
        drop(second);
        check(false, false);
    }
}
