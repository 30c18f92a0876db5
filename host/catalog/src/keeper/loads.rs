//! What the keeper does with a change: order a load, and act on how the load ended.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;
use watchgate_hooks::PluginKind;
use watchgate_telemetry::ReloadFinished;

use crate::folder::{Change, STABLE};
use crate::live::LiveGeneration;
use crate::pipeline::{self, Order, Outcome, Ready, Report};
use crate::refusal::{Reason, Refusal};
use crate::sighting::Version;

use super::{FIRST_RETRY, Job, Keeper, LAST_RETRY, Retry};

impl Keeper {
    /// A plugin's files changed: a removal is done at once, all else is queued. Whatever of this plugin is being
    /// loaded is superseded.
    pub(super) fn apply(&mut self, change: Change, seen: Instant) {
        let Change { name, version } = change;
        self.retries.remove(&name);
        if let Some(job) = self.job.as_ref().filter(|job| job.name == name) {
            job.superseded.store(true, Ordering::Release);
        }
        if version.component.is_none() {
            self.remove(&name, seen);
        }
        if version == Version::default() {
            self.queue.remove(&name);
            self.roster.set_required(&name, false);
            self.roster.forget_if_gone(&name);
            self.show();
        } else {
            self.queue.insert(name, seen);
        }
    }

    /// A file that never settled and is gone leaves no change behind, only its refusal.
    pub(super) fn forgive_vanished(&mut self) {
        let unsettled: BTreeSet<&str> = self.folder.unsettled();
        let is_vanished = |name: &String| {
            let was_changing = self.roster.refusal(name) == Some(Reason::StillChanging);
            was_changing && !unsettled.contains(name.as_str()) && self.folder.version(name).is_none()
        };
        let vanished: Vec<String> = self.roster.refused().into_iter().filter(is_vanished).collect();
        for name in vanished {
            self.remove(&name, Instant::now());
            self.roster.forget_if_gone(&name);
            self.show();
        }
    }

    /// Starts the load that waits longest, unless one runs: loads are one at a time so that compiling takes one core.
    pub(super) fn start_next_job(&mut self) {
        while self.job.is_none() {
            let Some((name, seen)) = self.queue.iter().min_by_key(|(_, seen)| **seen).map(|(name, seen)| (name.clone(), *seen)) else {
                return;
            };
            self.queue.remove(&name);
            let Some(version) = self.folder.version(&name).cloned() else { continue };
            if self.roster.is_live_again(&name, &version) {
                self.retries.remove(&name);
                self.show();
                continue;
            }
            let generation = self.roster.next_number(&name);
            let order = Order {
                folder: self.config.folder.clone(),
                name: name.clone(),
                version: version.clone(),
                generation,
                predecessor: self.roster.live_kinds(&name),
            };
            tracing::debug!(plugin = name, generation = generation.0, "loading plugin");
            let superseded = Arc::new(AtomicBool::new(false));
            let task = tokio::spawn(pipeline::run(order, Arc::clone(&self.shared.loader), Arc::clone(&superseded)));
            self.job = Some(Job { name, version, generation, seen, superseded, task });
        }
    }

    /// Acts on how the running load ended.
    pub(super) fn finish(&mut self, report: Result<Report, JoinError>) {
        let Some(job) = self.job.take() else { return };
        if job.superseded.load(Ordering::Acquire) {
            return;
        }
        let report = report.unwrap_or_else(|error| {
            let refusal = Refusal::new(Reason::Internal, format!("loading failed: {error}"));
            Report { required: None, outcome: Outcome::Refused(refusal) }
        });
        if let Some(required) = report.required {
            self.roster.set_required(&job.name, required);
        }
        match report.outcome {
            Outcome::Ready(ready) => self.go_live(job, ready),
            Outcome::Refused(refusal) => self.turn_down(&job, refusal),
            Outcome::NoComponent => {
                self.retries.remove(&job.name);
                self.roster.forget_if_gone(&job.name);
            }
            Outcome::Superseded => {
                let now = Instant::now();
                self.scan_at = now;
                self.retries.insert(job.name, Retry { at: now + STABLE, delay: FIRST_RETRY });
            }
        }
        self.show();
    }

    fn go_live(&mut self, job: Job, ready: Ready) {
        let handles = self.roster.handles(&job.name);
        let next = LiveGeneration::new(ready, job.generation, job.version, &self.shared.live, handles);
        let kinds: Vec<&str> = next.kinds.iter().map(|kind| PluginKind::as_str(*kind)).collect();
        let kinds = kinds.join(",");
        let old = self.roster.enter(&job.name, next);
        self.retries.remove(&job.name);
        self.swap();
        let took = job.seen.elapsed();
        tracing::info!(plugin = job.name, generation = job.generation.0, kinds, took_ms = took.as_millis(), "plugin live");
        self.shared.telemetry.emit(ReloadFinished { plugin: &job.name, result: "live", reason: None, duration: took });
        if let Some(old) = old {
            self.retirements.spawn(old.retire());
        }
    }

    fn turn_down(&mut self, job: &Job, refusal: Refusal) {
        if refusal.reason.is_passing() {
            let delay = self.retries.get(&job.name).map_or(FIRST_RETRY, |retry| (retry.delay * 2).min(LAST_RETRY));
            self.retries.insert(job.name.clone(), Retry { at: Instant::now() + delay, delay });
        } else {
            self.retries.remove(&job.name);
        }
        self.refuse(&job.name, refusal, Some(&job.version), job.seen.elapsed());
    }

    /// Says in all places that the newest file of this plugin is refused, unless just that was said already.
    pub(super) fn refuse(&mut self, name: &str, refusal: Refusal, version: Option<&Version>, took: Duration) {
        let reason = refusal.reason.as_str();
        let detail = refusal.detail.clone();
        // The metrics of a plugin tell its state even if nothing of it was ever live.
        self.roster.handles(name);
        if self.roster.refuse(name, refusal, version) {
            tracing::warn!(plugin = name, reason, detail, "plugin refused");
            self.shared.telemetry.emit(ReloadFinished { plugin: name, result: "refused", reason: Some(reason), duration: took });
        }
    }

    fn remove(&mut self, name: &str, seen: Instant) {
        let Some(old) = self.roster.take_out(name) else { return };
        self.swap();
        tracing::info!(plugin = name, generation = old.number.0, "plugin removed");
        self.shared.telemetry.emit(ReloadFinished { plugin: name, result: "removed", reason: None, duration: seen.elapsed() });
        self.retirements.spawn(old.retire());
    }

    fn swap(&self) {
        self.shared.live.swap(self.roster.hook_set());
    }

    /// Publishes the status, and what is missing if that changed without anything going live.
    pub(super) fn show(&mut self) {
        if self.shared.live.load().missing_required != self.roster.missing_required() {
            self.swap();
        }
        self.publish();
    }
}
