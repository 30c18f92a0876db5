//! The sandbox as the catalog sees it: bytes and settings in, a candidate out, which is tried and then goes live.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;
use watchgate_hooks::{AlertAction, BoxFuture, Generation, HealthCheck, KindSet, MetricDerivation, RedactionPolicy};
use watchgate_sandbox::{LivePlugin, LoadError, PluginSettings, Sandbox};

/// Makes candidates of components. Implemented by the sandbox; by hand in tests, so that they need no wasmtime.
pub trait Loader: Send + Sync + 'static {
    /// Verifies, compiles and links one component and starts a first instance of it. Cancelling it may leave a
    /// compilation running, whose result is dropped.
    fn load<'a>(
        &'a self,
        name: &'a str,
        component: Bytes,
        settings: PluginSettings,
        generation: Generation,
    ) -> BoxFuture<'a, Result<Box<dyn Candidate>, LoadError>>;
    /// Notified whenever a live component is quarantined or called again.
    fn quarantines(&self) -> Arc<Notify>;
}

/// A component that runs but is not live. Dropping it frees everything that it holds.
pub trait Candidate: Send + Sync {
    /// The kinds that it is, as far as its settings let them be used.
    fn kinds(&self) -> &KindSet;
    /// The trial calls.
    fn try_out(&self) -> BoxFuture<'_, Result<(), LoadError>>;
    /// From now on its calls count.
    fn go_live(self: Box<Self>) -> LiveParts;
}

/// A live component by its kinds.
pub struct LiveParts {
    /// It redacts.
    pub redaction: Option<Arc<dyn RedactionPolicy>>,
    /// It derives metrics.
    pub derivation: Option<Arc<dyn MetricDerivation>>,
    /// It checks health.
    pub health: Option<Arc<dyn HealthCheck>>,
    /// It delivers alerts.
    pub alerting: Option<Arc<dyn AlertAction>>,
    /// The whole of it.
    pub upkeep: Box<dyn Upkeep>,
}

/// What a live component is asked besides its calls.
pub trait Upkeep: Send + Sync {
    /// Called when no set of hooks that traffic can load holds the component any more: waits until everybody who had
    /// loaded an older set has let go of it and no call runs, then frees everything.
    fn drain(self: Box<Self>) -> BoxFuture<'static, ()>;
    /// Whether it is not called at present, because it was interrupted again and again.
    fn is_quarantined(&self) -> bool;
}

impl Loader for Arc<Sandbox> {
    fn load<'a>(
        &'a self,
        name: &'a str,
        component: Bytes,
        settings: PluginSettings,
        generation: Generation,
    ) -> BoxFuture<'a, Result<Box<dyn Candidate>, LoadError>> {
        Box::pin(async move {
            let candidate = Sandbox::load(self, name, component, settings, generation).await?;
            Ok(Box::new(candidate) as Box<dyn Candidate>)
        })
    }

    fn quarantines(&self) -> Arc<Notify> {
        Sandbox::quarantines(self)
    }
}

impl Candidate for watchgate_sandbox::Candidate {
    fn kinds(&self) -> &KindSet {
        watchgate_sandbox::Candidate::kinds(self)
    }

    fn try_out(&self) -> BoxFuture<'_, Result<(), LoadError>> {
        Box::pin(watchgate_sandbox::Candidate::try_out(self))
    }

    fn go_live(self: Box<Self>) -> LiveParts {
        let live = watchgate_sandbox::Candidate::go_live(*self);
        LiveParts {
            redaction: live.redaction.clone(),
            derivation: live.derivation.clone(),
            health: live.health.clone(),
            alerting: live.alerting.clone(),
            upkeep: Box::new(live),
        }
    }
}

impl Upkeep for LivePlugin {
    fn drain(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(LivePlugin::drain(*self))
    }

    fn is_quarantined(&self) -> bool {
        LivePlugin::is_quarantined(self)
    }
}
