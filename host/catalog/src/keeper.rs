//! The one task that owns which plugins are live: it scans, loads one plugin at a time, swaps, retires and reports.

mod loads;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use watchgate_hooks::{Generation, LiveHooks, StatusBoard};
use watchgate_telemetry::Telemetry;

use crate::catalog::CatalogConfig;
use crate::folder::{DEBOUNCE, Folder, STABLE};
use crate::loader::Loader;
use crate::pipeline::Report;
use crate::refusal::{Reason, Refusal};
use crate::roster::Roster;
use crate::scan::Scanner;
use crate::sighting::{Scan, Version};
use crate::watch::{Mailbox, Watch};

/// Where events are no help, the folder is looked at this often.
const POLL_INTERVAL: Duration = STABLE;

/// The first scan waits this long for files that are still being written.
const FIRST_SCAN_PATIENCE: Duration = Duration::from_secs(3);

/// What was refused for a passing reason is tried again after this time, then after twice as long, and so on.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// The longest time between two tries.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A mistake that repeats itself must not fill the log.
const AFTER_PANIC: Duration = Duration::from_secs(1);

const STILL_CHANGING: &str = "the file was still being written when the gateway started";

/// What the keeper is given and shares with others.
pub struct Shared {
    /// Makes candidates.
    pub loader: Arc<dyn Loader>,
    /// What traffic sees.
    pub live: Arc<LiveHooks>,
    /// What operators see.
    pub board: Arc<StatusBoard>,
    /// Where reloads are counted.
    pub telemetry: Arc<Telemetry>,
    /// Asked to scan now and to try refused files again.
    pub reload: Arc<Notify>,
    /// Told when the first scan has settled.
    pub settled: watch::Sender<bool>,
    /// Counts what was published on the board.
    pub published: watch::Sender<u64>,
}

/// The keeper's own state.
pub struct Keeper {
    config: CatalogConfig,
    shared: Shared,
    mailbox: Arc<Mailbox>,
    /// Away while a scan runs.
    eyes: Option<Eyes>,
    folder: Folder,
    roster: Roster,
    /// Plugins to load, with the time that their files were seen.
    queue: BTreeMap<String, Instant>,
    retries: BTreeMap<String, Retry>,
    job: Option<Job>,
    retirements: JoinSet<()>,
    scan_at: Instant,
    scanned_at: Option<Instant>,
    started_at: Instant,
    has_moved: bool,
    quarantines: Arc<Notify>,
    is_folder_lost: bool,
}

/// What looks at the disk.
struct Eyes {
    watch: Watch,
    scanner: Scanner,
}

struct Retry {
    at: Instant,
    delay: Duration,
}

/// The load that is running.
struct Job {
    name: String,
    version: Version,
    generation: Generation,
    seen: Instant,
    superseded: Arc<AtomicBool>,
    task: JoinHandle<Report>,
}

