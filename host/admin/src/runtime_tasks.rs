//! `GET /debug/pprof/tasks`: which tasks there are, which exchanges go on, and how busy the threads of the runtime are.

use http::StatusCode;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use watchgate_telemetry::{Label, MetricName, MetricSnapshot, Telemetry, task};

use crate::answer::{self, Answer};

/// Counts since the start of the runtime that answers. Every connection is a task too, and every stream of HTTP/2; those are counted, and what they
/// are busy with is listed by server and method: an entry for each would be a lock on the way of every exchange.
pub(crate) fn show(telemetry: &Telemetry) -> Answer {
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
    let shown = json!({
        "tasks": metrics.num_alive_tasks(),
        "waiting_in_global_queue": metrics.global_queue_depth(),
        "workers": workers,
        "named": task::tasks(),
        "exchanges": exchanges(&telemetry.snapshot()),
    });
    answer::json(StatusCode::OK, &shown)
}

/// Exchanges that go on now, open event streams included.
fn exchanges(snapshot: &MetricSnapshot) -> Vec<Value> {
    let going_on = snapshot.of(MetricName::HttpRequestsInFlight.as_str()).filter(|series| series.value > 0.0);
    let row = |series: &watchgate_telemetry::Series| {
        let [server, method] = [Label::Server, Label::Method].map(|label| series.label(label.as_str()));
        json!({ "server": server, "method": method, "in_flight": series.value })
    };
    going_on.map(row).collect()
}
