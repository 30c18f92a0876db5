//! The producers' end of an export: a bounded queue that takes what fits and counts what does not.

mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;
use tokio::sync::{Notify, watch};

use super::backoff::Patience;
use super::error::PushConfigError;
use crate::families::Families;
use crate::words::{CounterByWord, PushLoss};
pub(crate) use worker::Destination;
use worker::Worker;

/// How much is gathered, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxSettings {
    /// Records that may wait.
    pub queue: usize,
    /// What they may hold on to, bytes.
    pub queue_bytes: usize,
    /// Records in one delivery at most.
    pub batch: usize,
    /// What they may hold on to, bytes; a single record may be larger.
    pub batch_bytes: usize,
    /// How long a record waits at most for others.
    pub interval: Duration,
    /// What is done about failures.
    pub patience: Patience,
}

/// What one signal's export counts.
pub(crate) struct ExportCounts {
    exported: IntCounter,
    losses: CounterByWord<PushLoss>,
}

impl ExportCounts {
    /// The series of a signal, all of them shown from now on.
    pub fn new(signal: &'static str, families: &Families) -> Self {
        Self {
            exported: families.telemetry_exported.with(&[signal]),
            losses: CounterByWord::new(|reason| families.telemetry_dropped.with(&[signal, reason])),
        }
    }
}

/// The producers' end. Dropping it lets the worker make one attempt to deliver what is left.
pub(crate) struct Outbox<T> {
    shared: Arc<Shared<T>>,
    orders: watch::Sender<Orders>,
}

/// What both ends share.
pub(super) struct Shared<T> {
    queue: ArrayQueue<(T, usize)>,
    queued_bytes: AtomicUsize,
    settings: OutboxSettings,
    counts: ExportCounts,
    /// Tells the worker that a batch is full.
    full: Notify,
    /// Nobody empties the queue any more but who fills it.
    ended: AtomicBool,
    /// The number of the last flush that is done, and whether everything got through.
    flushed: Mutex<(u64, bool)>,
    flush_done: Condvar,
}

/// What the worker is told to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders {
    /// How many flushes were asked for.
    pub flush: u64,
    /// Until when the last of them may take.
    pub until: Instant,
    /// Whether it is to end after it.
    pub end: bool,
}

/// An interval of nothing would keep a processor busy with looking at an empty queue.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
/// See [`Outbox::order`].
const MARGIN: Duration = Duration::from_millis(20);
/// How long the last attempt may take where nobody waits for it.
const LAST_ATTEMPT: Duration = Duration::from_secs(1);

