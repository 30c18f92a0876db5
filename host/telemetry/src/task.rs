//! The long-lived tasks of the process by name, for `/debug/pprof/tasks`: the runtime itself tells only how many there are.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::bounded_names::cut;

/// Tasks listed at once; each server, plugin and listener has a few. More go on unlisted.
const MOST_TASKS: usize = 10_000;

/// Of the process, as its runtime is.
static TASKS: Mutex<Vec<Weak<Record>>> = Mutex::new(Vec::new());

/// One task that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskView {
    /// What it does, from a closed set.
    pub name: &'static str,
    /// Whose it is, where there are several: a server, a plugin, a listener; else empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub of: Box<str>,
    /// `running` while a worker runs it, else `waiting`; `new` before it first ran.
    pub state: &'static str,
    /// Seconds since it was begun.
    pub age_seconds: f64,
    /// Seconds since it last had something to do.
    pub idle_seconds: f64,
    /// How often it had.
    pub polls: u64,
    /// Seconds that workers spent on it.
    pub busy_seconds: f64,
}

struct Record {
    name: &'static str,
    of: Box<str>,
    begun: Instant,
    /// Microseconds since it was begun, when it last began to run; 0 before.
    last: AtomicU64,
    /// Odd while it runs.
    turns: AtomicU64,
    busy: AtomicU64,
}

/// Has a task listed under this name until it ends. For tasks that wait most of the time: each time one runs costs two looks at the clock.
pub fn named<F: Future>(name: &'static str, of: &str, task: F) -> impl Future<Output = F::Output> + use<F> {
    let record = Arc::new(Record {
        name,
        of: cut(of).into(),
        begun: Instant::now(),
        last: AtomicU64::new(0),
        turns: AtomicU64::new(0),
        busy: AtomicU64::new(0),
    });
    let mut tasks = TASKS.lock();
    tasks.retain(|task| task.strong_count() > 0);
    if tasks.len() < MOST_TASKS {
        tasks.push(Arc::downgrade(&record));
    }
    drop(tasks);
    async move {
        let mut task = pin!(task);
        poll_fn(|context| {
            let turn = record.begin_turn();
            let polled: Poll<F::Output> = task.as_mut().poll(context);
            record.end_turn(turn);
            polled
        })
        .await
    }
}

/// The listed tasks, in the order of their beginning.
pub fn tasks() -> Vec<TaskView> {
    let now = Instant::now();
    let listed = TASKS.lock().iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
    listed.iter().map(|record| record.view(now)).collect()
}

impl Record {
    fn begin_turn(&self) -> u64 {
        let now = micros(self.begun.elapsed()).max(1);
        self.last.store(now, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
        now
    }

    fn end_turn(&self, begun: u64) {
        self.busy.fetch_add(micros(self.begun.elapsed()).saturating_sub(begun), Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    fn view(&self, now: Instant) -> TaskView {
        let age = now.saturating_duration_since(self.begun);
        let turns = self.turns.load(Ordering::Relaxed);
        TaskView {
            name: self.name,
            of: self.of.clone(),
            state: match turns {
                0 => "new",
                _ if turns % 2 == 1 => "running",
                _ => "waiting",
            },
            age_seconds: age.as_secs_f64(),
            idle_seconds: age.saturating_sub(Duration::from_micros(self.last.load(Ordering::Relaxed))).as_secs_f64(),
            polls: turns.div_ceil(2),
            busy_seconds: Duration::from_micros(self.busy.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    fn listed(of: &str) -> Option<TaskView> {
        tasks().into_iter().find(|task| task.name == "test" && &*task.of == of)
    }

    #[test]
    fn a_task_is_listed_from_its_beginning_to_its_end() {
        let mut seen_inside = None;
        {
            let mut turns = 0;
            let mut task = Box::pin(named("test", "one", async {
                poll_fn(|_| {
                    turns += 1;
                    seen_inside = listed("one").map(|task| task.state);
                    if turns == 3 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }));
            assert_eq!(listed("one").map(|task| (task.state, task.polls)), Some(("new", 0)));
            let mut context = Context::from_waker(Waker::noop());
            for polls in 1..3 {
                assert!(task.as_mut().poll(&mut context).is_pending());
                assert_eq!(listed("one").map(|task| (task.state, task.polls)), Some(("waiting", polls)));
            }
            let waiting = listed("one").unwrap();
            assert!(waiting.idle_seconds <= waiting.age_seconds && waiting.busy_seconds <= waiting.age_seconds, "{waiting:?}");
            assert!(task.as_mut().poll(&mut context).is_ready());
        }
        assert_eq!(seen_inside, Some("running"));
        assert_eq!(listed("one"), None);
    }
}
