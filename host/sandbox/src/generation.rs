//! One loaded version of a plugin: its code, its instances, and how a call finds one.

mod hearing;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use watchgate_hooks::{FailureReason, HookFailure, Interest, KindSet, PluginKind};

use crate::capacity::Reservation;
use crate::code::Code;
use crate::exports::{Answer, Ask};
use crate::host::{Draft, Loan};
use crate::instance::Instance;
use crate::plugin::Plugin;
use crate::quarantine::{Hearing, Quarantine};
use crate::settings::Isolation;
use crate::slots::{Slot, Slots};

/// A generation. When the last [`Arc`] of it is dropped, its instances, its share of the pool and its metrics go with it.
pub(crate) struct Generation {
    // In this order: instances go before the reservation that made room for them.
    slots: Slots,
    /// The derivation's only instance. Its memory is the point of it, so it is not replaced by count.
    derivation: Mutex<Option<Instance>>,
    pub(crate) plugin: Arc<Plugin>,
    code: Code,
    kinds: KindSet,
    collects: bool,
    interest: Interest,
    draft: Draft,
    quarantine: Quarantine,
    /// Ends the quarantine when its time is over.
    release: hearing::Release,
    /// Itself, for the task that does so.
    me: Weak<Self>,
    /// Dropped with the generation: whoever drains it waits for that.
    _alive: watch::Sender<()>,
    _reservation: Reservation,
}

/// What [`Generation::new`] is made of.
pub(crate) struct Parts {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) code: Code,
    pub(crate) kinds: KindSet,
    pub(crate) collects: bool,
    pub(crate) reservation: Reservation,
}

impl Generation {
    /// Starts the first instance. What it declares, every later one must declare.
    pub(crate) async fn new(parts: Parts) -> Result<Self, HookFailure> {
        let Parts { plugin, code, kinds, collects, reservation } = parts;
        let (first, draft) = Instance::start(&code, &plugin, Duration::MAX).await?;
        plugin.metrics.freeze();
        let slots = Slots::new(plugin.settings.limits.max_instances.max(1));
        let generation = Self {
            slots,
            derivation: Mutex::new(None),
            interest: draft.interest(),
            draft,
            plugin,
            code,
            kinds,
            collects,
            quarantine: Quarantine::default(),
            release: hearing::Release::default(),
            me: Weak::new(),
            _alive: watch::Sender::new(()),
            _reservation: reservation,
        };
        generation.keep(first).await;
        Ok(generation)
    }

    /// The generation as it is shared.
    pub(crate) fn shared(mut self) -> Arc<Self> {
        Arc::new_cyclic(|me| {
            self.me = Weak::clone(me);
            self
        })
    }

    /// Instances that a generation of these kinds needs: one for the derivation, `max_instances` for all others together.
    pub(crate) fn instances(kinds: &KindSet, max_instances: u32) -> u32 {
        let derivation = u32::from(kinds.contains(&PluginKind::Derivation));
        let others = kinds.iter().any(|kind| *kind != PluginKind::Derivation);
        derivation + if others { max_instances.max(1) } else { 0 }
    }

    /// Keeps an instance that has not been called yet.
    async fn keep(&self, instance: Instance) {
        if self.only_derives() {
            *self.derivation.lock().await = Some(instance);
        } else if let Some((mut slot, _)) = self.slots.take(Duration::ZERO, 0).await {
            slot.instance = Some(instance);
            slot.put_back();
        }
    }

    fn only_derives(&self) -> bool {
        self.kinds.iter().all(|kind| *kind == PluginKind::Derivation)
    }

    pub(crate) fn kinds(&self) -> &KindSet {
        &self.kinds
    }

    pub(crate) fn collects(&self) -> bool {
        self.collects
    }

    pub(crate) fn interest(&self) -> &Interest {
        &self.interest
    }

    pub(crate) fn keeps_text(&self) -> bool {
        self.draft.keeps_text
    }

    /// Resolves when the generation is dropped.
    pub(crate) fn watch_end(&self) -> watch::Receiver<()> {
        self._alive.subscribe()
    }

