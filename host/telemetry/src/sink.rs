//! A log on its way out: a bounded queue and a thread that writes, so that nobody who has something to say waits for a disk.

mod batch;
mod target;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_queue::ArrayQueue;
use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use crate::access_log::{AccessField, AccessRecord};
use crate::buckets::HistogramBuckets;
use crate::families::{Families, MetricName};
use crate::family::Family;
use crate::log::{Levels, LogFormat, LogRecord};
use crate::recent_logs::RecentLogs;
use batch::{LineWriter, Written};
pub(crate) use target::Output;
pub use target::Rotation;

/// Lines waiting to be written. At 20 000 exchanges a second it covers a disk that stalls for 400 ms.
const QUEUE: usize = 8192;
/// While lines flow the thread looks for more this often, so that producers need not wake it.
const POLL: Duration = Duration::from_millis(10);
/// After so many looks in vain it parks, and the next producer wakes it.
const POLLS_BEFORE_PARKING: u32 = 10;

/// Which log a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Logs,
    AccessLog,
}

impl Signal {
    pub const ALL: [Self; 2] = [Self::Logs, Self::AccessLog];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::AccessLog => "access_log",
        }
    }
}

/// A line to be, owned and unformatted: formatting is the thread's work.
#[expect(clippy::large_enum_variant, reason = "nearly all are access lines, and a box would be an allocation for each")]
pub(crate) enum Record {
    Own(Arc<LogRecord>),
    Access(AccessRecord),
}

/// Counts of what is lost of one signal. They can be made before there is a metric store, and be shown in it later.
#[derive(Clone)]
pub(crate) struct Losses {
    signal: Signal,
    queue_full: IntCounter,
    write_failed: IntCounter,
}

/// How lines look, where they stay, and what else happens on the thread.
pub(crate) struct SinkConfig {
    pub output: Output,
    pub format: LogFormat,
    /// Colours for people, where the output is a terminal.
    pub colours: bool,
    pub recent: Arc<RecentLogs>,
    pub levels: Option<Arc<Levels>>,
}

/// The producers' end. Dropping it lets the thread write what is queued and end.
pub(crate) struct Sink {
    shared: Arc<Shared>,
    writer: Thread,
}

/// Gets to see every record once it is written, on the thread of the sink: it must not block.
pub(crate) type Tap = dyn Fn(&Record, &[AccessField]) + Send + Sync;

struct Shared {
    queue: ArrayQueue<Record>,
    config: SinkConfig,
    losses: [Losses; Signal::ALL.len()],
    access_fields: ArcSwap<Vec<AccessField>>,
    tap: ArcSwapOption<Box<Tap>>,
    /// Set by the writer before it parks; who clears it must unpark it.
    parked: AtomicBool,
    ended: AtomicBool,
    flushes: Mutex<Flushes>,
    flushed: Condvar,
}

/// Flushes asked for and done, counted.
#[derive(Default)]
struct Flushes {
    asked: u64,
    done: u64,
}

impl Losses {
    fn new(signal: Signal) -> Self {
        let family = Family::<IntCounter>::core(MetricName::TelemetryDropped.definition(), &HistogramBuckets::default());
        let counter = |reason| family.with(&[signal.as_str(), reason]);
        Self { signal, queue_full: counter("queue_full"), write_failed: counter("write_failed") }
    }

    /// Shows the counts, with all they have counted so far.
    pub fn show_in(&self, families: &Families) {
        let signal = self.signal.as_str();
        families.telemetry_dropped.adopt(&[signal, "queue_full"], self.queue_full.clone());
        families.telemetry_dropped.adopt(&[signal, "write_failed"], self.write_failed.clone());
    }
}

impl Record {
    fn signal(&self) -> Signal {
        match self {
            Self::Own(_) => Signal::Logs,
            Self::Access(_) => Signal::AccessLog,
        }
    }
}

impl Sink {
    /// Opens the output and starts the thread.
    pub fn start(config: SinkConfig) -> io::Result<Self> {
        let target = config.output.open()?;
        Self::start_with(LineWriter::new(target), QUEUE, config)
    }

