//! Health at work: runs the checks, remembers what they found, answers how the gateway stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use watchgate_hooks::{LiveHooks, StatusBoard, UpstreamEndpoints};
use watchgate_telemetry::{HealthCheckFinished, Telemetry, task};

use crate::check::{Check, CheckKind, CheckStatus, Finding, OwnCheck};
use crate::plugin_checks::PluginChecks;
use crate::plugin_states;
use crate::results::Results;
use crate::server_checks::ServerChecks;
use crate::snapshot::HealthSnapshot;
use crate::verdict::{Situation, not_ready_because, overall};

/// How health is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Time between two probes of a server.
    pub probe_interval: Duration,
    /// The longest time for each of a probe's two steps, connecting and asking.
    pub probe_timeout: Duration,
    /// The names of the servers to probe.
    pub servers: Vec<String>,
    /// Whether a server that a probe found down makes the whole gateway not ready, and at the start one whose first probe has not ended. Off by
    /// default: the servers beside it work.
    pub ready_requires_upstreams: bool,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(2),
            servers: Vec::new(),
            ready_requires_upstreams: false,
        }
    }
}

/// How the gateway stands, kept up to date by tasks of its own until `shutdown`.
pub struct Health {
    watched: Arc<Watched>,
    board: Arc<StatusBoard>,
    own: Mutex<Vec<Arc<dyn OwnCheck>>>,
    draining: AtomicBool,
    /// Servers of the configuration at the start whose first probe is still to end.
    unprobed: Mutex<Vec<String>>,
    started: Instant,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the checking tasks share.
pub(crate) struct Watched {
    pub results: Results,
    pub live: Arc<LiveHooks>,
    pub telemetry: Arc<Telemetry>,
    startup_done: watch::Sender<bool>,
    config: watch::Sender<HealthConfig>,
}

impl Health {
    /// Starts checking at once. Runs on a tokio runtime, until `shutdown` is true.
    pub fn start(
        config: HealthConfig,
        upstreams: Arc<dyn UpstreamEndpoints>,
        live: Arc<LiveHooks>,
        board: Arc<StatusBoard>,
        telemetry: Arc<Telemetry>,
        shutdown: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let (startup_done, results) = (watch::Sender::new(false), Results::default());
        let watched = Arc::new(Watched { results, live, telemetry, startup_done, config: watch::Sender::new(config.clone()) });
        let now = SystemTime::now();
        watched.results.open(CheckKind::Core, plugin_states::NAME, now);
        for server in &config.servers {
            watched.results.open(CheckKind::Upstream, server, now);
        }
        let task = tokio::spawn(task::named("health", "", work(upstreams, Arc::clone(&watched), shutdown)));
        Arc::new(Self {
            watched,
            board,
            own: Mutex::default(),
            draining: AtomicBool::new(false),
            unprobed: Mutex::new(config.servers),
            started: Instant::now(),
            task: Mutex::new(Some(task)),
        })
    }

    /// Shows this check too.
    pub fn show(&self, check: Arc<dyn OwnCheck>) {
        self.own.lock().push(check);
    }

    /// Checks like this from now on. Servers that are in both configurations keep their last result.
    pub fn apply(&self, config: HealthConfig) {
        self.watched.config.send_if_modified(|current| {
            let is_new = *current != config;
            *current = config;
            is_new
        });
    }

    /// Start-up is over: listeners are open and the first scan of the plugin folder has settled.
    pub fn set_startup_done(&self) {
        self.watched.startup_done.send_replace(true);
    }

    /// The gateway is ending: not ready from now on.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// How the gateway stands now.
    pub fn snapshot(&self) -> HealthSnapshot {
        let plugins = self.board.read();
        self.watched.results.finish(CheckKind::Core, plugin_states::NAME, plugin_states::look(&plugins), SystemTime::now());
        self.look_at_own();
        let checks = self.watched.results.all();
        let startup = *self.watched.startup_done.borrow();
        let unprobed = self.unprobed_of(&checks);
        let not_ready_because = not_ready_because(&Situation {
            startup_done: startup,
            draining: self.draining.load(Ordering::Acquire),
            missing_required: &self.watched.live.load().missing_required,
            plugins: &plugins,
            requires_upstreams: self.watched.config.borrow().ready_requires_upstreams,
            unprobed: &unprobed,
            checks: &checks,
        });
        let ready = not_ready_because.is_empty();
        HealthSnapshot {
            status: overall(ready, &checks),
            live: true,
            ready,
            startup,
            not_ready_because,
            checks,
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.started.elapsed(),
        }
    }