impl Keeper {
    /// A keeper that has seen nothing yet. Before anything is live, whatever is required is missing.
    pub fn new(config: CatalogConfig, shared: Shared) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let roster = Roster::new(Arc::clone(&shared.telemetry), config.required.iter().cloned());
        let now = Instant::now();
        let eyes = Some(Eyes::new(&config, &mailbox));
        let quarantines = shared.loader.quarantines();
        let keeper = Self {
            config,
            shared,
            mailbox,
            eyes,
            folder: Folder::default(),
            roster,
            queue: BTreeMap::new(),
            retries: BTreeMap::new(),
            job: None,
            retirements: JoinSet::new(),
            scan_at: now,
            scanned_at: None,
            started_at: now,
            has_moved: false,
            quarantines,
            is_folder_lost: false,
        };
        keeper.shared.live.swap(keeper.roster.hook_set());
        keeper
    }

    /// Keeps the catalog until `shutdown` is true or its sender is gone. What is live stays live after that: traffic
    /// that is drained still has to be redacted. Retirements that are under way are awaited.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Roster {
        loop {
            // A mistake in here must not leave plugins unwatched while all else goes on.
            match AssertUnwindSafe(self.step(&mut shutdown)).catch_unwind().await {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                Err(_) => {
                    tracing::error!("the catalog stumbled over a mistake of its own and goes on");
                    tokio::time::sleep(AFTER_PANIC).await;
                }
            }
        }
        if let Some(job) = self.job.take() {
            job.task.abort();
        }
        while self.retirements.join_next().await.is_some() {}
        self.roster
    }

    async fn step(&mut self, shutdown: &mut watch::Receiver<bool>) -> ControlFlow<()> {
        let wake = self.next_wake();
        tokio::select! {
            () = stopped(shutdown) => return ControlFlow::Break(()),
            () = self.mailbox.changed() => self.take_notes(),
            () = self.shared.reload.notified() => self.reload(),
            () = self.quarantines.notified() => {
                self.roster.forgive_recovered();
                self.show();
            }
            report = finished(&mut self.job) => self.finish(report),
            Some(_) = self.retirements.join_next() => {}
            () = sleep_until(wake) => self.work_due().await,
        }
        self.start_next_job();
        self.settle_first_scan();
        ControlFlow::Continue(())
    }

    fn next_wake(&self) -> Instant {
        let retry = self.retries.values().map(|retry| retry.at).min();
        let patience =
            (!*self.shared.settled.borrow()).then_some(self.started_at + FIRST_SCAN_PATIENCE).filter(|end| *end > Instant::now());
        [retry, patience].into_iter().flatten().fold(self.next_scan(), Instant::min)
    }

    /// Never sooner than the debounce after the last scan: a folder in constant change must not keep a core busy.
    fn next_scan(&self) -> Instant {
        let wanted = self.folder.next_scan().map_or(self.scan_at, |time| time.min(self.scan_at));
        self.scanned_at.map_or(wanted, |last| wanted.max(last + DEBOUNCE))
    }

    fn take_notes(&mut self) {
        let noted = self.mailbox.take();
        let now = Instant::now();
        if noted.has_lost {
            self.folder.forget_events();
        }
        for (key, event) in &noted.files {
            self.folder.note(key, *event, now);
        }
        self.has_moved |= noted.has_moved;
        if noted.is_dirty {
            self.scan_at = self.scan_at.min(now + DEBOUNCE);
        }
    }

    fn reload(&mut self) {
        let now = Instant::now();
        self.scan_at = now;
        for name in self.roster.troubled() {
            self.retries.remove(&name);
            self.queue.entry(name).or_insert(now);
        }
    }

    async fn work_due(&mut self) {
        if Instant::now() >= self.next_scan() {
            self.scan().await;
        }
        self.try_again(Instant::now());
    }

    /// Queues what is due to be tried again. Whether a file can be read now is for a scan to find out, which then
    /// reports a change.
    fn try_again(&mut self, now: Instant) {
        for (name, retry) in self.retries.iter_mut().filter(|(_, retry)| retry.at <= now) {
            if self.roster.refusal(name) == Some(Reason::Unreadable) {
                self.scan_at = now;
                retry.delay = (retry.delay * 2).min(LAST_RETRY);
                retry.at = now + retry.delay;
            } else {
                // The load that follows decides whether and when there is another; until then this one is not due.
                retry.at = now + 2 * LAST_RETRY;
                self.queue.entry(name.clone()).or_insert(now);
            }
        }
    }

    async fn scan(&mut self) {
        let started = Instant::now();
        self.scanned_at = Some(started);
        let mut eyes = self.eyes.take().unwrap_or_else(|| Eyes::new(&self.config, &self.mailbox));
        let being_written = self.folder.being_written(started);
        let has_moved = std::mem::take(&mut self.has_moved);
        let look = move || {
            eyes.watch.refresh(has_moved);
            let scan = eyes.scanner.scan(&being_written);
            (eyes, scan)
        };
        let scan = match tokio::task::spawn_blocking(look).await {
            Ok((eyes, scan)) => {
                self.eyes = Some(eyes);
                scan
            }
            Err(error) => Scan::Unreadable(error.to_string()),
        };
        let needs_polling = self.eyes.as_ref().is_none_or(|eyes| eyes.watch.needs_polling());
        self.scan_at = started + if needs_polling { POLL_INTERVAL } else { self.config.scan_interval };
        self.mind_folder(&scan);
        // What happened during the scan must be known before the scan is judged.
        self.take_notes();
        if let Scan::Listed { odd_names, .. } = &scan
            && self.roster.set_odd_names(odd_names)
        {
            self.publish();
        }
        for change in self.folder.observe(started, &scan) {
            self.apply(change, started);
        }
        for name in self.folder.take_rewritten() {
            if self.roster.is_quarantined(&name) {
                self.queue.entry(name).or_insert(started);
            }
        }
        self.forgive_vanished();
    }

    /// Says when the folder goes and when it is back; nothing is unloaded meanwhile.
    fn mind_folder(&mut self, scan: &Scan) {
        let folder = self.config.folder.display();
        match (scan, self.is_folder_lost) {
            (Scan::Unreadable(error), false) => tracing::warn!(%folder, error, "the plugin folder cannot be read; what is live stays"),
            (Scan::Listed { .. }, true) => tracing::info!(%folder, "the plugin folder is back"),
            _ => {}
        }
        self.is_folder_lost = matches!(scan, Scan::Unreadable(_));
    }

    /// The first scan has settled when nothing waits to be loaded, and nothing is being written or patience is over.
    fn settle_first_scan(&mut self) {
        let is_idle = self.scanned_at.is_some() && self.queue.is_empty() && self.job.is_none();
        if *self.shared.settled.borrow() || !is_idle {
            return;
        }
        let mut waiting: BTreeSet<String> = self.folder.unsettled().into_iter().map(str::to_owned).collect();
        waiting.extend(self.retries.keys().filter(|name| self.roster.refusal(name).is_none()).cloned());
        if !waiting.is_empty() && Instant::now() < self.started_at + FIRST_SCAN_PATIENCE {
            return;
        }
        for name in waiting {
            self.refuse(&name, Refusal::new(Reason::StillChanging, STILL_CHANGING), None, FIRST_SCAN_PATIENCE);
        }
        self.publish();
        self.shared.settled.send_replace(true);
    }

    fn publish(&mut self) {
        self.shared.board.publish(self.roster.statuses());
        self.shared.published.send_modify(|count| *count += 1);
    }
}

impl Eyes {
    fn new(config: &CatalogConfig, mailbox: &Arc<Mailbox>) -> Self {
        let watch = Watch::new(config.folder.clone(), config.watch, Arc::clone(mailbox));
        Self { watch, scanner: Scanner::new(config.folder.clone()) }
    }
}

/// Returns when it is time to stop.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that whoever could say stop is gone.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// The report of the job, once there is a job and it has ended. Cancelling it loses nothing.
async fn finished(job: &mut Option<Job>) -> Result<Report, JoinError> {
    match job {
        Some(job) => (&mut job.task).await,
        None => std::future::pending().await,
    }
}
