//! How busy the asynchronous runtime is, sampled from outside: what runs on it would wait along with everything else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use prometheus::{Histogram, IntGauge};
use tokio::runtime::Handle;

use crate::telemetry::Telemetry;

/// Between two samples.
const INTERVAL: Duration = Duration::from_millis(250);

/// Samples a runtime until it is dropped.
#[must_use = "sampling ends when this is dropped"]
pub struct RuntimeWatch {
    ended: Arc<AtomicBool>,
    sampler: Thread,
}

impl Telemetry {
    /// Fills `watchgate_runtime_*` with figures of a runtime, on a thread of its own.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watch_runtime(&self, runtime: &Handle) -> io::Result<RuntimeWatch> {
        let ended = Arc::new(AtomicBool::new(false));
        let sampler = Sampler {
            runtime: runtime.clone(),
            lag: self.families().runtime_lag.with(&[]),
            tasks: self.families().runtime_tasks.with(&[]),
            waiting: Arc::new(AtomicBool::new(false)),
        };
        let until = ended.clone();
        let thread = thread::Builder::new().name("runtime-watch".into()).spawn(move || {
            while !until.load(Ordering::Acquire) {
                sampler.sample();
                thread::park_timeout(INTERVAL);
            }
        })?;
        Ok(RuntimeWatch { ended, sampler: thread.thread().clone() })
    }
}

impl Drop for RuntimeWatch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.sampler.unpark();
    }
}

struct Sampler {
    runtime: Handle,
    lag: Histogram,
    tasks: IntGauge,
    /// The last task has not run: another one would tell nothing more, and many would add to the trouble.
    waiting: Arc<AtomicBool>,
}

impl Sampler {
    fn sample(&self) {
        self.tasks.set(i64::try_from(self.runtime.metrics().num_alive_tasks()).unwrap_or(i64::MAX));
        if self.waiting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (lag, waiting, ready) = (self.lag.clone(), self.waiting.clone(), Instant::now());
        self.runtime.spawn(async move {
            lag.observe(ready.elapsed().as_secs_f64());
            waiting.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::{Telemetry, TelemetryConfig};

    fn value(telemetry: &Telemetry, name: &str) -> f64 {
        telemetry.snapshot().of(name).map(|series| series.value).sum()
    }

    #[test]
    fn a_worker_that_is_kept_shows_as_lag() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let telemetry = Telemetry::new(TelemetryConfig::default()).unwrap();
        let (let_go, kept) = mpsc::channel::<()>();
        runtime.spawn(async move { kept.recv() });
        let _watch = telemetry.watch_runtime(runtime.handle()).unwrap();
        let until = |what: &str, done: &dyn Fn() -> bool| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while !done() {
                assert!(Instant::now() < deadline, "{what}");
                thread::yield_now();
            }
        };
        until("the tasks are counted", &|| value(&telemetry, "watchgate_runtime_tasks") >= 2.0);
        let begun = Instant::now();
        until("time passes", &|| begun.elapsed() > Duration::from_millis(20));
        assert_eq!(value(&telemetry, "watchgate_runtime_lag_seconds_count"), 0.0);
        drop(let_go);
        until("the wait is over", &|| value(&telemetry, "watchgate_runtime_lag_seconds_count") > 0.0);
        assert!(value(&telemetry, "watchgate_runtime_lag_seconds_sum") >= 0.02);
    }
}