    fn look_at_own(&self) {
        let (results, now) = (&self.watched.results, SystemTime::now());
        for check in self.own.lock().iter() {
            match check.look() {
                Some((status, detail)) => {
                    results.open(CheckKind::Core, check.name(), now);
                    results.finish(CheckKind::Core, check.name(), Finding::new(status, detail), now);
                }
                None => results.close(CheckKind::Core, check.name()),
            }
        }
    }

    /// Which servers of the start nothing is known of yet. One that was known once is never among them again.
    fn unprobed_of(&self, checks: &[Check]) -> Vec<String> {
        let mut unprobed = self.unprobed.lock();
        let is_open = |check: &Check, name: &str| check.kind == CheckKind::Upstream && check.name == name && check.checked_at_ms.is_none();
        unprobed.retain(|name| checks.iter().any(|check| is_open(check, name)));
        unprobed.clone()
    }

    /// Waits until all checks have ended, after `shutdown`.
    pub async fn stopped(&self) {
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(end) = task.await
        {
            tracing::error!(%end, "health checking had ended early");
        }
    }
}

/// Owns every checking task; they end with it.
async fn work(upstreams: Arc<dyn UpstreamEndpoints>, watched: Arc<Watched>, mut shutdown: watch::Receiver<bool>) {
    let mut swaps = watched.live.subscribe();
    let mut startup = watched.startup_done.subscribe();
    let mut config = watched.config.subscribe();
    config.mark_changed();
    let mut servers = ServerChecks::new(Arc::clone(&watched), upstreams);
    let mut plugins = PluginChecks::new(Arc::clone(&watched));
    loop {
        if config.has_changed().unwrap_or_default() {
            let wanted = config.borrow_and_update().clone();
            servers.follow(&wanted).await;
        }
        swaps.mark_unchanged();
        // What a plugin says may quote a server, so none is asked before the policies of the first scan are live to see it.
        if *startup.borrow_and_update() {
            plugins.follow(&watched.live.load_full().health).await;
        }
        tokio::select! {
            // A closed channel means that nobody is left who could ask for the end: the process is ending.
            _ = shutdown.wait_for(|stop| *stop) => break,
            // `watched` holds the three senders, so none of these channels is ever closed.
            _ = swaps.changed() => {}
            _ = startup.changed() => {}
            _ = config.changed() => config.mark_changed(),
        }
    }
    servers.end().await;
    plugins.end().await;
}

impl Watched {
    /// Counts a run, remembers its result and says what changed.
    pub fn finish(&self, kind: CheckKind, name: &str, found: Finding, duration: Duration) {
        let Finding { status, detail } = found.clone();
        let label = label(kind, name);
        self.telemetry.emit(HealthCheckFinished { check: &label, status: status.as_str(), duration });
        let Some(before) = self.results.finish(kind, name, found, SystemTime::now()) else { return };
        if before == status {
            return;
        }
        let (before, status_word) = (before.as_str(), status.as_str());
        if status == CheckStatus::Ok {
            tracing::info!(check = label, before, status = status_word, detail, "health check changed");
        } else {
            tracing::warn!(check = label, before, status = status_word, detail, "health check changed");
        }
    }

    /// The check no longer runs: neither its result nor its figures are shown.
    pub fn close(&self, kind: CheckKind, name: &str) {
        self.results.close(kind, name);
        self.telemetry.retire_check(&label(kind, name));
    }
}

/// The label of a check. A server and a plugin may have the same name.
fn label(kind: CheckKind, name: &str) -> String {
    if kind == CheckKind::Plugin { name.to_owned() } else { format!("{}/{name}", kind.as_str()) }
}
