//! The configuration is read again when its files change, on SIGHUP, and when an operator asks: put into force whole or not at all.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::block_in_place;
use watchgate_admin::{ConfigComplaint, ConfigReload};
use watchgate_alerts::Alerts;
use watchgate_health::Health;
use watchgate_proxy::{ListenerConfig, PreparedListener, ProxyControl};
use watchgate_telemetry::log::LogHandle;
use watchgate_telemetry::{ConfigReload as ReloadResult, ConfigReloadFinished, Telemetry};

use crate::changes::{changes, needs_restart};
use crate::cli::RunArguments;
use crate::complaint::{Complaint, Place};
use crate::config_watch::ConfigWatch;
use crate::listeners::{self, Bound};
use crate::rooms::Rooms;
use crate::settings::{self, Settings};

/// Operators who wait for a reload at once; more are turned away.
const WAITING: usize = 16;

type Answer = oneshot::Sender<ConfigReload>;

/// Where operators ask for a reload.
#[derive(Clone)]
pub struct ReloadSender {
    requests: mpsc::Sender<Answer>,
    in_force: Arc<RwLock<serde_json::Value>>,
}

/// Where the reloader hears of them.
pub struct ReloadRequests {
    requests: mpsc::Receiver<Answer>,
    in_force: Arc<RwLock<serde_json::Value>>,
}

/// Both ends; requests wait until there is a [`Reloader`].
pub fn channel() -> (ReloadSender, ReloadRequests) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let in_force = Arc::default();
    (ReloadSender { requests: sender, in_force: Arc::clone(&in_force) }, ReloadRequests { requests: receiver, in_force })
}

impl ReloadSender {
    /// Has the configuration read again and says what came of it.
    pub async fn reload(&self) -> ConfigReload {
        let (answer, answered) = oneshot::channel();
        if self.requests.try_send(answer).is_err() {
            return ConfigReload::Unavailable;
        }
        answered.await.unwrap_or(ConfigReload::Unavailable)
    }

    /// The configuration in force, without secrets.
    pub fn in_force(&self) -> serde_json::Value {
        self.in_force.read().clone()
    }
}

/// Why the configuration is read again.
enum Cause {
    Files,
    Hangup,
    Operator(Answer),
}

/// Puts configurations into force.
pub struct Reloader {
    arguments: RunArguments,
    /// What was read at the start only is as it was then.
    in_force: Settings,
    watch: ConfigWatch,
    /// Named in the newest warning.
    waiting_for_restart: Vec<&'static str>,
    /// The newest configuration was refused.
    is_behind: bool,
    control: Arc<ProxyControl>,
    health: Arc<Health>,
    alerts: Arc<Alerts>,
    telemetry: Arc<Telemetry>,
    log: LogHandle,
}

/// Everything of a new configuration that can fail, done.
struct Ready {
    proxy: watchgate_proxy::Prepared,
    opened: Vec<Bound>,
    changed: Vec<PreparedListener>,
}

impl Reloader {
    /// `settings` are in force, as `arguments` and their files said.
    pub fn new(arguments: RunArguments, settings: Settings, control: Arc<ProxyControl>, rooms: &Rooms, log: LogHandle) -> Self {
        Self {
            watch: ConfigWatch::new(arguments.config.clone()),
            arguments,
            in_force: settings,
            waiting_for_restart: Vec::new(),
            is_behind: false,
            control,
            health: rooms.health.clone(),
            alerts: rooms.alerts.clone(),
            telemetry: rooms.telemetry.clone(),
            log,
        }
    }

    /// Reloads whenever there is cause, until `end` is true; answers what is in force then.
    pub async fn follow(mut self, mut operators: ReloadRequests, mut hangups: Signal, mut end: watch::Receiver<bool>) -> Settings {
        loop {
            *operators.in_force.write() = self.in_force.document.clone();
            let cause = tokio::select! {
                biased;
                // The sender lives as long as the process, so this ends only by a signal.
                _ = end.wait_for(|asked| *asked) => return self.in_force,
                Some(answer) = operators.requests.recv() => Cause::Operator(answer),
                Some(()) = hangups.recv() => Cause::Hangup,
                () = self.watch.changed() => Cause::Files,
            };
            let is_asked_for = !matches!(cause, Cause::Files);
            let outcome = self.reload(is_asked_for).await;
            if let Cause::Operator(answer) = cause {
                // Who asked may have left.
                let _ = answer.send(outcome);
            }
        }
    }

