//! The access log: one JSON object a line for each exchange, written by a thread of its own so that traffic never waits for a disk.

mod line;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use parking_lot::{Condvar, Mutex};
use prometheus::IntCounter;

use crate::telemetry::TelemetryError;
pub(crate) use line::AccessRecord;
use writer::LineWriter;

/// Lines waiting to be written. At 20 000 exchanges a second it covers a disk that stalls for 400 ms.
const QUEUE: usize = 8192;
/// While lines flow the thread looks for more this often, so that producers need not wake it.
const POLL: Duration = Duration::from_millis(10);
/// After so many looks in vain it parks, and the next producer wakes it.
const POLLS_BEFORE_PARKING: u32 = 10;

/// Where access lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// Appended to this file, which is made when absent.
    File(PathBuf),
    /// Nowhere.
    #[default]
    Off,
}

/// The producers' end. Dropping it lets the thread write what is queued and end.
pub(crate) struct AccessLog {
    shared: Arc<Shared>,
    writer: Thread,
}

/// How the log counts what it loses.
pub(crate) struct Losses {
    pub queue_full: IntCounter,
    pub write_failed: IntCounter,
}

struct Shared {
    queue: ArrayQueue<AccessRecord>,
    losses: Losses,
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

impl AccessLog {
    /// Opens the target and starts the thread; `None` for [`AccessLogTarget::Off`].
    pub fn start(target: AccessLogTarget, losses: Losses) -> Result<Option<Self>, TelemetryError> {
        let Some(output) = writer::open(target)? else { return Ok(None) };
        Self::start_with(Box::new(output), QUEUE, losses).map(Some)
    }

    fn start_with(output: Box<dyn io::Write + Send>, capacity: usize, losses: Losses) -> Result<Self, TelemetryError> {
        let shared = Arc::new(Shared {
            queue: ArrayQueue::new(capacity),
            losses,
            parked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            flushes: Mutex::default(),
            flushed: Condvar::new(),
        });
        let of_thread = shared.clone();
        let thread = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || of_thread.run(LineWriter::new(output)))
            .map_err(TelemetryError::AccessLogThread)?;
        Ok(Self { shared, writer: thread.thread().clone() })
    }

    /// Queues a line, or counts it as lost. Never waits.
    pub fn write(&self, record: AccessRecord) {
        if self.shared.queue.push(record).is_err() {
            self.shared.losses.queue_full.inc();
        }
        self.wake();
    }

    /// Waits until every line queued before the call is written, at most for `deadline`; tells whether it is.
    pub fn flush(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut flushes = self.shared.flushes.lock();
        flushes.asked += 1;
        let ours = flushes.asked;
        self.shared.parked.store(false, Ordering::Relaxed);
        self.writer.unpark();
        while flushes.done < ours {
            if self.shared.flushed.wait_until(&mut flushes, until).timed_out() {
                return flushes.done >= ours;
            }
        }
        true
    }

    fn wake(&self) {
        // Pairs with the fence of the writer: either it sees the line before it parks, or this sees that it has parked.
        fence(Ordering::SeqCst);
        if self.shared.parked.load(Ordering::Relaxed) && self.shared.parked.swap(false, Ordering::AcqRel) {
            self.writer.unpark();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

impl Shared {
    fn run(&self, mut output: LineWriter) {
        let mut idle = 0;
        loop {
            let ended = self.ended.load(Ordering::Acquire);
            let asked = self.flushes.lock().asked;
            let wrote = self.drain(&mut output);
            self.report_flush(asked);
            if ended {
                return;
            }
            idle = if wrote { 0 } else { idle + 1 };
            if idle < POLLS_BEFORE_PARKING {
                thread::park_timeout(POLL);
            } else {
                self.park();
            }
        }
    }

    /// Writes what is queued now; `false` when there was nothing.
    fn drain(&self, output: &mut LineWriter) -> bool {
        let mut any = false;
        while let Some(record) = self.queue.pop() {
            any = true;
            self.losses.write_failed.inc_by(output.add(&record));
        }
        self.losses.write_failed.inc_by(output.finish());
        any
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
            // An unpark that came meanwhile makes this return at once.
            thread::park();
        }
        self.parked.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::thread;
    use std::time::{Duration, Instant, SystemTime};

    use prometheus::IntCounter;

    use super::{AccessLog, AccessRecord, Losses};
    use crate::facts::{AccessLine, HttpMethod};
    use crate::server::KnownNames;

    pub(super) fn record() -> AccessRecord {
        AccessRecord {
            names: Arc::new(KnownNames::new("s")),
            started: SystemTime::UNIX_EPOCH,
            http_method: HttpMethod::Post,
            status: 200,
            outcome: "ok",
            duration: Duration::ZERO,
            upstream: Duration::ZERO,
            plugins: Duration::ZERO,
            request_bytes: 0,
            response_bytes: 0,
            line: AccessLine::default(),
        }
    }

    #[test]
    fn a_line_wakes_the_parked_writer() {
        let (reading, writing) = std::io::pipe().unwrap();
        let counter = || IntCounter::new("x_total", "X.").unwrap();
        let losses = Losses { queue_full: counter(), write_failed: counter() };
        let log = AccessLog::start_with(Box::new(writing), 4, losses).unwrap();
        let mut lines = BufReader::new(reading).lines();
        for _ in 0..3 {
            let until = Instant::now() + Duration::from_secs(10);
            while !log.shared.parked.load(Ordering::Acquire) {
                assert!(Instant::now() < until, "the writer parks when no lines come");
                thread::yield_now();
            }
            log.write(record());
            assert!(lines.next().unwrap().unwrap().starts_with('{'));
        }
        assert_eq!((log.shared.losses.queue_full.get(), log.shared.losses.write_failed.get()), (0, 0));
    }
}
