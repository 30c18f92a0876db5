//! The clock of epoch interruption: one thread that advances the engine's epoch every millisecond while plugins run, and sleeps
//! without waking while none does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// Length of one epoch.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// Ticks without any call before the thread parks. Waking it costs the next call some microseconds, so it outlives short gaps.
const LINGER: u32 = 5;
/// Counters of calls: more than workers, on the machines of most.
const SHARDS: usize = 16;
/// One call in the low half of a shard.
const RUNNING: u64 = 1;
/// One call in its high half, and the mask of the low half by one less.
const STARTED: u64 = 1 << 32;

/// Ticks while at least one [`Running`] exists.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    shards: [Shard; SHARDS],
    parked: AtomicBool,
    stopped: AtomicBool,
}

/// Calls running now in the low 32 bits; calls ever started, wrapping, in the high ones. One word, so that a call costs one atomic operation at each
/// end; and one for each thread, on a cache line of its own, so that workers do not wait for each other's.
#[derive(Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

impl Shared {
    /// Of all threads.
    fn calls(&self) -> u64 {
        self.shards.iter().fold(0, |sum, shard| sum.wrapping_add(shard.0.load(Ordering::SeqCst)))
    }
}

/// The place of this thread's counter.
fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    OWN.with(|own| *own)
}

impl Ticker {
    /// Starts the thread. It holds the engine weakly and ends with this value.
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared { shards: Default::default(), parked: AtomicBool::new(false), stopped: AtomicBool::new(false) });
        let (engine, seen) = (engine.weak(), Arc::clone(&shared));
        let handle = thread::Builder::new().name("watchgate-epoch".to_owned()).spawn(move || tick(&engine, &seen))?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Says that a call runs until the answer is dropped.
    pub(crate) fn enter(&self) -> Running<'_> {
        // Sequentially consistent, as is `tick`: either the thread sees this call before it parks, or this sees that it is parked.
        let shard = &self.shared.shards[own_shard()].0;
        shard.fetch_add(STARTED + RUNNING, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running { shard }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// A call that needs epochs to advance.
pub(crate) struct Running<'a> {
    /// Where it was counted, wherever it ends.
    shard: &'a AtomicU64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shard.fetch_sub(RUNNING, Ordering::Release);
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    let (mut seen, mut quiet) = (0, 0);
    while !shared.stopped.load(Ordering::SeqCst) {
        let calls = shared.calls();
        let idle = calls == seen && calls & (STARTED - 1) == 0;
        quiet = if idle { quiet + 1 } else { 0 };
        seen = calls;
        if quiet <= LINGER {
            thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
            continue;
        }
        shared.parked.store(true, Ordering::SeqCst);
        if shared.calls() == seen && !shared.stopped.load(Ordering::SeqCst) {
            thread::park();
        }
        shared.parked.store(false, Ordering::SeqCst);
        quiet = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use wasmtime::{Config, Engine};

    use super::Ticker;

    /// Waits until the thread is parked, or is not.
    fn await_parked(ticker: &Ticker, parked: bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while ticker.shared.parked.load(Ordering::SeqCst) != parked {
            assert!(Instant::now() < until, "the epoch thread is not {}", if parked { "parked" } else { "awake" });
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_thread_sleeps_exactly_while_no_call_runs() {
        let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
        let ticker = Ticker::start(&engine).unwrap();
        await_parked(&ticker, true);
        for _ in 0..3 {
            let first = ticker.enter();
            let second = ticker.enter();
            await_parked(&ticker, false);
            drop(first);
            // Longer than it lingers: one call still runs.
            let until = Instant::now() + Duration::from_millis(30);
            while Instant::now() < until {
                assert!(!ticker.shared.parked.load(Ordering::SeqCst), "parked during a call");
                std::thread::yield_now();
            }
            drop(second);
            await_parked(&ticker, true);
        }
    }
}
