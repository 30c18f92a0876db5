//! `GET /debug/pprof/tasks`: how much there is on the runtime and how busy its threads are.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::answer::{self, Answer};

/// Counts since the start of the runtime that answers.
pub(crate) fn show() -> Answer {
    let metrics = Handle::current().metrics();
    let worker = |worker: usize| {
        json!({
            "busy_seconds": metrics.worker_total_busy_duration(worker).as_secs_f64(),
            "parks": metrics.worker_park_count(worker),
            // An odd number says that it waits for work now.
            "parked": metrics.worker_park_unpark_count(worker) % 2 == 1,
        })
    };
    let workers: Vec<Value> = (0..metrics.num_workers()).map(worker).collect();
    let shown = json!({ "tasks": metrics.num_alive_tasks(), "waiting_in_global_queue": metrics.global_queue_depth(), "workers": workers });
    answer::json(StatusCode::OK, &shown)
}
