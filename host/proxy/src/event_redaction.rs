//! One event of a stream through redaction: what is asked, and what is written in its place.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use watchgate_hooks::{BoxFuture, Denial, HookSet, PolicyCall};
use watchgate_mcp::sse::SseEvent;
use watchgate_mcp::{Direction, Envelope, MessageKind, Outcome, RequestId};
use watchgate_telemetry::Limit;

use crate::error_id::ErrorId;
use crate::exchange::Exchange;
use crate::fault;
use crate::operation::{Ending, OpenOperation, kept_text};
use crate::redact::{Item, Redacted, Subject};
use crate::refusal::Credentials;
use crate::scan::{Scanned, scan, scan_in_turns};
use crate::turns::TURN;

/// An event whose redaction is under way.
pub(crate) struct Judging {
    event: SseEvent,
    envelopes: Vec<Envelope>,
    is_batch: bool,
    verdict: BoxFuture<'static, (Redacted, Duration, Vec<PolicyCall>)>,
}

/// A large event that is being looked through.
pub(crate) struct Reading {
    event: SseEvent,
    data: Bytes,
    scanned: BoxFuture<'static, Scanned>,
}

/// What to do with an event.
pub(crate) enum Step {
    /// These bytes go out now; perhaps none.
    Write(Bytes),
    /// Ask again when it has been looked through.
    Read(Reading),
    /// Ask again when the policies have decided.
    Wait(Judging),
}

/// Looks at one whole event.
pub(crate) fn begin(event: SseEvent, exchange: &mut Exchange, hooks: &Arc<HookSet>, keeps_text: bool) -> Step {
    let Some(data) = event.data().filter(|data| !data.is_empty()) else { return Step::Write(event.into_raw()) };
    if data.len() > TURN {
        let read = data.clone();
        return Step::Read(Reading { event, data, scanned: Box::pin(async move { scan_in_turns(&read).await }) });
    }
    let scanned = scan(&data);
    judge(event, data, scanned, exchange, hooks, keeps_text)
}

impl Reading {
    /// `Ready` when it has been looked through.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Scanned> {
        self.scanned.as_mut().poll(context)
    }

    /// Has the policies judge what was found.
    pub(crate) fn judge(self, scanned: Scanned, exchange: &mut Exchange, hooks: &Arc<HookSet>, keeps_text: bool) -> Step {
        judge(self.event, self.data, scanned, exchange, hooks, keeps_text)
    }
}

fn judge(event: SseEvent, data: Bytes, scanned: Scanned, exchange: &mut Exchange, hooks: &Arc<HookSet>, keeps_text: bool) -> Step {
    let items = scanned.envelopes.iter().map(|envelope| item(envelope, exchange)).collect();
    let subject = Subject {
        body: data.clone(),
        direction: Direction::ServerToClient,
        server: exchange.server.name.clone(),
        items,
        is_batch: scanned.is_batch,
        headers: Vec::new(),
    };
    if !subject.is_wanted(hooks) {
        report(scanned.envelopes, exchange, (keeps_text && !scanned.is_batch).then(|| kept_text(&data)));
        return Step::Write(event.into_raw());
    }
    let hooks = hooks.clone();
    let verdict = Box::pin(async move {
        let begun = Instant::now();
        let mut calls = Vec::new();
        let redacted = subject.redact(&hooks, &mut calls).await;
        (redacted, begun.elapsed(), calls)
    });
    Step::Wait(Judging { event, envelopes: scanned.envelopes, is_batch: scanned.is_batch, verdict })
}

impl Judging {
    /// `Ready` with what to write when the policies have decided.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        exchange: &mut Exchange,
        credentials: Option<&Credentials>,
        keeps_text: bool,
    ) -> Poll<Bytes> {
        self.verdict.as_mut().poll(context).map(|(redacted, took, calls)| {
            exchange.note_plugins(took, Direction::ServerToClient, calls);
            self.settle(redacted, exchange, credentials, keeps_text)
        })
    }

    fn settle(&mut self, redacted: Redacted, exchange: &mut Exchange, credentials: Option<&Credentials>, keeps_text: bool) -> Bytes {
        let envelopes = std::mem::take(&mut self.envelopes);
        match redacted {
            Redacted::Same => {
                let text = self.event.data().filter(|_| keeps_text && !self.is_batch).map(|data| kept_text(&data));
                report(envelopes, exchange, text);
                self.event.raw().clone()
            }
            Redacted::Changed(body, _) => {
                let scanned = scan(&body);
                report(scanned.envelopes, exchange, (keeps_text && !scanned.is_batch).then(|| kept_text(&body)));
                self.event.with_data(&body).into()
            }
            Redacted::Denied(denial) => deny(&self.event, envelopes, self.is_batch, &denial, exchange, credentials),
        }
    }
}

