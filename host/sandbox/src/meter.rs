//! CPU time of one call, and where a call that takes long may go on running.
//!
//! The epoch callback fires at the first tick after a call began. From then on the call is *slow*: after each tick it leaves its worker
//! (so that everything else there runs first) and goes on only with a permit of the slow lane, of which there is one fewer than
//! workers. However many plugins loop, one worker stays free of them but for the first tick of each call.
//!
//! A tick also hits calls that are nearly done. So that they do not queue behind everything that loops, calls that were ticked
//! before wait for their turn to queue, and at most one of them stands in the queue.
//!
//! Time is read from the thread's CPU clock when a slow call goes on and when it stops: neither waiting for the host nor being
//! pushed aside by other processes is charged. A call that ends before its first tick reads no clock at all.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::UpdateDeadline;

use crate::ticker::TICK;

/// `slice_from` while nothing is measured.
const UNMEASURED: u64 = u64::MAX;

/// Where slow calls run: one for the process.
pub(crate) struct SlowLane {
    permits: Arc<Semaphore>,
    /// Held while queueing for a permit by calls that have had one before.
    turn: Semaphore,
}

impl SlowLane {
    pub(crate) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self { permits: Arc::new(Semaphore::new(permits)), turn: Semaphore::new(1) })
    }

    async fn enter(&self, again: bool) -> Option<OwnedSemaphorePermit> {
        let _turn = if again { self.turn.acquire().await.ok() } else { None };
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }
}

