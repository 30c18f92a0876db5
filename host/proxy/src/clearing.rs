//! Records whose texts have to pass the policies for the telemetry surface before they leave: off the request path, bounded, and lost rather than
//! waited for.

use std::sync::Arc;

use tokio::sync::mpsc;
use watchgate_hooks::{ClearedRecord, HookSet, LiveHooks, UnclearedRecord, clear};
use watchgate_mcp::Direction;
use watchgate_telemetry::{Telemetry, TelemetryDropped, TraceFinished};

use crate::content::Unreadable;
use crate::trace_record::{Uncleared, field, put_texts};

/// Records that may wait.
const QUEUE: usize = 1024;

/// By which lost texts are counted.
const SIGNAL: &str = "trace_fields";

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
    while let Some(Uncleared { mut record, texts, captured }) = records.recv().await {
        let live = hooks.load_full();
        if let Some(captured) = captured {
            let config = telemetry.capture();
            // Each by itself: a policy that denies one says nothing of the others.
            let contents = [
                (field::ARGUMENTS, Direction::ClientToServer, captured.arguments(&config.masked)),
                (field::RESULT, Direction::ServerToClient, captured.result(&config.masked)),
            ];
            for (field, direction, content) in contents {
                match content {
                    Ok(None) => {}
                    Ok(Some(content)) => {
                        let uncleared = UnclearedRecord { direction, fields: vec![(field, content.text())], ..texts.clone() };
                        let cleared = cleared(&live, uncleared, &telemetry).await.into_iter();
                        put_texts(&mut record, cleared.map(|(field, text)| (field, content.finished(text, config.bytes))).collect());
                    }
                    Err(Unreadable) => telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "unreadable" }),
                }
            }
        }
        put_texts(&mut record, cleared(&live, texts, &telemetry).await);
        telemetry.emit(TraceFinished(record));
    }
}

/// What the policies let pass. What they do not is lost; what is left of the record has no text of messages in it.
async fn cleared(live: &HookSet, record: UnclearedRecord, telemetry: &Telemetry) -> Vec<(&'static str, String)> {
    match clear(&live.redaction, record).await {
        ClearedRecord::Fields(fields) => fields.into_iter().map(|(field, text)| (field, text.into_string())).collect(),
        ClearedRecord::Denied | ClearedRecord::Failed => {
            telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "redaction" });
            Vec::new()
        }
    }
}
