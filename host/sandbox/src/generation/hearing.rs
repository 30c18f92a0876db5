//! Is it the plugin, or what it is shown? After interrupts in a row the plugin is asked about the samples, which nobody outside can choose: one
//! client's messages must not stop a plugin for all. What it answers decides whether it is quarantined, and later whether it is called again.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use watchgate_hooks::PluginState;

use super::Generation;
use crate::instance::Instance;
use crate::quarantine::{Hearing, SUSPECT_AFTER};
use crate::samples;

/// The task that waits for the end of a quarantine. It goes with its generation.
#[derive(Default)]
pub(super) struct Release(Mutex<Option<AbortHandle>>);

impl Drop for Release {
    fn drop(&mut self) {
        if let Some(task) = self.0.get_mut().take() {
            task.abort();
        }
    }
}

impl Generation {
    /// Asks a fresh instance about the samples. If it answers them it is left in `place`, and the plugin goes on being called.
    pub(super) async fn hear(&self, _hearing: Hearing<'_>, place: &mut Option<Instance>) {
        if self.answers_samples(place).await {
            if self.quarantine.acquit(Instant::now()) {
                tracing::warn!(
                    plugin = %self.plugin.name,
                    "interrupted {SUSPECT_AFTER} times in a row by what it was shown; it answers the gateway's samples and stays live"
                );
            }
            return;
        }
        let time = self.quarantine.close(Instant::now());
        tracing::error!(
            plugin = %self.plugin.name,
            for_ms = time.as_millis(),
            "quarantined: interrupted {SUSPECT_AFTER} times in a row, and by the gateway's samples"
        );
        self.plugin.show_state(PluginState::Quarantined);
        self.code.sandbox.quarantines.notify_one();
        self.release_after(time);
    }

    /// Whether a fresh instance answers every sample in time. Leaves it in `place` then, and nothing otherwise. A plugin without samples, which
    /// is a health check and nothing else, has nothing to answer for itself: what it does when called is all that there is to tell by.
    async fn answers_samples(&self, place: &mut Option<Instance>) -> bool {
        let limits = &self.plugin.settings.limits;
        let calls = samples::calls(&self.kinds);
        if calls.is_empty() {
            return false;
        }
        let Ok(mut instance) = self.fresh(Duration::MAX).await else { return false };
        for (kind, ask, loan) in calls {
            let (cpu, wall) = (limits.cpu_of(kind, loan.bytes()), limits.wall_of(kind, loan.bytes()));
            if instance.rehearse(&self.code, ask, loan, cpu, wall).await.is_err() {
                return false;
            }
        }
        *place = Some(instance);
        true
    }

    /// Begins to wait for the end of a quarantine.
    fn release_after(&self, mut time: Duration) {
        let me = self.me.clone();
        let task = tokio::spawn(async move {
            loop {
                sleep(time).await;
                let Some(generation) = me.upgrade() else { return };
                match generation.try_again().await {
                    Some(longer) => time = longer,
                    None => return,
                }
            }
        });
        self.release.0.lock().replace(task.abort_handle());
    }

    /// Ends the quarantine if the samples are answered; otherwise says how long it lasts this time.
    async fn try_again(&self) -> Option<Duration> {
        let has_samples = !samples::calls(&self.kinds).is_empty();
        if has_samples && !self.answers_on_a_place_of_its_own().await {
            let time = self.quarantine.prolong();
            tracing::debug!(plugin = %self.plugin.name, for_ms = time.as_millis(), "still quarantined");
            return Some(time);
        }
        self.quarantine.reopen(Instant::now());
        tracing::info!(plugin = %self.plugin.name, "called again after its quarantine");
        self.plugin.show_state(PluginState::Live);
        self.code.sandbox.quarantines.notify_one();
        None
    }

    /// Nobody calls a quarantined plugin, so that there is a place unless every call of before still runs.
    async fn answers_on_a_place_of_its_own(&self) -> bool {
        if self.only_derives() {
            let mut place = self.derivation.lock().await;
            // What it remembers is of before, and there is room for one instance.
            *place = None;
            return self.answers_samples(&mut None).await;
        }
        let limits = &self.plugin.settings.limits;
        let wall = self.kinds.iter().map(|kind| limits.wall_of(*kind, 0)).max().unwrap_or_default();
        let Some((mut slot, _)) = self.slots.take(wall, 0).await else { return false };
        slot.instance = None;
        let is_well = self.answers_samples(&mut slot.instance).await;
        self.finish(slot);
        is_well
    }
}
