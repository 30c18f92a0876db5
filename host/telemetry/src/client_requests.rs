//! `watchgate_client_requests_total`: found by the client's name in a snapshot, without a lock.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::IntCounter;

use crate::bounded_names::cut;
use crate::families::Families;
use crate::intern::OTHER;

/// Client names that become labels; they may come from tokens, so from outside. Past it the label is `_other`.
const MOST_CLIENTS: usize = 500;

/// The counters of the names seen so far. A new name copies the snapshot, at most 500 times.
#[derive(Default)]
pub(crate) struct ClientRequests {
    known: ArcSwap<HashMap<Box<str>, IntCounter>>,
    full: AtomicBool,
    learning: Mutex<()>,
    other: OnceLock<IntCounter>,
}

impl ClientRequests {
    pub fn count(&self, families: &Families, client: &str) {
        let client = cut(client);
        if let Some(counter) = self.known.load().get(client) {
            counter.inc();
        } else if self.full.load(Ordering::Relaxed) {
            self.other(families).inc();
        } else {
            self.learn(families, client).inc();
        }
    }

    #[cold]
    fn learn(&self, families: &Families, client: &str) -> IntCounter {
        let _one_at_a_time = self.learning.lock();
        let known = self.known.load();
        if let Some(counter) = known.get(client) {
            return counter.clone();
        }
        if known.len() >= MOST_CLIENTS {
            self.full.store(true, Ordering::Relaxed);
            return self.other(families).clone();
        }
        let counter = families.client_requests.with(&[client]);
        let mut next = HashMap::clone(&known);
        next.insert(client.into(), counter.clone());
        self.known.store(next.into());
        counter
    }

    fn other(&self, families: &Families) -> &IntCounter {
        self.other.get_or_init(|| families.client_requests.with(&[OTHER]))
    }
}
