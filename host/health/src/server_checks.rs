//! The servers' checks: follows the configuration, one task for each server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use watchgate_hooks::UpstreamEndpoints;
use watchgate_telemetry::{ServerUp, task};

use crate::check::{CheckKind, CheckStatus, Finding};
use crate::contained::contained;
use crate::health::{HealthConfig, Watched};
use crate::pace::repeat;
use crate::probe::Probe;

/// The running probes by server name.
pub(crate) struct ServerChecks {
    watched: Arc<Watched>,
    upstreams: Arc<dyn UpstreamEndpoints>,
    running: BTreeMap<String, Running>,
}

struct Running {
    pace: Pace,
    task: JoinHandle<()>,
}

/// When a probe runs and how long it may take.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pace {
    interval: Duration,
    timeout: Duration,
}

impl ServerChecks {
    pub fn new(watched: Arc<Watched>, upstreams: Arc<dyn UpstreamEndpoints>) -> Self {
        Self { watched, upstreams, running: BTreeMap::new() }
    }

    /// Makes the running probes those of `config`: one whose server is gone, or whose pace is another, ends, even in the middle of a run.
    /// The last result of a server that stays stands until there is a new one.
    pub async fn follow(&mut self, config: &HealthConfig) {
        let pace = Pace { interval: config.probe_interval, timeout: config.probe_timeout };
        let over = self.running.extract_if(.., |name, running| running.pace != pace || !config.servers.contains(name));
        for (name, running) in over.collect::<Vec<_>>() {
            running.task.abort();
            // The error only says that the task was cancelled. A run that was under way has written its last figures.
            let _cancelled = running.task.await;
            if !config.servers.contains(&name) {
                self.watched.close(CheckKind::Upstream, &name);
                self.watched.telemetry.retire_server_up(&name);
            }
        }
        for server in &config.servers {
            if !self.running.contains_key(server) {
                self.watched.results.open(CheckKind::Upstream, server, SystemTime::now());
                let work = probe_for_ever(server.clone(), pace, Arc::clone(&self.upstreams), Arc::clone(&self.watched));
                let task = tokio::spawn(task::named("server probe", server, work));
                self.running.insert(server.clone(), Running { pace, task });
            }
        }
    }

    /// Ends all probes and waits until they have.
    pub async fn end(self) {
        for running in self.running.values() {
            running.task.abort();
        }
        for running in self.running.into_values() {
            let _cancelled = running.task.await;
        }
    }
}

async fn probe_for_ever(server: String, pace: Pace, upstreams: Arc<dyn UpstreamEndpoints>, watched: Arc<Watched>) {
    let probe = Arc::new(Probe::new(server.clone(), pace.timeout, upstreams));
    repeat(pace.interval, || async {
        let (begun, probe) = (Instant::now(), Arc::clone(&probe));
        // The probe keeps its own time, twice the timeout; this bound is for an implementation of `UpstreamEndpoints` that does not.
        let call = contained(pace.timeout * 3, async move { probe.run().await });
        let found = call.await.unwrap_or_else(|problem| Finding::new(CheckStatus::Failing, problem));
        watched.telemetry.emit(ServerUp { server: &server, up: found.status != CheckStatus::Failing });
        watched.finish(CheckKind::Upstream, &server, found, begun.elapsed());
    })
    .await;
}