    fn start_with(lines: LineWriter, capacity: usize, config: SinkConfig) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(capacity),
            config,
            losses: Signal::ALL.map(Losses::new),
            access_fields: ArcSwap::from_pointee(AccessField::ALL.to_vec()),
            tap: ArcSwapOption::empty(),
            parked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            flushes: Mutex::default(),
            flushed: Condvar::new(),
        });
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("log-writer".into()).spawn(move || of_thread.run(lines))?;
        Ok(Self { shared, writer: thread.thread().clone() })
    }

    /// Queues a line, or counts it as lost. Never waits.
    pub fn offer(&self, record: Record) {
        let signal = record.signal();
        if self.shared.queue.push(record).is_err() {
            self.losses(signal).queue_full.inc();
        }
        // Pairs with the fence of the writer: either it sees the line before it parks, or this sees that it has parked.
        fence(Ordering::SeqCst);
        if self.shared.parked.load(Ordering::Relaxed) && self.shared.parked.swap(false, Ordering::AcqRel) {
            self.writer.unpark();
        }
    }

    pub fn losses(&self, signal: Signal) -> &Losses {
        &self.shared.losses[signal as usize]
    }

    pub fn config(&self) -> &SinkConfig {
        &self.shared.config
    }

    /// Which members access lines have from now on, in this order.
    pub fn set_access_fields(&self, fields: Vec<AccessField>) {
        self.shared.access_fields.store(Arc::new(fields));
    }

    /// What gets to see every record from now on.
    pub fn set_tap(&self, tap: Option<Box<Tap>>) {
        self.shared.tap.store(tap.map(Arc::new));
    }

    /// Lets the thread look at [`SinkConfig::levels`] again.
    pub fn wake(&self) {
        self.shared.parked.store(false, Ordering::Relaxed);
        self.writer.unpark();
    }

    /// Waits until every line queued before the call is written, at most for `deadline`; tells whether it is.
    pub fn flush(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut flushes = self.shared.flushes.lock();
        flushes.asked += 1;
        let ours = flushes.asked;
        self.wake();
        while flushes.done < ours {
            if self.shared.flushed.wait_until(&mut flushes, until).timed_out() {
                return flushes.done >= ours;
            }
        }
        true
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

impl Shared {
    fn run(&self, mut lines: LineWriter) {
        let mut idle = 0;
        let mut trouble = Trouble::default();
        loop {
            let ended = self.ended.load(Ordering::Acquire);
            let asked = self.flushes.lock().asked;
            let wrote = self.drain(&mut lines, &mut trouble);
            self.report_flush(asked);
            if ended {
                return;
            }
            if let Some(levels) = &self.config.levels {
                levels.return_if_due(Instant::now());
            }
            idle = if wrote { 0 } else { idle + 1 };
            if !self.queue.is_empty() {
                continue;
            }
            if idle < POLLS_BEFORE_PARKING {
                thread::park_timeout(POLL);
            } else {
                self.park();
            }
        }
    }

    /// Writes what is queued now, and not what comes meanwhile: where that never ends, others have to be told something too. `false` when there was
    /// nothing.
    fn drain(&self, lines: &mut LineWriter, trouble: &mut Trouble) -> bool {
        let mut any = false;
        let (fields, tap) = (self.access_fields.load_full(), self.tap.load_full());
        for record in std::iter::from_fn(|| self.queue.pop()).take(self.queue.len()) {
            any = true;
            let is_full = lines.add(record.signal(), |batch| match &record {
                Record::Own(record) => record.append_to(batch, self.config.format, self.config.colours),
                Record::Access(record) => record.append_to(batch, &fields),
            });
            if let Some(tap) = &tap {
                tap(&record, &fields);
            }
            self.config.recent.push(record);
            if is_full {
                self.finish(lines, trouble);
            }
        }
        self.finish(lines, trouble);
        if any {
            self.config.recent.tell();
        }
        any
    }

    fn finish(&self, lines: &mut LineWriter, trouble: &mut Trouble) {
        let Some(written) = lines.finish() else { return };
        for losses in &self.losses {
            losses.write_failed.inc_by(written.lost[losses.signal as usize]);
        }
        trouble.note(&self.config, &written);
    }

    fn report_flush(&self, asked: u64) {
        let mut flushes = self.flushes.lock();
        if flushes.done < asked {
            flushes.done = asked;
            self.flushed.notify_all();
        }
    }

    fn park(&self) {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() && !self.ended.load(Ordering::Acquire) {
            // An unpark that came meanwhile makes these return at once.
            match self.config.levels.as_ref().and_then(|levels| levels.due()) {
                Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
                None => thread::park(),
            }
        }
        self.parked.store(false, Ordering::Relaxed);
    }
}

/// What is wrong with the output now: said when it begins and when it is over, not for each line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trouble {
    #[default]
    None,
    /// It is written, but cannot be put aside.
    Misplaced,
    /// It is not written, and so many lines are lost since.
    Failing(u64),
}

impl Trouble {
    fn note(&mut self, config: &SinkConfig, written: &Written) {
        let before = std::mem::replace(self, self.after(written));
        match (before, *self, written.failed.as_ref().or(written.unprepared.as_ref())) {
            (Self::Failing(lost), Self::None | Self::Misplaced, _) => {
                tracing::info!(log = config.output.name(), lost, "the log is written again");
            }
            (Self::None | Self::Misplaced, Self::Failing(_), Some(error)) => {
                say(config, error, "the log cannot be written; lines are lost and counted until it can");
            }
            (Self::None, Self::Misplaced, Some(error)) => say(config, error, "the log cannot be rotated for now"),
            (Self::Misplaced, Self::None, _) => tracing::info!(log = config.output.name(), "the log is rotated again"),
            _ => {}
        }
    }

    fn after(self, written: &Written) -> Self {
        let lost: u64 = written.lost.iter().sum();
        match (&written.failed, &written.unprepared, self) {
            (Some(_), _, Self::Failing(before)) => Self::Failing(before.saturating_add(lost)),
            (Some(_), ..) => Self::Failing(lost),
            (None, Some(_), _) => Self::Misplaced,
            (None, None, _) => Self::None,
        }
    }
}

fn say(config: &SinkConfig, error: &io::Error, what: &str) {
    let log = config.output.name();
    tracing::error!(log, %error, "{what}");
    if config.levels.is_some() && config.output != Output::Stderr {
        // The line above goes to the log that it is about.
        let _ = writeln!(io::stderr(), "watchgate: {log}: {what}: {error}");
    }
}

#[cfg(test)]
mod tests;
