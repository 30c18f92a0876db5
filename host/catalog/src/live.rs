//! A generation that is live: what it puts into the set of hooks, and how it is retired.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use watchgate_hooks::{ChainedPolicy, DerivationQueue, Generation, HookSet, KindSet, LiveHooks, RedactionChain};
use watchgate_telemetry::PluginHandles;

use crate::loader::LiveParts;
use crate::pipeline::Ready;
use crate::sighting::{Digest, Version};

/// How long a retired generation may take to work off its queue, and again to end its running calls. Calls have
/// deadlines of their own; this bound keeps a faulty one from holding the gateway's exit.
const RETIREMENT: Duration = Duration::from_secs(10);

/// One live generation of one plugin.
pub struct LiveGeneration {
    /// Its number.
    pub number: Generation,
    /// The files that it came from.
    pub version: Version,
    /// Hash of the component.
    pub digest: Digest,
    /// Bytes of the component.
    pub size: u64,
    /// What it is.
    pub kinds: KindSet,
    /// Whether its settings make it required.
    pub required: bool,
    /// When it went live.
    pub since: SystemTime,
    order: i32,
    parts: LiveParts,
    queue: Option<Arc<DerivationQueue>>,
    handles: Arc<PluginHandles>,
}

impl LiveGeneration {
    /// Makes a candidate live, though no traffic sees it before it is in a set of hooks.
    pub fn new(ready: Ready, number: Generation, version: Version, live: &Arc<LiveHooks>, handles: Arc<PluginHandles>) -> Self {
        let kinds = ready.candidate.kinds().clone();
        let parts = ready.candidate.go_live();
        let queue = parts.derivation.clone().map(|derivation| DerivationQueue::spawn(derivation, live, Arc::clone(&handles)));
        Self {
            number,
            version,
            digest: ready.digest,
            size: ready.size,
            kinds,
            required: ready.required,
            since: SystemTime::now(),
            order: ready.order,
            parts,
            queue,
            handles,
        }
    }

    /// Whether it is not called at present.
    pub fn is_quarantined(&self) -> bool {
        self.parts.upkeep.is_quarantined()
    }

    /// Lets it go after a swap took it out of the live set: what waits in its queue is observed, exchanges that had
    /// loaded an older set finish with it, then everything is freed.
    pub async fn retire(self) {
        if let Some(queue) = self.queue {
            queue.close(RETIREMENT).await;
        }
        let LiveParts { redaction, derivation, health, alerting, upkeep } = self.parts;
        drop((redaction, derivation, health, alerting));
        if timeout(RETIREMENT, upkeep.drain()).await.is_err() {
            tracing::warn!(generation = self.number.0, "a retired plugin generation is still held by somebody");
        }
    }
}

/// The set of hooks of these generations.
pub fn assemble(generations: &BTreeMap<&str, &LiveGeneration>, missing_required: Vec<String>) -> HookSet {
    let each = || generations.values();
    let policies = each().filter_map(|live| {
        let policy = live.parts.redaction.clone()?;
        Some(ChainedPolicy { policy, order: live.order, handles: Arc::clone(&live.handles) })
    });
    HookSet {
        redaction: RedactionChain::new(policies.collect()),
        derivations: each().filter_map(|live| live.queue.clone()).collect(),
        health: each().filter_map(|live| live.parts.health.clone()).collect(),
        alerts: each().filter_map(|live| live.parts.alerting.clone()).collect(),
        missing_required,
    }
}
