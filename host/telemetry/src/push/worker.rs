//! The thread on which one signal is pushed, with a runtime of its own: nothing that a collector does can be felt by traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::courier::{Courier, Payload};
use super::error::PushConfigError;
use super::haste::Haste;

/// What is to be pushed now; empty when there is nothing.
pub(crate) type Take = dyn FnMut() -> Vec<Payload> + Send;

/// The handle of the thread. Dropping it ends the thread without another delivery; [`Self::flush`] before.
pub(crate) struct Worker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Something is to be done before the interval is over.
    wanted: AtomicBool,
    news: Notify,
    ended: AtomicBool,
    end: Notify,
    haste: Haste,
    flushes: Mutex<Flushes>,
    flushed: Condvar,
}

/// Flushes asked for and done, counted.
#[derive(Default)]
struct Flushes {
    asked: u64,
    done: u64,
}

impl Worker {
    /// Starts the thread. It delivers what `take` gives every `interval`, when it is woken, and once more on each flush.
    pub fn start(name: &str, interval: Duration, courier: Courier, take: Box<Take>) -> Result<Self, PushConfigError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(PushConfigError::Thread)?;
        let shared = Arc::<Shared>::default();
        let of_thread = shared.clone();
        let work = move || {
            runtime.block_on(of_thread.run(interval, courier, take));
            // A look-up of a host's name cannot be called back; nobody waits for it.
            runtime.shutdown_background();
        };
        thread::Builder::new().name(name.to_owned()).spawn(work).map_err(PushConfigError::Thread)?;
        Ok(Self { shared })
    }

    /// Lets the thread deliver now.
    pub fn wake(&self) {
        if !self.shared.wanted.swap(true, Ordering::AcqRel) {
            self.shared.news.notify_one();
        }
    }

    /// Waits until what there was before the call is delivered or lost, at most for `deadline`; tells whether it is.
    pub fn flush(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut flushes = self.shared.flushes.lock();
        flushes.asked += 1;
        let ours = flushes.asked;
        self.shared.haste.ask(until);
        self.wake();
        while flushes.done < ours {
            if self.shared.flushed.wait_until(&mut flushes, until).timed_out() {
                return flushes.done >= ours;
            }
        }
        true
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.end.notify_one();
        self.shared.news.notify_one();
    }
}

impl Shared {
    async fn run(&self, interval: Duration, mut courier: Courier, mut take: Box<Take>) {
        loop {
            if !self.wanted.swap(false, Ordering::AcqRel) {
                let _news_or_interval = tokio::time::timeout(interval, self.news.notified()).await;
                self.wanted.store(false, Ordering::Release);
            }
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            let asked = self.flushes.lock().asked;
            for payload in take() {
                tokio::select! {
                    () = courier.deliver(&payload, &self.haste) => {}
                    () = self.end.notified() => return,
                }
            }
            self.report_flush(asked);
        }
    }

    fn report_flush(&self, asked: u64) {
        let mut flushes = self.flushes.lock();
        if flushes.done < asked {
            flushes.done = asked;
            if flushes.asked == asked {
                self.haste.end();
            }
            self.flushed.notify_all();
        }
    }
}
