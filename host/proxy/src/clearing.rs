//! Records whose texts have to pass the policies for the telemetry surface before they leave: off the request path, bounded, and lost rather than
//! waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use watchgate_hooks::{ClearedRecord, HookSet, LiveHooks, UnclearedRecord, clear};
use watchgate_mcp::Direction;
use watchgate_telemetry::{HeldLine, Telemetry, TelemetryDropped, TraceFinished};

use crate::content::{Content, Unreadable};
use crate::server::Server;
use crate::trace_record::{Uncleared, field, put_texts};

/// Records that may wait.
const QUEUE: usize = 1024;

/// By which lost texts are counted.
const SIGNAL: &str = "trace_fields";

/// How long the end waits for what is not cleared yet.
pub(crate) const LAST_LINES: Duration = Duration::from_secs(1);

/// Bytes of captured messages that may wait; records beyond go without them.
const CAPTURED: usize = 16 << 20;

/// Bytes of calls that may be kept until they are answered on a later stream; calls beyond are recorded without what was said in them.
const UNANSWERED: usize = 16 << 20;

/// What waits for the policies.
pub(crate) enum Waiting {
    Trace(Uncleared),
    /// An access line, and the client's request id that it is to have.
    Line(HeldLine, UnclearedRecord),
    /// Tells that all before it has gone on.
    Mark(oneshot::Sender<()>),
}

/// The way of records to telemetry.
pub(crate) struct Clearing {
    waiting: mpsc::Sender<Waiting>,
    /// Bytes of captured messages that wait.
    captured: Arc<AtomicUsize>,
    /// Bytes of captured calls that are not answered.
    unanswered: Arc<AtomicUsize>,
}

/// Room for captured messages, until this is dropped.
pub(crate) struct Room {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    /// Takes room out of `most` bytes, where there is some.
    fn take(taken: &Arc<AtomicUsize>, bytes: usize, most: usize) -> Option<Self> {
        let room = Self { taken: taken.clone(), bytes };
        let before = taken.fetch_add(bytes, Ordering::Relaxed);
        // Dropped, it gives back what it took.
        (before + bytes <= most).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Clearing {
    /// A queue, and what must be run for it to move.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (waiting, records) = mpsc::channel(QUEUE);
        (Self { waiting, captured: Arc::default(), unanswered: Arc::default() }, records)
    }

    /// Hands a record over.
    pub(crate) fn offer(&self, telemetry: &Telemetry, mut record: Uncleared) {
        if let Some(captured) = record.captured.take() {
            match Room::take(&self.captured, captured.bytes(), CAPTURED) {
                Some(room) => record.captured = Some(captured.within(room)),
                None => telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "queue_full" }),
            }
        }
        if self.waiting.try_send(Waiting::Trace(record)).is_err() {
            telemetry.emit(TelemetryDropped { signal: "traces", reason: "queue_full" });
        }
    }

    /// Hands an access line over. Where too many wait it is said at once, without the request id.
    pub(crate) fn offer_line(&self, telemetry: &Telemetry, line: HeldLine, request_id: UnclearedRecord) {
        let unsent = self.waiting.try_send(Waiting::Line(line, request_id)).map_err(TrySendError::into_inner);
        if let Err(Waiting::Line(line, _)) = unsent {
            telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "queue_full" });
            telemetry.say_line(line, None);
        }
    }

    /// Waits until what waits now has gone on.
    pub(crate) async fn settle(&self) {
        let (mark, passed) = oneshot::channel();
        if self.waiting.send(Waiting::Mark(mark)).await.is_ok() {
            // An error means that nobody clears any more.
            let _ = passed.await;
        }
    }

    /// Keeps the text of a call until it is answered, where there is room for it.
    pub(crate) fn keep_unanswered(&self, telemetry: &Telemetry, text: Bytes) -> Option<(Bytes, Room)> {
        let room = Room::take(&self.unanswered, text.len(), UNANSWERED);
        if room.is_none() {
            telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "queue_full" });
        }
        room.map(|room| (text, room))
    }

    /// Whether the text of such a call is kept, so that the text of its answer is of use.
    pub(crate) fn keeps_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::Relaxed) > 0
    }
}

/// Clears records one by one until there are no more.
pub(crate) async fn run(mut waiting: mpsc::Receiver<Waiting>, hooks: Arc<LiveHooks>, telemetry: Arc<Telemetry>) {
    while let Some(next) = waiting.recv().await {
        let live = hooks.load_full();
        match next {
            Waiting::Trace(uncleared) => clear_trace(&live, uncleared, &telemetry).await,
            Waiting::Line(line, request_id) => {
                let id = cleared(&live, request_id, &telemetry).await.pop();
                telemetry.say_line(line, id.map(|(_, id)| id.into()));
            }
            // Who waits for it may have given up.
            Waiting::Mark(mark) => drop(mark.send(())),
        }
    }
}

async fn clear_trace(live: &HookSet, uncleared: Uncleared, telemetry: &Telemetry) {
    let Uncleared { mut record, texts, captured } = uncleared;
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
                    let text = cleared_content(live, about, field, content, telemetry).await;
                    put_texts(&mut record, text.map(|text| (field, text)).into_iter().collect());
                }
                Err(Unreadable) => telemetry.emit(TelemetryDropped { signal: SIGNAL, reason: "unreadable" }),
            }
        }
    }
    put_texts(&mut record, cleared(live, texts, telemetry).await);
    telemetry.emit(TraceFinished(record));
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

/// A client's request id, for the policies.
pub(crate) fn uncleared_id(server: &Server, id: &str) -> UnclearedRecord {
    UnclearedRecord {
        server: server.name.clone(),
        direction: Direction::ClientToServer,
        method: None,
        name: None,
        fields: vec![(field::REQUEST_ID, id.to_owned())],
    }
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