/// The meter of one instance, begun anew for each call.
///
/// All orders are relaxed: one task uses it at a time, and what moves a task between threads synchronises them.
pub(crate) struct Meter {
    lane: Arc<SlowLane>,
    budget_ns: AtomicU64,
    spent_ns: AtomicU64,
    /// The thread's CPU clock when the slow call last went on.
    slice_from: AtomicU64,
    /// Whether the call has left the fast path, so that there may be a permit to give back.
    slow: AtomicBool,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Meter {
    pub(crate) fn new(lane: Arc<SlowLane>) -> Arc<Self> {
        Arc::new(Self {
            lane,
            budget_ns: AtomicU64::new(0),
            spent_ns: AtomicU64::new(0),
            slice_from: AtomicU64::new(UNMEASURED),
            slow: AtomicBool::new(false),
            permit: Mutex::new(None),
        })
    }

    /// Begins a call with this CPU budget.
    pub(crate) fn begin(&self, budget: Duration) {
        self.budget_ns.store(nanoseconds(budget), Ordering::Relaxed);
        self.spent_ns.store(0, Ordering::Relaxed);
        self.slice_from.store(UNMEASURED, Ordering::Relaxed);
        self.slow.store(false, Ordering::Relaxed);
    }

    /// What the epoch callback answers: stop, or leave the worker and come back by the slow lane.
    pub(crate) fn tick(self: &Arc<Self>) -> UpdateDeadline {
        let again = self.slow.swap(true, Ordering::Relaxed);
        let now = thread_cpu_ns();
        let slice = match self.slice_from.swap(now, Ordering::Relaxed) {
            // The first tick since the call began, which was at most one tick ago.
            UNMEASURED => nanoseconds(TICK),
            from => now.saturating_sub(from),
        };
        let spent = self.spent_ns.load(Ordering::Relaxed).saturating_add(slice);
        self.spent_ns.store(spent, Ordering::Relaxed);
        if spent >= self.budget_ns.load(Ordering::Relaxed) {
            return UpdateDeadline::Interrupt;
        }
        let meter = Arc::clone(self);
        UpdateDeadline::YieldCustom(
            1,
            Box::pin(async move {
                // `pause` gives the permit of the last slice back while this is pending.
                tokio::task::yield_now().await;
                let permit = meter.lane.enter(again).await;
                *meter.permit.lock() = permit;
            }),
        )
    }

    /// The call goes on after it was pending.
    fn resume(&self) {
        self.slice_from.store(thread_cpu_ns(), Ordering::Relaxed);
    }

    /// The call is pending: it waits for the host, for its turn, or for the lane.
    fn pause(&self) {
        let from = self.slice_from.swap(UNMEASURED, Ordering::Relaxed);
        if from != UNMEASURED {
            self.spent_ns.fetch_add(thread_cpu_ns().saturating_sub(from), Ordering::Relaxed);
        }
        self.give_back();
    }

    /// Gives the permit of the slow lane back, if there is one.
    fn give_back(&self) {
        if self.slow.load(Ordering::Relaxed) {
            drop(self.permit.lock().take());
        }
    }
}

/// The wall deadline of a call passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WallPassed;

/// Runs a call under its meter until `wall` has passed. The timer exists only from the first time the call is pending, which most
/// calls never are; until then at most one tick has passed.
pub(crate) async fn metered<T>(meter: &Meter, wall: Duration, call: impl Future<Output = T>) -> Result<T, WallPassed> {
    let mut call = pin!(call);
    let mut deadline = None;
    poll_fn(|cx| {
        if deadline.is_some() {
            meter.resume();
        }
        if let Poll::Ready(result) = call.as_mut().poll(cx) {
            meter.give_back();
            return Poll::Ready(Ok(result));
        }
        meter.pause();
        let deadline = deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(wall)));
        deadline.as_mut().poll(cx).map(|()| Err(WallPassed))
    })
    .await
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// CPU time of the calling thread in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes for the length of the call, which keeps no pointer to it. The clock exists on every Linux
    // and macOS; were it missing, the time would stay 0 and the wall deadline would be the only bound.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interrupted(deadline: &UpdateDeadline) -> bool {
        matches!(deadline, UpdateDeadline::Interrupt)
    }

    #[test]
    fn the_first_tick_is_charged_whole() {
        let meter = Meter::new(SlowLane::new(1));
        meter.begin(TICK);
        assert!(interrupted(&meter.tick()));
        meter.begin(TICK * 2);
        assert!(!interrupted(&meter.tick()));
    }

    #[test]
    fn what_a_slow_call_computes_is_charged_and_its_waits_are_not() {
        let meter = Meter::new(SlowLane::new(1));
        meter.begin(Duration::from_millis(20));
        assert!(!interrupted(&meter.tick()));
        meter.pause();
        std::thread::sleep(Duration::from_millis(30));
        meter.resume();
        assert!(!interrupted(&meter.tick()), "30 ms of waiting were charged");
        let from = thread_cpu_ns();
        while thread_cpu_ns() - from < 25_000_000 {
            std::hint::spin_loop();
        }
        assert!(interrupted(&meter.tick()), "25 ms of computing were not charged");
    }

    #[tokio::test]
    async fn a_pending_call_holds_no_permit() {
        let lane = SlowLane::new(1);
        let meter = Meter::new(Arc::clone(&lane));
        meter.begin(Duration::from_millis(20));
        let UpdateDeadline::YieldCustom(1, turn) = meter.tick() else { panic!("the call was not asked to yield") };
        turn.await;
        assert_eq!(lane.permits.available_permits(), 0, "a slow call runs without a permit");
        meter.pause();
        assert_eq!(lane.permits.available_permits(), 1, "a waiting call keeps the lane");
    }

    #[tokio::test]
    async fn a_call_ticked_for_the_first_time_passes_those_that_loop() {
        let lane = SlowLane::new(1);
        let held = lane.enter(false).await;
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        let calls = [("loop", true), ("loop", true), ("loop", true), ("short", false)];
        for (name, again) in calls {
            let (lane, sender) = (Arc::clone(&lane), sender.clone());
            tokio::spawn(async move {
                let _permit = lane.enter(again).await;
                sender.send(name).unwrap();
                tokio::task::yield_now().await;
            });
            // Lets it queue before the next one does.
            tokio::task::yield_now().await;
        }
        drop((held, sender));
        let mut seen = Vec::new();
        while let Some(name) = order.recv().await {
            seen.push(name);
        }
        assert_eq!(seen, ["loop", "short", "loop", "loop"]);
    }

    #[tokio::test]
    async fn the_wall_deadline_ends_a_wait_for_ever() {
        let meter = Meter::new(SlowLane::new(1));
        meter.begin(Duration::from_millis(20));
        let result = metered(&meter, Duration::from_millis(5), std::future::pending::<()>()).await;
        assert_eq!(result, Err(WallPassed));
    }
}
