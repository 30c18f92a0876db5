//! Feeds one metric derivation with finished operations: one after the other, off the request path, bounded.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use watchgate_telemetry::{PluginHandles, task};

use crate::failure::HookFailure;
use crate::live::LiveHooks;
use crate::operation_text::{self, Texts};
use crate::policy::{MetricDerivation, Operation};
use crate::status::PluginKind;

/// How many operations wait at most.
pub const MAX_OPERATIONS: usize = 4096;

/// How many bytes of operations wait at most.
pub const MAX_QUEUED_BYTES: usize = 32 * 1024 * 1024;

/// Why an operation does not reach its derivation: the `reason` label.
mod dropped {
    pub(super) const COUNT: &str = "queue_count";
    pub(super) const BYTES: &str = "queue_bytes";
    pub(super) const CLOSED: &str = "closed";
    pub(super) const DENIED: &str = "denied";
    /// Of its texts only: a policy failed.
    pub(super) const NOT_CLEARED: &str = "not_cleared";
}

/// The queue of one derivation, and the task that empties it.
///
/// The task ends when the queue is closed or dropped and empty; whoever takes the queue out of the live set calls [`Self::close`].
pub struct DerivationQueue {
    name: Arc<str>,
    keeps_text: bool,
    sender: mpsc::Sender<Queued>,
    backlog: Arc<Backlog>,
    closing: Arc<Notify>,
    worker: Mutex<Option<JoinHandle<()>>>,
    handles: Arc<PluginHandles>,
}

struct Queued {
    operation: Operation,
    bytes: usize,
}

/// What waits.
#[derive(Default)]
struct Backlog {
    operations: AtomicUsize,
    bytes: AtomicUsize,
}

impl Backlog {
    /// Counts one more in, unless it does not fit.
    fn enter(&self, bytes: usize) -> bool {
        let fits = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= MAX_QUEUED_BYTES);
        let entered = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if entered {
            self.operations.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    fn leave(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.operations.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DerivationQueue {
    /// Starts the task on the current tokio runtime. Texts are cleared by the chain that is live in `live` at that moment; the queue does
    /// not keep `live` alive, which holds the queue in turn.
    pub fn spawn(derivation: Arc<dyn MetricDerivation>, live: &Arc<LiveHooks>, handles: Arc<PluginHandles>) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(MAX_OPERATIONS);
        let (backlog, closing) = (Arc::new(Backlog::default()), Arc::new(Notify::new()));
        let (name, keeps_text) = (Arc::<str>::from(derivation.name()), derivation.keeps_text());
        let worker = Worker {
            derivation,
            live: Arc::downgrade(live),
            handles: handles.clone(),
            receiver,
            backlog: backlog.clone(),
            closing: closing.clone(),
        };
        let worker = Mutex::new(Some(tokio::spawn(task::named("derivation", &name, worker.run()))));
        Arc::new(Self { name, keeps_text, sender, backlog, closing, worker, handles })
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the derivation wants texts, so that they must be captured.
    pub fn keeps_text(&self) -> bool {
        self.keeps_text
    }

    /// How many operations wait.
    pub fn backlog(&self) -> usize {
        self.backlog.operations.load(Ordering::Relaxed)
    }

    /// Puts an operation, with its texts as they were sent, at the end of the queue. Never blocks; what does not fit is dropped and
    /// counted. The texts are counted by their length, so the caller gives buffers that are not much larger.
    pub fn offer(&self, mut operation: Operation) {
        if !self.keeps_text {
            operation.request_text = None;
            operation.response_text = None;
        }
        let bytes = operation_text::size(&operation);
        if !self.backlog.enter(bytes) {
            return self.handles.operations_dropped(dropped::BYTES);
        }
        let reason = match self.sender.try_send(Queued { operation, bytes }) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => dropped::COUNT,
            Err(TrySendError::Closed(_)) => dropped::CLOSED,
        };
        self.backlog.leave(bytes);
        self.handles.operations_dropped(reason);
    }

    /// Takes no more operations and waits until the derivation has seen those that wait, at most `deadline`; the rest is dropped and
    /// counted. Called again it returns at once.
    pub async fn close(&self, deadline: Duration) {
        self.closing.notify_one();
        let Some(mut worker) = self.worker.lock().take() else { return };
        if tokio::time::timeout(deadline, &mut worker).await.is_err() {
            worker.abort();
        }
    }
}

/// The task's side of the queue.
struct Worker {
    derivation: Arc<dyn MetricDerivation>,
    live: Weak<LiveHooks>,
    handles: Arc<PluginHandles>,
    receiver: mpsc::Receiver<Queued>,
    backlog: Arc<Backlog>,
    closing: Arc<Notify>,
}

impl Worker {
    async fn run(mut self) {
        let mut collect = self.derivation.collect_interval().map(|every| {
            // A zero interval would panic.
            let every = every.max(Duration::from_millis(1));
            let mut timer = tokio::time::interval_at(Instant::now() + every, every);
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer
        });
        let closing = self.closing.clone();
        loop {
            tokio::select! {
                // In no order: neither a full queue nor a slow collection keeps the other waiting for ever.
                () = tick(collect.as_mut()) => self.collect().await,
                () = closing.notified() => self.receiver.close(),
                queued = self.receiver.recv() => match queued {
                    Some(queued) => self.observe(queued).await,
                    None => return,
                },
            }
        }
    }

    async fn collect(&self) {
        let started = Instant::now();
        let result = self.derivation.collect().await;
        self.count(started, result);
    }

    async fn observe(&self, queued: Queued) {
        self.backlog.leave(queued.bytes);
        let mut operation = queued.operation;
        let texts = match self.live.upgrade() {
            Some(live) => {
                let set = live.load_full();
                operation_text::clear(&set.redaction, &mut operation).await
            }
            None => operation_text::drop_all(&mut operation),
        };
        match texts {
            Texts::Cleared => {}
            Texts::Lost => self.handles.texts_dropped(dropped::NOT_CLEARED),
            Texts::Denied => return self.handles.operations_dropped(dropped::DENIED),
        }
        let started = Instant::now();
        let result = self.derivation.observe(operation).await;
        self.count(started, result);
    }

    fn count(&self, started: Instant, result: Result<(), HookFailure>) {
        let kind = PluginKind::Derivation.as_str();
        self.handles.called(kind, started.elapsed());
        if let Err(failure) = result {
            self.handles.failed(kind, failure.reason.as_str());
            tracing::debug!(plugin = self.derivation.name(), %failure, "a metric derivation failed");
        }
    }
}

impl Drop for Worker {
    /// Also runs when the task is aborted: what is left was not seen by the derivation.
    fn drop(&mut self) {
        self.receiver.close();
        while let Ok(queued) = self.receiver.try_recv() {
            self.backlog.leave(queued.bytes);
            self.handles.operations_dropped(dropped::CLOSED);
        }
    }
}

async fn tick(timer: Option<&mut tokio::time::Interval>) {
    match timer {
        Some(timer) => drop(timer.tick().await),
        None => std::future::pending().await,
    }
}