    async fn reload(&mut self, is_asked_for: bool) -> ConfigReload {
        self.watch.look().await;
        let arguments = self.arguments.clone();
        let loaded = match tokio::task::spawn_blocking(move || settings::load(&arguments)).await {
            Ok(loaded) => loaded,
            Err(end) => return self.refuse(vec![Complaint::together(format!("the configuration could not be read: {end}"))]),
        };
        self.watch.follow(loaded.files);
        let read = match loaded.settings {
            Ok(settings) => settings,
            Err(complaints) => return self.refuse(complaints),
        };
        let needs_restart = needs_restart(&self.in_force, &read);
        let wanted = read.with_start_only_of(&self.in_force);
        let changed = changes(&self.in_force, &wanted);
        if !changed.is_empty() {
            match self.make_ready(&wanted).await {
                Ok(ready) => self.apply(ready, wanted),
                Err(problem) => return self.refuse(vec![Complaint::together(problem)]),
            }
        }
        self.report(&changed, &needs_restart, is_asked_for);
        ConfigReload::Applied { changed, needs_restart: needs_restart.into_iter().map(str::to_owned).collect() }
    }

    /// Does everything that can fail. Traffic sees nothing of it, and dropping the result undoes it.
    async fn make_ready(&self, wanted: &Settings) -> Result<Ready, String> {
        let running = &self.in_force.listeners;
        let (mut opened, mut changed) = (Vec::new(), Vec::new());
        for config in &wanted.listeners {
            match running.iter().find(|other| other.address == config.address) {
                Some(same) if same == config => {}
                Some(_) => changed.push(self.control.prepare_listener(config).map_err(|error| error.to_string())?),
                None => {
                    let socket = listeners::bind(&config.address, "traffic", running).await?;
                    opened.push(listeners::prepare(&self.control, config, socket).map_err(|error| error.to_string())?);
                }
            }
        }
        // Reads files, and all authorities of the system.
        let proxy = block_in_place(|| self.control.prepare(wanted.proxy.clone())).map_err(|error| error.to_string())?;
        Ok(Ready { proxy, opened, changed })
    }

    /// Cannot fail.
    fn apply(&mut self, ready: Ready, wanted: Settings) {
        self.control.apply(ready.proxy);
        for bound in ready.opened {
            listeners::open(&self.control, bound);
        }
        for listener in ready.changed {
            self.control.change_listener(listener);
        }
        let is_gone = |config: &&ListenerConfig| wanted.listeners.iter().all(|other| other.address != config.address);
        for config in self.in_force.listeners.iter().filter(is_gone) {
            tracing::info!(address = config.address, "no longer listening for traffic");
            self.control.close_listener(&config.address);
        }
        self.health.apply(wanted.health.clone());
        if let Err(mistakes) = self.alerts.apply(&wanted.alerts) {
            // The rules were checked when they were read.
            tracing::error!(?mistakes, "the alert rules stay as they were");
        }
        if let Err(error) = self.log.set_level(&wanted.logs.level) {
            tracing::error!(%error, "the log level stays as it was");
        }
        if wanted.warnings != self.in_force.warnings {
            wanted.warn();
        }
        self.in_force = wanted;
    }

    fn report(&mut self, changed: &[String], needs_restart: &[&'static str], is_asked_for: bool) {
        // A file that was touched, or read for the first time, is no news.
        if !changed.is_empty() || is_asked_for || self.is_behind {
            tracing::info!(changed = changed.join(", "), "configuration reloaded");
            self.telemetry.emit(ConfigReloadFinished { result: ReloadResult::Applied });
        }
        self.is_behind = false;
        if self.waiting_for_restart != needs_restart {
            if !needs_restart.is_empty() {
                tracing::warn!(
                    keys = needs_restart.join(", "),
                    "these keys have changed but are read at the start only; restart to apply them"
                );
            }
            self.waiting_for_restart = needs_restart.to_vec();
        }
    }

    fn refuse(&mut self, complaints: Vec<Complaint>) -> ConfigReload {
        self.is_behind = true;
        self.telemetry.emit(ConfigReloadFinished { result: ReloadResult::Refused });
        for complaint in &complaints {
            tracing::error!("configuration refused, the one before stays in force: {complaint}");
        }
        ConfigReload::Refused { complaints: complaints.into_iter().map(shown).collect() }
    }
}

fn shown(complaint: Complaint) -> ConfigComplaint {
    let (file, line) = match complaint.place {
        Place::File(path, line) => (Some(path.display().to_string()), Some(line)),
        Place::WholeFile(path) => (Some(path.display().to_string()), None),
        Place::Flag(flag) => return ConfigComplaint { file: None, line: None, text: format!("{flag}: {}", complaint.text) },
        Place::Together => (None, None),
    };
    ConfigComplaint { file, line, text: complaint.text }
}
