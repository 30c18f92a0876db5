//! The health plugins' checks: follows the live set, one task for each check.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use watchgate_hooks::{ClearedRecord, HealthCheck, HealthStatus, HookSet, UnclearedRecord, clear};
use watchgate_mcp::Direction;
use watchgate_telemetry::task;

use crate::check::{CheckKind, CheckStatus, Finding};
use crate::contained::contained;
use crate::health::Watched;
use crate::pace::repeat;

/// Plugins have deadlines of their own; this one only keeps a check without one from hanging unseen.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the policies are told that a detail is.
const FIELD: &str = "watchgate.health.detail";

/// The running checks by plugin name.
pub(crate) struct PluginChecks {
    watched: Arc<Watched>,
    running: BTreeMap<String, Running>,
}

struct Running {
    check: Arc<dyn HealthCheck>,
    task: JoinHandle<()>,
}

impl PluginChecks {
    pub fn new(watched: Arc<Watched>) -> Self {
        Self { watched, running: BTreeMap::new() }
    }

    /// Makes the running checks those of `live`: what is no longer live ends, even in the middle of a run; what is new starts at once; the
    /// rest is left alone.
    pub async fn follow(&mut self, live: &[Arc<dyn HealthCheck>]) {
        let watched = &self.watched;
        let over = self.running.extract_if(.., |_, running| !live.iter().any(|check| Arc::ptr_eq(check, &running.check)));
        for (name, running) in over.collect::<Vec<_>>() {
            running.task.abort();
            // The error only says that the task was cancelled. A run that was under way has written its last figures.
            let _cancelled = running.task.await;
            if !live.iter().any(|check| check.name() == name) {
                watched.close(CheckKind::Plugin, &name);
            }
        }
        for check in live {
            if self.running.contains_key(check.name()) {
                continue;
            }
            let name = check.name().to_owned();
            watched.results.open(CheckKind::Plugin, &name, SystemTime::now());
            let work = check_for_ever(name.clone(), Arc::clone(check), Arc::clone(watched));
            let task = tokio::spawn(task::named("health check", &name, work));
            self.running.insert(name, Running { check: Arc::clone(check), task });
        }
    }

    /// Ends all checks and waits until they have.
    pub async fn end(self) {
        for running in self.running.values() {
            running.task.abort();
        }
        for running in self.running.into_values() {
            // The error only says that the task was cancelled.
            let _cancelled = running.task.await;
        }
    }
}

async fn check_for_ever(name: String, check: Arc<dyn HealthCheck>, watched: Arc<Watched>) {
    repeat(check.interval(), || async {
        let begun = Instant::now();
        let call = Arc::clone(&check);
        let found = match contained(DEADLINE, async move { call.check().await }).await {
            Ok(Ok(report)) => Finding::new(status(report.status), report.detail),
            Ok(Err(failure)) => Finding::new(CheckStatus::Unknown, failure.to_string()),
            Err(problem) => Finding::new(CheckStatus::Unknown, problem),
        };
        let took = begun.elapsed();
        let found = Finding { detail: cleared(&watched.live.load_full(), found.detail).await, ..found };
        watched.finish(CheckKind::Plugin, &name, found, took);
    })
    .await;
}

/// What operators may read of a detail: a plugin may quote a server, so the policies see it first.
async fn cleared(live: &HookSet, detail: String) -> String {
    let record = UnclearedRecord {
        server: "".into(),
        direction: Direction::ServerToClient,
        method: None,
        name: None,
        fields: vec![(FIELD, detail)],
    };
    match clear(&live.redaction, record).await {
        ClearedRecord::Fields(fields) => fields.into_iter().map(|(_, text)| text.into_string()).collect(),
        ClearedRecord::Denied | ClearedRecord::Failed => "withheld by a redaction policy".to_owned(),
    }
}

fn status(reported: HealthStatus) -> CheckStatus {
    match reported {
        HealthStatus::Ok => CheckStatus::Ok,
        HealthStatus::Degraded => CheckStatus::Degraded,
        HealthStatus::Failing => CheckStatus::Failing,
    }
}
