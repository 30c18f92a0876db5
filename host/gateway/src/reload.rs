//! The configuration is read again when its files change, on SIGHUP, and when an operator asks: put into force whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::block_in_place;
use tokio::time::Instant;
use watchgate_admin::{ConfigComplaint, ConfigReload};
use watchgate_alerts::Alerts;
use watchgate_health::Health;
use watchgate_proxy::{ListenerConfig, PreparedListener, ProxyControl, ProxyError};
use watchgate_telemetry::log::LogHandle;
use watchgate_telemetry::{ConfigReload as ReloadResult, ConfigReloadFinished, Telemetry};

use crate::caution::{losses, may_be_cut_off};
use crate::changes::{changes, needs_restart};
use crate::cli::RunArguments;
use crate::complaint::{Complaint, Place};
use crate::config_watch::ConfigWatch;
use crate::listeners::{self, Bound};
use crate::rooms::Rooms;
use crate::settings::{self, Settings};

/// Operators who wait for a reload at once; more are turned away.
const WAITING: usize = 16;

/// A configuration whose address is taken is tried again after this long, and each time after twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// But never more seldom than this.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

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
    /// An address that could not be taken may be free now.
    Retry,
    Hangup,
    Operator(Answer),
}

/// Why a sound configuration cannot be put into force.
enum Obstacle {
    /// An address cannot be taken. Nothing need change in the files for it to become free.
    Address(String),
    /// A file is of no use.
    Unusable(String),
}

/// A configuration that is tried again, while it is the newest.
struct Retry {
    read: Box<Settings>,
    at: Instant,
    /// Time between the try before and this one.
    wait: Duration,
    /// Why it was refused.
    complaint: String,
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
    retry: Option<Retry>,
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
            retry: None,
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
                () = due(self.retry.as_ref()) => Cause::Retry,
            };
            match cause {
                Cause::Files => self.reload_changed().await,
                Cause::Retry => self.retry().await,
                Cause::Hangup => drop(self.reload_asked_for().await),
                // Who asked may have left.
                Cause::Operator(answer) => drop(answer.send(self.reload_asked_for().await)),
            }
        }
    }

    /// Somebody says that the files are as they should be; if one is open for writing, that cannot be.
    async fn reload_asked_for(&mut self) -> ConfigReload {
        if !self.watch.is_written().await {
            let text = "a file of the configuration is being written: ask again when whoever writes it has closed it";
            return self.refuse(vec![Complaint::together(text)]);
        }
        match self.read().await {
            Ok(read) => self.put_into_force(read, true, None).await,
            Err(complaints) => self.refuse(complaints),
        }
    }

    async fn reload_changed(&mut self) {
        match self.read().await {
            Err(complaints) => drop(self.refuse(complaints)),
            Ok(read) if !self.watch.is_confirmed() && may_be_cut_off(&self.in_force, &read) => {
                tracing::debug!("the configuration says less than before; it counts when it stays so");
                self.watch.doubt();
            }
            Ok(read) => drop(self.put_into_force(read, false, None).await),
        }
    }

    async fn retry(&mut self) {
        if let Some(retry) = self.retry.take() {
            let read = Settings::clone(&retry.read);
            self.put_into_force(read, false, Some(retry)).await;
        }
    }

    /// Reads the files.
    async fn read(&mut self) -> Result<Settings, Vec<Complaint>> {
        // Another text is another matter.
        self.retry = None;
        self.watch.look().await;
        let arguments = self.arguments.clone();
        let loaded = tokio::task::spawn_blocking(move || settings::load(&arguments))
            .await
            .map_err(|end| vec![Complaint::together(format!("the configuration could not be read: {end}"))])?;
        self.watch.follow(loaded.files);
        loaded.settings
    }

    async fn put_into_force(&mut self, read: Settings, is_asked_for: bool, earlier: Option<Retry>) -> ConfigReload {
        let needs_restart = needs_restart(&self.in_force, &read);
        let wanted = read.clone().with_start_only_of(&self.in_force);
        let changed = changes(&self.in_force, &wanted);
        if changed.is_empty() {
            self.in_force.written = wanted.written;
        } else {
            match self.make_ready(&wanted).await {
                Ok(ready) => self.apply(ready, wanted),
                Err(Obstacle::Unusable(problem)) => return self.refuse(vec![Complaint::together(problem)]),
                Err(Obstacle::Address(problem)) => return self.wait_for_address(read, problem, earlier),
            }
        }
        self.report(&changed, &needs_restart, is_asked_for);
        ConfigReload::Applied { changed, needs_restart: needs_restart.into_iter().map(str::to_owned).collect() }
    }

    /// Refuses a configuration until its addresses can be taken. That they still cannot is no news.
    fn wait_for_address(&mut self, read: Settings, complaint: String, earlier: Option<Retry>) -> ConfigReload {
        let earlier = earlier.filter(|earlier| earlier.complaint == complaint);
        let wait = earlier.as_ref().map_or(FIRST_RETRY, |earlier| (earlier.wait * 2).min(LONGEST_RETRY));
        let said = Complaint::together(format!("{complaint}; it is tried again until the configuration changes"));
        self.retry = Some(Retry { read: Box::new(read), at: Instant::now() + wait, wait, complaint });
        match earlier {
            Some(_) => ConfigReload::Refused { complaints: vec![shown(said)] },
            None => self.refuse(vec![said]),
        }
    }

    /// Does everything that can fail. Traffic sees nothing of it, and dropping the result undoes it.
    async fn make_ready(&self, wanted: &Settings) -> Result<Ready, Obstacle> {
        let unusable = |error: ProxyError| Obstacle::Unusable(error.to_string());
        let running = &self.in_force.listeners;
        let (mut opened, mut changed) = (Vec::new(), Vec::new());
        for config in &wanted.listeners {
            match running.iter().find(|other| other.address == config.address) {
                Some(same) if same == config => {}
                Some(_) => changed.push(self.control.prepare_listener(config).map_err(unusable)?),
                None => {
                    let socket = listeners::bind(&config.address, "traffic", running).await.map_err(Obstacle::Address)?;
                    opened.push(listeners::prepare(&self.control, config, socket).map_err(unusable)?);
                }
            }
        }
        // Reads files, and all authorities of the system.
        let proxy = block_in_place(|| self.control.prepare(wanted.proxy.clone())).map_err(unusable)?;
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
        for loss in losses(&self.in_force, &wanted) {
            tracing::warn!("the configuration in force protects less than the one before: {loss}");
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

/// Returns when it is time to try again; never without a reason to.
async fn due(retry: Option<&Retry>) {
    match retry {
        Some(retry) => tokio::time::sleep_until(retry.at).await,
        None => std::future::pending().await,
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
