//! Records whose texts have to pass the policies for the telemetry surface before they leave: off the request path, bounded, and lost rather than
//! waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use tokio::sync::mpsc;
use watchgate_hooks::{ClearedRecord, HookSet, LiveHooks, Surface, UnclearedRecord, clear};
use watchgate_mcp::Direction;
use watchgate_telemetry::{Telemetry, TelemetryDropped, TraceFinished};

use crate::content::{Content, Unreadable};
use crate::exchange::Exchange;
use crate::trace_record::{Uncleared, field, put_texts};

/// Records that may wait.
const QUEUE: usize = 1024;

/// The field in which policies see a client's `X-Request-ID`.
const REQUEST_ID: &str = "request_id";

/// By which lost texts are counted.
const SIGNAL: &str = "trace_fields";

/// Bytes of captured messages that may wait; records beyond go without them.
const CAPTURED: usize = 16 << 20;

/// The way of records to telemetry.
pub(crate) struct Clearing {
    waiting: mpsc::Sender<Uncleared>,
    /// Bytes of captured messages that wait.
    captured: Arc<AtomicUsize>,
}

/// Room for captured messages, until this is dropped.
pub(crate) struct Room {
    captured: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.captured.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Clearing {
    /// A queue, and what must be run for it to move.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Uncleared>) {
        let (waiting, records) = mpsc::channel(QUEUE);
        (Self { waiting, captured: Arc::default() }, records)
    }

    /// Hands a record over.
    pub(crate) fn offer(&self, telemetry: &Telemetry, mut record: Uncleared) {
        if let Some(captured) = record.captured.take() {
            match self.room_for(captured.bytes()) {
                Some(room) => record.captured = Some(captured.within(room)),
                None => telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "queue_full" }),
            }
        }
        if self.waiting.try_send(record).is_err() {
            telemetry.emit(TelemetryDropped { signal: "traces", reason: "queue_full" });
        }
    }

    fn room_for(&self, bytes: usize) -> Option<Room> {
        let room = Room { captured: self.captured.clone(), bytes };
        let before = self.captured.fetch_add(bytes, Ordering::Relaxed);
        // Dropped, it gives back what it took.
        (before + bytes <= CAPTURED).then_some(room)
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
                        let about = UnclearedRecord { direction, fields: Vec::new(), ..texts.clone() };
                        let text = cleared_content(&live, about, field, content, &telemetry).await;
                        put_texts(&mut record, text.map(|text| (field, text)).into_iter().collect());
                    }
                    Err(Unreadable) => telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "unreadable" }),
                }
            }
        }
        put_texts(&mut record, cleared(&live, texts, &telemetry).await);
        telemetry.emit(TraceFinished(record));
    }
}

/// Shows a captured text to the policies: first its strings that JSON escapes, then the whole. `None`: it is lost, and counted.
async fn cleared_content(
    live: &HookSet,
    about: UnclearedRecord,
    field: &'static str,
    mut content: Content,
    telemetry: &Telemetry,
) -> Option<String> {
    for depth in Content::depths() {
        let Ok(strings) = content.strings(depth) else {
            telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "unreadable" });
            return None;
        };
        if strings.is_empty() {
            continue;
        }
        let fields: Vec<(String, String)> =
            strings.into_iter().enumerate().map(|(place, text)| (format!("{field}.{place}"), text)).collect();
        let UnclearedRecord { server, direction, method, name, .. } = about.clone();
        let texts = cleared(live, UnclearedRecord { server, direction, method, name, fields }, telemetry).await;
        // Denied: there were some.
        if texts.is_empty() {
            return None;
        }
        content.put_strings(depth, texts.into_iter().map(|(_, text)| text).collect());
    }
    let record = UnclearedRecord { fields: vec![(field, content.text())], ..about };
    let (_, text) = cleared(live, record, telemetry).await.pop()?;
    Some(content.finished(text, telemetry.capture().bytes))
}

/// Shows an `X-Request-ID` that the client sent to the policies before any line or span has it.
pub(crate) async fn clear_request_id(exchange: &mut Exchange, headers: &HeaderMap) {
    let Some(id) = exchange.recorded_request_id().filter(|_| headers.contains_key("x-request-id")) else { return };
    let live = exchange.shared.hooks.load_full();
    if !live.redaction.wants(Surface::Telemetry, Direction::ClientToServer, None, None) {
        return;
    }
    let record = UnclearedRecord {
        server: exchange.server.name.clone(),
        direction: Direction::ClientToServer,
        method: None,
        name: None,
        fields: vec![(REQUEST_ID, id.to_owned())],
    };
    let cleared = cleared(&live, record, &exchange.shared.telemetry).await;
    exchange.set_request_id(cleared.into_iter().next().map(|(_, id)| id.into()));
}

/// What the policies let pass. What they do not is lost; what is left of the record has no text of messages in it.
async fn cleared<N: AsRef<str>>(live: &HookSet, record: UnclearedRecord<N>, telemetry: &Telemetry) -> Vec<(N, String)> {
    match clear(&live.redaction, record).await {
        ClearedRecord::Fields(fields) => fields.into_iter().map(|(field, text)| (field, text.into_string())).collect(),
        ClearedRecord::Denied | ClearedRecord::Failed => {
            telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "redaction" });
            Vec::new()
        }
    }
}
