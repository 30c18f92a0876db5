//! A loaded generation on its way: candidate, then live, then drained.

use std::sync::Arc;

use watchgate_hooks::{AlertAction, HealthCheck, KindSet, MetricDerivation, PluginKind, RedactionPolicy};

use crate::generation::Generation;
use crate::hooks::{Alerting, Derivation, Health, Redaction};
use crate::refusal::LoadError;
use crate::trial;

/// A generation that has been loaded and started, but is not asked anything by traffic yet. Dropping it frees all it holds.
pub struct Candidate {
    generation: Arc<Generation>,
}

impl Candidate {
    pub(crate) fn new(generation: Generation) -> Self {
        Self { generation: generation.shared() }
    }

    /// The kinds it will serve.
    pub fn kinds(&self) -> &KindSet {
        self.generation.kinds()
    }

    /// Which load of this plugin name it is, as the caller said.
    pub fn generation(&self) -> watchgate_hooks::Generation {
        self.generation.plugin.generation
    }

    /// Makes the trial calls of each kind: redaction on a fixed corpus, derivation on one operation, alerting on one alert. What they
    /// record, send and remember is thrown away. A health check is not tried beyond its `start`.
    ///
    /// # Errors
    /// [`LoadCode::TrialFailed`](crate::LoadCode::TrialFailed) when a call fails. A denial passes, and so does an alert action that
    /// answers with an error: it has no network here.
    pub async fn try_out(&self) -> Result<(), LoadError> {
        trial::run(&self.generation).await
    }

    /// From now on its metrics count and its grants are open.
    pub fn go_live(self) -> LivePlugin {
        let generation = self.generation;
        generation.plugin.go_live();
        let has = |kind| generation.kinds().contains(&kind);
        LivePlugin {
            redaction: has(PluginKind::Redaction).then(|| Arc::new(Redaction(Arc::clone(&generation))) as Arc<dyn RedactionPolicy>),
            derivation: has(PluginKind::Derivation).then(|| Arc::new(Derivation(Arc::clone(&generation))) as Arc<dyn MetricDerivation>),
            health: has(PluginKind::Health).then(|| Arc::new(Health(Arc::clone(&generation))) as Arc<dyn HealthCheck>),
            alerting: has(PluginKind::Alerting).then(|| Arc::new(Alerting(Arc::clone(&generation))) as Arc<dyn AlertAction>),
            generation,
        }
    }
}

/// A generation that serves. The four handles are for the hook set; the plugin lives until all clones of them are dropped.
pub struct LivePlugin {
    /// Its redaction policy.
    pub redaction: Option<Arc<dyn RedactionPolicy>>,
    /// Its metric derivation.
    pub derivation: Option<Arc<dyn MetricDerivation>>,
    /// Its health check.
    pub health: Option<Arc<dyn HealthCheck>>,
    /// Its alert action.
    pub alerting: Option<Arc<dyn AlertAction>>,
    generation: Arc<Generation>,
}

impl LivePlugin {
    /// The kinds it serves.
    pub fn kinds(&self) -> &KindSet {
        self.generation.kinds()
    }

    /// Which load of this plugin name it is.
    pub fn generation(&self) -> watchgate_hooks::Generation {
        self.generation.plugin.generation
    }

    /// Whether it is not called at present, because it was interrupted again and again, and by the samples too. Ends by itself when it answers
    /// them in time; it is asked after 1 s, then after twice as long each time, at most after a minute.
    pub fn is_quarantined(&self) -> bool {
        self.generation.is_quarantined()
    }

    /// Instances that exist now.
    pub fn instances(&self) -> u64 {
        self.generation.plugin.instances()
    }

    /// Gives up this handle after the hook set was swapped, and waits until all others are dropped too: then no call runs any more, and
    /// its instances, its share of the pool and its metrics are gone. Each call ends by its deadline, so this does, if the hook set
    /// that held the handles was dropped.
    pub async fn drain(self) {
        let mut end = self.generation.watch_end();
        self.generation.plugin.retire();
        drop(self);
        // An error: the sender is gone, and the generation with it.
        while end.changed().await.is_ok() {}
    }
}
