//! The trace of a call that is answered on another stream of its session (legacy eras): its span ends when the call does, and not with the
//! exchange that asked. Whichever of the two ends last hands the record over.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use watchgate_mcp::Outcome;
use watchgate_telemetry::is_call;

use crate::clearing::Room;
use crate::content::Captured;
use crate::operation::Ending;
use crate::server::Shared;
use crate::trace_notes::TraceNotes;
use crate::trace_record::Ended;

/// Shared by the exchange and the operation that is remembered of it.
pub(crate) struct LateTrace {
    halves: Mutex<Halves>,
}

enum Halves {
    /// Both go on. The request's text where it may be recorded, and its room.
    Open(Option<(Bytes, Room)>),
    /// The exchange is over.
    Exchange(Box<(Ended, TraceNotes)>, Option<(Bytes, Room)>),
    /// The call is answered.
    Call(Box<Answered>),
    /// Both are, and the record is on its way.
    Over,
}

/// How a call ended.
struct Answered {
    outcome: Outcome,
    rpc_error_code: Option<i64>,
    error_message: Option<Box<str>>,
    duration: Duration,
    captured: Option<Captured>,
}

impl std::fmt::Debug for LateTrace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LateTrace").finish_non_exhaustive()
    }
}

impl LateTrace {
    /// Of a call with this text, where it may be recorded.
    pub(crate) fn new(request: Option<(Bytes, Room)>) -> Self {
        Self { halves: Mutex::new(Halves::Open(request)) }
    }

    /// The call is not answered elsewhere after all. Gives its text back.
    pub(crate) fn take_text(&self) -> Option<Bytes> {
        match std::mem::replace(&mut *self.halves.lock(), Halves::Over) {
            Halves::Open(request) => request.map(|(text, _)| text),
            Halves::Exchange(..) | Halves::Call(_) | Halves::Over => None,
        }
    }

    /// The exchange that asked is over.
    pub(crate) fn exchange_ended(&self, shared: &Shared, ended: Ended, notes: TraceNotes) {
        let mut halves = self.halves.lock();
        match std::mem::replace(&mut *halves, Halves::Over) {
            Halves::Open(request) => *halves = Halves::Exchange(Box::new((ended, notes)), request),
            Halves::Call(answered) => {
                drop(halves);
                hand_over(shared, ended, notes, *answered);
            }
            Halves::Exchange(..) | Halves::Over => {}
        }
    }

    /// The call is answered, or nobody waits for its answer any more.
    pub(crate) fn call_ended(&self, shared: &Shared, ending: &Ending<'_>, duration: Duration) {
        let mut halves = self.halves.lock();
        match std::mem::replace(&mut *halves, Halves::Over) {
            Halves::Open(request) => *halves = Halves::Call(Box::new(Answered::of(ending, duration, request))),
            Halves::Exchange(both, request) => {
                drop(halves);
                let (ended, notes) = *both;
                hand_over(shared, ended, notes, Answered::of(ending, duration, request));
            }
            Halves::Call(_) | Halves::Over => {}
        }
    }
}

impl Answered {
    fn of(ending: &Ending<'_>, duration: Duration, request: Option<(Bytes, Room)>) -> Self {
        Self {
            outcome: ending.outcome,
            rpc_error_code: ending.answer.and_then(|answer| answer.error_code),
            error_message: ending.answer.and_then(|answer| answer.error_message.clone()),
            duration,
            captured: request.map(|(request, room)| Captured::new(Some(request), ending.text.clone()).within(room)),
        }
    }
}

fn hand_over(shared: &Shared, mut ended: Ended, mut notes: TraceNotes, answered: Answered) {
    ended.outcome = answered.outcome;
    ended.duration = answered.duration;
    ended.line.rpc_error_code = answered.rpc_error_code;
    ended.line.error_message = answered.error_message;
    notes.captured = answered.captured;
    let policy = shared.telemetry.tracing();
    let is_slow = policy.is_slow(ended.duration) && is_call(ended.http_method, ended.line.method());
    let verdict = ended.verdict(&notes);
    notes.settle_capture(&shared.telemetry, ended.outcome);
    if policy.keeps(notes.interest(&verdict, is_slow)) || notes.captured.is_some() {
        shared.clearing.offer(&shared.telemetry, ended.record(notes, is_slow, &shared.telemetry.capture().masked));
    }
}