/// The item of a server's message; an answer takes method and name from its request.
pub(crate) fn item(envelope: &Envelope, exchange: &Exchange) -> Item {
    let asked = if envelope.is_answer() { exchange.asked(envelope.id.as_ref()) } else { None };
    Item::new(envelope, asked)
}

fn report(envelopes: Vec<Envelope>, exchange: &mut Exchange, text: Option<Bytes>) {
    let mut text = text;
    for envelope in envelopes {
        exchange.server_message(envelope, text.take());
    }
}

/// Says why, for operators; the client learns only the error id.
pub(crate) fn log_denial(denial: &Denial, server: &str, direction: Direction, error_id: &ErrorId) {
    tracing::warn!(
        plugin = %denial.plugin, reason = denial.reason.as_str(), detail = %denial.detail, server, direction = direction.as_str(),
        error_id = error_id.as_str(), "message denied"
    );
}

fn deny(
    event: &SseEvent,
    envelopes: Vec<Envelope>,
    is_batch: bool,
    denial: &Denial,
    exchange: &mut Exchange,
    credentials: Option<&Credentials>,
) -> Bytes {
    let error_id = ErrorId::next();
    log_denial(denial, &exchange.server.name, Direction::ServerToClient, &error_id);
    let mut answers = Vec::new();
    if envelopes.is_empty() {
        // Opaque: nothing that anybody waits for by an id.
        exchange.note_denied_by_itself(&error_id);
    }
    for envelope in envelopes {
        match envelope.kind {
            MessageKind::Result | MessageKind::Error => {
                exchange.note_denied(envelope.id.as_ref(), &error_id);
                answers.push(fault::denial(envelope.id.as_ref(), &error_id));
            }
            _ => deny_unanswered(envelope, exchange, credentials, &error_id),
        }
    }
    match answers.as_slice() {
        [] => event.without_data().into(),
        [only] if !is_batch => event.with_data(only).into(),
        _ => event.with_data(&join_array(&answers)).into(),
    }
}

/// A denied request or notification of the server: dropped, and a request is refused to the server.
fn deny_unanswered(envelope: Envelope, exchange: &mut Exchange, credentials: Option<&Credentials>, error_id: &ErrorId) {
    let id: Option<RequestId> = envelope.id.clone().filter(|_| envelope.kind == MessageKind::Request);
    exchange.note_denied_by_itself(error_id);
    if let Some(operation) = OpenOperation::from_envelope(Direction::ServerToClient, envelope, Instant::now(), None) {
        let ending = Ending::without_answer(Outcome::Denied, None, Duration::ZERO);
        operation.finish(&exchange.shared, &exchange.server, None, ending);
    }
    if let (Some(id), Some(credentials)) = (id, credentials) {
        credentials.refuse(&exchange.shared, &exchange.server, id, error_id);
    }
}

/// A JSON array of messages.
pub(crate) fn join_array(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![b'['];
    out.extend_from_slice(&messages.join(&b','));
    out.push(b']');
    out
}

/// An event too large to be looked at: every request of this exchange that still waits is answered with an error.
pub(crate) fn deny_too_large(event: &SseEvent, exchange: &mut Exchange) -> Bytes {
    let error_id = ErrorId::next();
    tracing::warn!(server = %exchange.server.name, error_id = error_id.as_str(), "an event over the cap was denied: no policy could see it whole");
    let ids: Vec<Option<RequestId>> = exchange.operations.iter().map(|operation| operation.id.clone()).filter(Option::is_some).collect();
    let mut out = event.without_data();
    exchange.server.metrics.limited(Limit::AnswerSize);
    exchange.note_denied_by_itself(&error_id);
    for id in ids {
        exchange.note_denied(id.as_ref(), &error_id);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&fault::denial(id.as_ref(), &error_id));
        out.extend_from_slice(b"\n\n");
    }
    out.into()
}
