//! The set of plugins that is live, swapped whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::chain::RedactionChain;
use crate::derivation_queue::DerivationQueue;
use crate::policy::{AlertAction, HealthCheck};

/// Everything that is live at one moment. Never changed: the catalog builds the next one.
pub struct HookSet {
    /// Redaction policies, in order.
    pub redaction: RedactionChain,
    /// One queue for each derivation. A plugin that did not change keeps its queue from set to set.
    pub derivations: Vec<Arc<DerivationQueue>>,
    /// Health checks.
    pub health: Vec<Arc<dyn HealthCheck>>,
    /// Alert actions.
    pub alerts: Vec<Arc<dyn AlertAction>>,
    /// Names of required plugins that are not live: while there is one, no traffic is served.
    pub missing_required: Vec<String>,
}

impl HookSet {
    /// No plugins, none required.
    pub fn empty() -> Self {
        Self {
            redaction: RedactionChain::empty(),
            derivations: Vec::new(),
            health: Vec::new(),
            alerts: Vec::new(),
            missing_required: Vec::new(),
        }
    }

    /// Whether a plugin without which nothing may pass is not live.
    pub fn lacks_required(&self) -> bool {
        !self.missing_required.is_empty()
    }
}

/// The cell that holds the live set. Readers load it for each message and hold it for no longer, so that an idle stream keeps no plugin alive.
pub struct LiveHooks {
    set: ArcSwap<HookSet>,
    /// How often it was swapped. Beside the channel, because looking into that takes a lock.
    version: AtomicU64,
    swapped: watch::Sender<()>,
}

impl LiveHooks {
    /// A cell that holds `first`, at version 0.
    pub fn new(first: HookSet) -> Self {
        Self { set: ArcSwap::from_pointee(first), version: AtomicU64::new(0), swapped: watch::Sender::new(()) }
    }

    /// The live set, for a short look. Use [`Self::load_full`] where it is held across an await.
    pub fn load(&self) -> Guard<Arc<HookSet>> {
        self.set.load()
    }

    /// The live set, counted: fit to be held across an await.
    pub fn load_full(&self) -> Arc<HookSet> {
        self.set.load_full()
    }

    /// Makes `next` live at once and returns what was live before; calls that run in it go on. The caller closes the queues and drains the
    /// plugins that are in the old set only.
    pub fn swap(&self, next: HookSet) -> Arc<HookSet> {
        let old = self.set.swap(Arc::new(next));
        // Behind the set: who sees this number sees that set or a later one.
        self.version.fetch_add(1, Ordering::Release);
        self.swapped.send_replace(());
        old
    }

    /// Wakes at the next swap.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.swapped.subscribe()
    }

    /// The number of swaps so far. Read before the set is loaded, and the same again later: then that set is still live.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether a live derivation wants the text of messages, so that the proxy must capture it.
    pub fn keeps_text(&self) -> bool {
        self.set.load().derivations.iter().any(|queue| queue.keeps_text())
    }
}
