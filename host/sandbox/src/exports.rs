//! The exported interfaces of one component: found once for a generation, loaded for each instance.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, Resource};
use watchgate_hooks::{HealthReport, HealthStatus, PluginKind, Verdict};

use crate::bindings::exports::watchgate::plugin::{alerting, collection, derivation, health, lifecycle, redaction};
use crate::host::LENT;
use crate::refusal::{LoadCode, LoadError};
use crate::state::State;
use crate::verify::{Manifest, first_line};

/// Where the used interfaces of a component are.
pub(crate) struct Exports {
    lifecycle: lifecycle::GuestIndices,
    redaction: Option<redaction::GuestIndices>,
    derivation: Option<derivation::GuestIndices>,
    collection: Option<collection::GuestIndices>,
    health: Option<health::GuestIndices>,
    alerting: Option<alerting::GuestIndices>,
}

impl Exports {
    /// Finds what the manifest names. An interface whose functions are not the contract's is refused here.
    pub(crate) fn find(pre: &InstancePre<State>, manifest: &Manifest) -> Result<Self, LoadError> {
        let wants = |kind| manifest.kinds.contains(&kind);
        Ok(Self {
            lifecycle: shaped("lifecycle", lifecycle::GuestIndices::new(pre))?,
            redaction: found(wants(PluginKind::Redaction), "redaction", || redaction::GuestIndices::new(pre))?,
            derivation: found(wants(PluginKind::Derivation), "derivation", || derivation::GuestIndices::new(pre))?,
            collection: found(manifest.collects, "collection", || collection::GuestIndices::new(pre))?,
            health: found(wants(PluginKind::Health), "health", || health::GuestIndices::new(pre))?,
            alerting: found(wants(PluginKind::Alerting), "alerting", || alerting::GuestIndices::new(pre))?,
        })
    }

    /// The functions of one instance. The types of parameters and results are checked here, so the first load may still fail.
    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Guests> {
        Ok(Guests {
            lifecycle: self.lifecycle.load(&mut *store, instance)?,
            redaction: self.redaction.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
            derivation: self.derivation.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
            collection: self.collection.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
            health: self.health.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
            alerting: self.alerting.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
        })
    }
}

fn found<T>(wanted: bool, interface: &str, find: impl FnOnce() -> wasmtime::Result<T>) -> Result<Option<T>, LoadError> {
    if wanted { shaped(interface, find()).map(Some) } else { Ok(None) }
}

fn shaped<T>(interface: &str, found: wasmtime::Result<T>) -> Result<T, LoadError> {
    found.map_err(|error| {
        LoadError::new(LoadCode::KindShape, format!("its `{interface}` is not the contract's: {}", first_line(&format!("{error:#}"))))
    })
}

/// One call of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Start,
    Redact,
    Observe,
    Collect,
    Check,
    Notify,
}

/// What a plugin answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Verdict(Verdict),
    Report(HealthReport),
    /// `start`, `notify`: done, or the plugin's own reason why not. `observe`, `collect`: done.
    Done(Result<(), String>),
}

/// The component lacks the interface that was asked for. Only kinds of the manifest are asked, so this does not happen.
#[derive(Debug, thiserror::Error)]
#[error("the component does not export what was asked: {0:?}")]
struct NotExported(Ask);

/// The functions of one instance.
pub(crate) struct Guests {
    lifecycle: lifecycle::Guest,
    redaction: Option<redaction::Guest>,
    derivation: Option<derivation::Guest>,
    collection: Option<collection::Guest>,
    health: Option<health::Guest>,
    alerting: Option<alerting::Guest>,
}

impl Guests {
    /// Makes one call. What it is about has been put into the store; the guest gets a borrow of it, never an owned handle, which it
    /// could keep and which would stay in the store's table.
    pub(crate) async fn ask(&self, store: &mut Store<State>, ask: Ask) -> wasmtime::Result<Answer> {
        match (ask, self) {
            (Ask::Redact, Self { redaction: Some(guest), .. }) => {
                let verdict = guest.call_redact(store, Resource::new_borrow(LENT)).await?;
                Ok(Answer::Verdict(match verdict {
                    redaction::Verdict::Pass => Verdict::Pass,
                    redaction::Verdict::Deny(reason) => Verdict::Deny(reason),
                }))
            }
            (Ask::Start, Self { lifecycle: guest, .. }) => Ok(Answer::Done(guest.call_start(store, Resource::new_borrow(LENT)).await?)),
            (Ask::Observe, Self { derivation: Some(guest), .. }) => {
                guest.call_observe(store, Resource::new_borrow(LENT)).await?;
                Ok(Answer::Done(Ok(())))
            }
            (Ask::Collect, Self { collection: Some(guest), .. }) => {
                guest.call_collect(store).await?;
                Ok(Answer::Done(Ok(())))
            }
            (Ask::Check, Self { health: Some(guest), .. }) => Ok(Answer::Report(report(guest.call_check(store).await?))),
            (Ask::Notify, Self { alerting: Some(guest), .. }) => {
                Ok(Answer::Done(guest.call_notify(store, Resource::new_borrow(LENT)).await?))
            }
            _ => Err(wasmtime::Error::new(NotExported(ask))),
        }
    }
}

fn report(report: health::Report) -> HealthReport {
    let status = match report.status {
        health::Status::Ok => HealthStatus::Ok,
        health::Status::Degraded => HealthStatus::Degraded,
        health::Status::Failing => HealthStatus::Failing,
    };
    HealthReport { status, detail: report.detail }
}
