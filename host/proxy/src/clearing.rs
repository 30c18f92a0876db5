//! Records whose texts have to pass the policies for the telemetry surface before they leave: off the request path, bounded, and lost rather than
//! waited for.

use std::sync::Arc;

use tokio::sync::mpsc;
use watchgate_hooks::{ClearedRecord, LiveHooks, clear};
use watchgate_telemetry::{Telemetry, TelemetryDropped, TraceFinished};

use crate::trace_record::{Uncleared, put_texts};

/// Records that may wait.
const QUEUE: usize = 1024;

/// The way of records to telemetry.
pub(crate) struct Clearing {
    waiting: mpsc::Sender<Uncleared>,
}

impl Clearing {
    /// A queue, and what must be run for it to move.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Uncleared>) {
        let (waiting, records) = mpsc::channel(QUEUE);
        (Self { waiting }, records)
    }

    /// Hands a record over.
    pub(crate) fn offer(&self, telemetry: &Telemetry, record: Uncleared) {
        if self.waiting.try_send(record).is_err() {
            telemetry.emit(TelemetryDropped { signal: "traces", reason: "queue_full" });
        }
    }
}

/// Clears records one by one until there are no more.
pub(crate) async fn run(mut records: mpsc::Receiver<Uncleared>, hooks: Arc<LiveHooks>, telemetry: Arc<Telemetry>) {
    while let Some(Uncleared { mut record, texts }) = records.recv().await {
        let live = hooks.load_full();
        match clear(&live.redaction, texts).await {
            ClearedRecord::Fields(fields) => {
                put_texts(&mut record, fields.into_iter().map(|(field, text)| (field, text.into_string())).collect());
            }
            // What a policy does not let pass is lost; what is left of the record has no text of messages in it.
            ClearedRecord::Denied | ClearedRecord::Failed => {
                telemetry.emit(TelemetryDropped { signal: "trace_fields", reason: "redaction" })
            }
        }
        telemetry.emit(TraceFinished(record));
    }
}