impl<T: Send + 'static> Outbox<T> {
    /// Starts the worker on a thread of its own with a runtime of its own: whatever the caller's runtime does, deliveries go on.
    pub fn start(
        signal: &'static str,
        mut settings: OutboxSettings,
        counts: ExportCounts,
        destination: impl Destination<T> + Send + 'static,
    ) -> Result<Self, PushConfigError> {
        settings.interval = settings.interval.max(SHORTEST_INTERVAL);
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(settings.queue.max(1)),
            queued_bytes: AtomicUsize::new(0),
            settings,
            counts,
            full: Notify::new(),
            ended: AtomicBool::new(false),
            flushed: Mutex::new((0, true)),
            flush_done: Condvar::new(),
        });
        let (orders, receiver) = watch::channel(Orders { flush: 0, until: Instant::now(), end: false });
        let worker = Worker::new(signal, shared.clone(), receiver, destination);
        let (started, starting) = mpsc::sync_channel(1);
        // The runtime is made and dropped on the thread: dropping one within another is not allowed.
        let run = move || match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Err(error) => drop(started.send(Err(error))),
            Ok(runtime) => {
                drop(started.send(Ok(())));
                runtime.block_on(worker.run());
                // A name that is still being looked up is not waited for.
                runtime.shutdown_background();
            }
        };
        thread::Builder::new().name(format!("export-{signal}")).spawn(run).map_err(PushConfigError::Thread)?;
        starting.recv().expect("the thread says how it started").map_err(PushConfigError::Thread)?;
        Ok(Self { shared, orders })
    }

    /// Queues a record that holds on to so many bytes, or counts it as lost. Never waits.
    pub fn offer(&self, record: T, bytes: usize) {
        let Shared { queue, queued_bytes, settings, counts, full, .. } = &*self.shared;
        // The bytes are taken before the record is seen by the worker, which gives them back.
        let before = queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > settings.queue_bytes || queue.push((record, bytes)).is_err() {
            queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            counts.losses.count(PushLoss::QueueFull);
        }
        if self.shared.ended.load(Ordering::SeqCst) {
            self.shared.lose_queue();
        } else if self.shared.has_batch() {
            full.notify_one();
        }
    }

    /// Delivers what was queued before the call: one attempt for each batch, until `until` at the longest. Blocks; tells whether
    /// everything got through.
    pub fn flush(&self, until: Instant) -> bool {
        self.order(until, false)
    }

    /// As [`Self::flush`]; then the worker ends, and what did not get through is lost and counted, as is what is offered
    /// afterwards.
    pub fn shutdown(&self, until: Instant) -> bool {
        self.order(until, true)
    }

    fn order(&self, until: Instant, end: bool) -> bool {
        // The worker gives up a little earlier than its caller, who so learns what came of it.
        let margin = (until.saturating_duration_since(Instant::now()) / 10).min(MARGIN);
        let ours = order(&self.orders, until - margin, end);
        let mut flushed = self.shared.flushed.lock();
        while flushed.0 < ours {
            if self.shared.flush_done.wait_until(&mut flushed, until).timed_out() {
                break;
            }
        }
        flushed.0 >= ours && flushed.1
    }
}

impl<T> Drop for Outbox<T> {
    fn drop(&mut self) {
        order(&self.orders, Instant::now() + LAST_ATTEMPT, true);
    }
}

/// Asks for a flush, and says which one it is.
fn order(orders: &watch::Sender<Orders>, until: Instant, end: bool) -> u64 {
    let mut number = 0;
    orders.send_modify(|orders| {
        orders.flush += 1;
        number = orders.flush;
        orders.until = orders.until.max(until);
        orders.end |= end;
    });
    number
}

impl<T> Shared<T> {
    /// Takes the next batch out of the queue.
    pub fn next_batch(&self) -> Vec<T> {
        let (mut batch, mut held) = (Vec::new(), 0);
        while batch.len() < self.settings.batch.max(1) && held < self.settings.batch_bytes {
            let Some((record, bytes)) = self.queue.pop() else { break };
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            held += bytes;
            batch.push(record);
        }
        batch
    }

    /// Whether a whole batch waits.
    pub fn has_batch(&self) -> bool {
        self.queue.len() >= self.settings.batch || self.queued_bytes.load(Ordering::Relaxed) >= self.settings.batch_bytes
    }

    pub fn settings(&self) -> &OutboxSettings {
        &self.settings
    }

    pub async fn full(&self) {
        self.full.notified().await;
    }

    pub fn lose(&self, loss: PushLoss, count: u64) {
        self.counts.losses.count_many(loss, count);
    }

    pub fn exported(&self, count: u64) {
        self.counts.exported.inc_by(count);
    }

    pub fn lost(&self, loss: PushLoss) -> u64 {
        self.counts.losses.get(loss)
    }

    /// Loses what is queued, and from now on what is offered.
    pub fn end(&self) {
        // Who offers looks at this after it has queued its record: either it sees it, or the record is seen here.
        self.ended.store(true, Ordering::SeqCst);
        self.lose_queue();
    }

    fn lose_queue(&self) {
        while let Some((_, bytes)) = self.queue.pop() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.losses.count(PushLoss::Shutdown);
        }
    }

    /// Tells those who wait that flushes up to this number are done.
    pub fn report_flush(&self, number: u64, delivered: bool) {
        *self.flushed.lock() = (number, delivered);
        self.flush_done.notify_all();
    }
}

#[cfg(test)]
mod tests;