    /// Whether it is not called at present.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantine.is_closed()
    }

    /// Drops every instance and starts one anew, so that nothing of the calls so far is left in memory.
    pub(crate) async fn renew(&self) -> Result<(), HookFailure> {
        self.slots.clear();
        *self.derivation.lock().await = None;
        let fresh = self.fresh(Duration::MAX).await?;
        self.keep(fresh).await;
        Ok(())
    }

    /// No instance of now is called again, except the derivation's.
    pub(crate) fn distrust(&self) {
        self.slots.clear();
        self.plugin.handles.restarted();
    }

    /// Makes one call of a kind other than derivation, on any instance.
    pub(crate) async fn call(&self, kind: PluginKind, ask: Ask, loan: Loan) -> Result<(Answer, Loan), HookFailure> {
        self.check_quarantine()?;
        let limits = &self.plugin.settings.limits;
        let bytes = loan.bytes();
        let Some((mut slot, wall)) = self.slots.take(limits.wall_of(kind, bytes), bytes).await else {
            return Err(HookFailure::new(FailureReason::NoCapacity, "no instance came free in time"));
        };
        // Again: the calls ahead of this one may have been what it takes.
        self.check_quarantine()?;
        if slot.instance.is_none() {
            slot.instance = Some(self.fresh(wall).await?);
        }
        let Some(instance) = slot.instance.as_mut() else {
            return Err(HookFailure::new(FailureReason::Start, "the slot has no instance"));
        };
        let (cpu, is_telemetry) = (limits.cpu_of(kind, bytes), loan.is_telemetry());
        let result = instance.run(&self.code, ask, loan, cpu, wall).await;
        let hearing = self.count(&result, is_telemetry);
        if result.is_err() {
            slot.instance = None;
        }
        if let Some(hearing) = hearing {
            self.hear(hearing, &mut slot.instance).await;
        }
        self.finish(slot);
        result
    }

    /// Keeps the instance for the next call, if there is one and it may serve another.
    fn finish(&self, slot: Slot<'_>) {
        let settings = &self.plugin.settings;
        let fit = slot.instance.as_ref().is_some_and(|instance| instance.is_fit(settings.limits.max_calls));
        if fit && settings.isolation == Isolation::Reuse {
            slot.put_back();
        }
    }

    /// Makes one call on the derivation's instance. A failed call drops it with all that it remembered; the next call starts another.
    pub(crate) async fn derive(&self, ask: Ask, loan: Loan) -> Result<(), HookFailure> {
        self.check_quarantine()?;
        let limits = &self.plugin.settings.limits;
        let (cpu, wall) = (limits.cpu_of(PluginKind::Derivation, 0), limits.wall_of(PluginKind::Derivation, 0));
        let mut place = self.derivation.lock().await;
        // Taken out while it works: a call that is cancelled leaves the place empty.
        let mut instance = match place.take() {
            Some(instance) => instance,
            None => self.fresh(wall).await?,
        };
        let result = instance.run(&self.code, ask, loan, cpu, wall).await;
        if result.is_ok() && instance.is_fit(u32::MAX) {
            *place = Some(instance);
        } else {
            drop(instance);
        }
        if let Some(hearing) = self.count(&result, false) {
            // Not in its place, because the samples are nothing to remember.
            self.hear(hearing, &mut None).await;
        }
        result.map(|_| ())
    }

    /// A new instance, which must declare what the first did.
    async fn fresh(&self, wall: Duration) -> Result<Instance, HookFailure> {
        let failed = |failure: HookFailure| match failure.reason {
            FailureReason::WallTimeout | FailureReason::NoCapacity => failure,
            _ => HookFailure::new(FailureReason::Start, format!("a fresh instance did not start: {failure}")),
        };
        let (instance, draft) = Instance::start(&self.code, &self.plugin, wall).await.map_err(failed)?;
        if draft != self.draft {
            return Err(HookFailure::new(FailureReason::Start, "a fresh instance declared another interest than the first"));
        }
        Ok(instance)
    }

    fn check_quarantine(&self) -> Result<(), HookFailure> {
        if self.is_quarantined() {
            return Err(HookFailure::new(FailureReason::Quarantined, "it is quarantined after repeated interrupts"));
        }
        Ok(())
    }

    /// Counts interrupts in a row and instances lost. A denied message is followed by a call about what telemetry says of it: that one going well
    /// does not end the row. Before it is live, an interrupt ends the trial and all else with it.
    fn count<T>(&self, result: &Result<T, HookFailure>, is_telemetry: bool) -> Option<Hearing<'_>> {
        if result.is_err() && self.plugin.is_live() {
            self.plugin.handles.restarted();
        }
        match result {
            Err(failure) if failure.reason == FailureReason::CpuTimeout && self.plugin.is_live() => return self.quarantine.interrupted(),
            _ if is_telemetry => {}
            _ => self.quarantine.answered(),
        }
        None
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.plugin.metrics.retire();
    }
}
