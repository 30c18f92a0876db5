//! `relay`: chooses how a server's answer reaches the client, and redacts answers that come as one document.

use std::future::poll_fn;
use std::time::Instant;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode, header};
use watchgate_mcp::{Direction, MessageKind, Outcome, RequestId};
use watchgate_telemetry::{Limit, UpstreamCause};

use crate::answer_head::Asked;
use crate::body::Body;
use crate::decode::{Coding, DecodeError, Decoder, OutputCap, parse_codings};
use crate::error_id::ErrorId;
use crate::event_redaction::{item, join_array, log_denial};
use crate::events::EventBody;
use crate::exchange::Exchange;
use crate::fault::{self, Fault};
use crate::headers::{self, Content};
use crate::held_bytes::{NoRoom, Reservation};
use crate::life::{answer_fault, finish_own, finish_with};
use crate::oauth::{DocumentPlace, MAX_METADATA_BYTES};
use crate::operation::kept_text;
use crate::patience::Patience;
use crate::pieces::Pieces;
use crate::redact::{Redacted, Subject};
use crate::refusal::Credentials;
use crate::relay::{JsonTap, RelayBody};
use crate::scan::{Scanned, scan_in_turns};
use crate::source::{Source, SourceError};
use crate::turns::Turns;
use crate::whole_body::WholeBody;

/// Passes the answer on.
pub(crate) async fn relay(
    mut exchange: Box<Exchange>,
    mut parts: Parts,
    mut upstream: Source,
    credentials: Option<Credentials>,
    is_head: bool,
) -> Response<Body> {
    // Before the set: one that is swapped in after this is seen by who compares.
    let judged_at = exchange.shared.hooks.version();
    if exchange.shared.hooks.load().lacks_required() {
        return answer_plugin_missing(exchange);
    }
    let has_no_body = is_head || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || upstream.is_end();
    if has_no_body {
        upstream.release();
        exchange.finish(Outcome::Ok);
        return Response::from_parts(parts, Body::full(Bytes::new()));
    }
    let content = headers::content(&parts.headers);
    let is_wanted = is_wanted(&exchange);
    let Some(reading) = settle_codings(&exchange, &mut parts, &mut upstream, is_wanted, content) else {
        tracing::warn!(server = %exchange.server.name, "the server coded an answer that a redaction policy must read in a way that cannot be undone");
        return deny_unreadable(exchange);
    };
    headers::settle_length(&mut parts.headers, upstream.size_hint().exact());
    let is_readable = !headers::has_foreign_charset(&parts.headers);
    let codings = match &reading {
        Reading::Coded(codings) => codings.as_slice(),
        Reading::Plain | Reading::Blind => &[],
    };
    if content != Content::Other && (!is_readable || matches!(reading, Reading::Blind)) {
        exchange.note_unread();
    }
    match content {
        Content::EventStream if is_readable => {
            exchange.note_stream();
            // Events may be replaced, so the length of a stream is never known.
            headers::remove(&mut parts.headers, &header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::Events(Box::new(EventBody::new(upstream, exchange, credentials, codings))))
        }
        _ if is_wanted && !is_readable => {
            tracing::warn!(server = %exchange.server.name, "the server sent an answer that a redaction policy must read in a charset other than UTF-8");
            deny_unreadable(exchange)
        }
        _ if is_wanted => redact_whole(exchange, parts, upstream, credentials.as_ref()).await,
        content => {
            let keeps_text = exchange.keeps_text();
            let is_read = content == Content::Json && is_readable && !matches!(reading, Reading::Blind);
            let tap = is_read.then(|| JsonTap::new(keeps_text).decoding(codings));
            Response::from_parts(parts, Body::Relay(Box::new(RelayBody::new(upstream, exchange, tap, judged_at))))
        }
    }
}

/// Passes OAuth metadata on, with the server's public URL in it. What is too large to be that, or no metadata after all, passes as it is.
pub(crate) async fn relay_metadata(
    mut exchange: Box<Exchange>,
    mut parts: Parts,
    mut upstream: Source,
    credentials: Option<Credentials>,
    asked: &Asked,
    place: DocumentPlace,
) -> Response<Body> {
    let size = upstream.size_hint().exact();
    // Where metadata is known to be, a chunked answer is gathered too; elsewhere it may be anything, and must not be held back.
    let is_small = size.map_or(place == DocumentPlace::WellKnown, |bytes| bytes <= MAX_METADATA_BYTES as u64);
    if !is_small || headers::is_encoded(&parts.headers) {
        return relay(exchange, parts, upstream, credentials, false).await;
    }
    match gather(&mut exchange, &mut upstream, MAX_METADATA_BYTES).await {
        // It may be gone since the head came.
        Ok(_) if exchange.shared.hooks.load().lacks_required() => answer_plugin_missing(exchange),
        Ok((body, trailers)) => {
            let host = asked.sent_host(&exchange.server);
            let rewritten = exchange.server.oauth.as_ref().and_then(|oauth| oauth.document(&body, place, host.as_ref()));
            let body = rewritten.map_or(body, Bytes::from);
            if is_wanted(&exchange) {
                return redact_document(exchange, parts, body, credentials.as_ref()).await;
            }
            headers::settle_length(&mut parts.headers, Some(body.len() as u64));
            finish_with(exchange, Response::from_parts(parts, Body::Full(WholeBody::with_trailers(body, trailers))))
        }
        Err(Gathering::TooLarge) => answer_fault(exchange, Fault::BrokenAnswer, None),
        Err(Gathering::NoRoom) => answer_fault(exchange, Fault::NoRoom, None),
        Err(Gathering::Failed(fault)) => answer_fault(exchange, fault, None),
    }
}

fn answer_plugin_missing(exchange: Box<Exchange>) -> Response<Body> {
    let id = exchange.only_id();
    answer_fault(exchange, Fault::PluginMissing, id.as_ref())
}

/// How an answer that passes is read along with.
enum Reading {
    /// As it is.
    Plain,
    /// From a decoded copy.
    Coded(Vec<Coding>),
    /// Not at all: nobody here knows its coding.
    Blind,
}

/// Has the content codings undone where a policy must read the answer, or may have to while it goes on. `None` when that cannot be.
fn settle_codings(exchange: &Exchange, parts: &mut Parts, upstream: &mut Source, is_wanted: bool, content: Content) -> Option<Reading> {
    if !parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Some(Reading::Plain);
    }
    let must_be_read = is_wanted || (content == Content::EventStream && exchange.shared.plan.load().config.expects_policies);
    let codings = match parse_codings(&parts.headers) {
        Ok(codings) => codings,
        Err(_) if must_be_read => return None,
        Err(_) => return Some(Reading::Blind),
    };
    if must_be_read {
        let cap = exchange.server.config.limits.message;
        let cap = if content == Content::EventStream { OutputCap::PerPush(cap) } else { OutputCap::Total(cap) };
        if !codings.is_empty() {
            upstream.decode(Decoder::new(&codings, cap));
            headers::remove(&mut parts.headers, &header::CONTENT_LENGTH);
        }
        headers::remove(&mut parts.headers, &header::CONTENT_ENCODING);
        return Some(Reading::Plain);
    }
    Some(if codings.is_empty() { Reading::Plain } else { Reading::Coded(codings) })
}

/// Whether a policy may want the answer, judged before its body is here.
fn is_wanted(exchange: &Exchange) -> bool {
    let hooks = exchange.shared.hooks.load();
    if hooks.redaction.is_empty() {
        return false;
    }
    let (method, name) = match exchange.operations.as_slice() {
        [only] if !only.is_ambiguous => (Some(only.method.as_str()), only.name.as_deref()),
        _ => (None, None),
    };
    hooks.redaction.wants(watchgate_hooks::Surface::Wire, Direction::ServerToClient, method, name)
}

/// Gathers the answer, runs the chain, and answers with what is left.
async fn redact_whole(
    mut exchange: Box<Exchange>,
    parts: Parts,
    mut upstream: Source,
    credentials: Option<&Credentials>,
) -> Response<Body> {
    let cap = exchange.server.config.limits.message;
    match gather(&mut exchange, &mut upstream, cap).await {
        // Trailers are shown to no policy, so none can say that they may pass.
        Ok((body, _)) => redact_document(exchange, parts, body, credentials).await,
        Err(Gathering::TooLarge) => {
            exchange.server.metrics.limited(Limit::AnswerSize);
            deny_unreadable(exchange)
        }
        // The call has run: nothing may say that it is worth another try.
        Err(Gathering::NoRoom) => {
            exchange.server.metrics.limited(Limit::HeldBytes);
            deny_unreadable(exchange)
        }
        Err(Gathering::Failed(fault)) => {
            let id = exchange.only_id();
            answer_fault(exchange, fault, id.as_ref())
        }
    }
}

/// Runs the chain on an answer that is here in full, and answers with what is left.
async fn redact_document(mut exchange: Box<Exchange>, mut parts: Parts, body: Bytes, credentials: Option<&Credentials>) -> Response<Body> {
    exchange.note_answered();
    headers::remove(&mut parts.headers, &header::TRAILER);
    if headers::is_foreign_text(&parts.headers, &body) {
        tracing::warn!(server = %exchange.server.name, "the server sent an answer that a redaction policy must read and that is not UTF-8");
        return deny_unreadable(exchange);
    }
    let scanned = scan_in_turns(&body).await;
    let subject = Subject {
        body: body.clone(),
        direction: Direction::ServerToClient,
        server: exchange.server.name.clone(),
        items: scanned.envelopes.iter().map(|envelope| item(envelope, &exchange)).collect(),
        is_batch: scanned.is_batch,
        headers: Vec::new(),
    };
    let hooks = exchange.shared.hooks.load_full();
    if hooks.lacks_required() {
        // It has gone while the answer came.
        return answer_plugin_missing(exchange);
    }
    let begun = Instant::now();
    let mut calls = Vec::new();
    let redacted = subject.redact(&hooks, &mut calls).await;
    exchange.note_plugins(begun.elapsed(), Direction::ServerToClient, calls);
    let keeps_text = exchange.keeps_text();
    let (body, envelopes) = match redacted {
        Redacted::Same => (body, scanned.envelopes),
        Redacted::Changed(changed, _) => {
            let rescanned = scan_in_turns(&changed).await;
            (changed, rescanned.envelopes)
        }
        Redacted::Denied(denial) => {
            let error_id = ErrorId::next();
            log_denial(&denial, &exchange.server.name, Direction::ServerToClient, &error_id);
            for asked in scanned.envelopes.iter().filter(|envelope| envelope.kind == MessageKind::Request) {
                if let (Some(id), Some(credentials)) = (&asked.id, credentials) {
                    credentials.refuse(&exchange.shared, &exchange.server, id.clone(), &error_id);
                }
            }
            return deny_answer(exchange, parts, &scanned, &error_id);
        }
    };
    headers::settle_length(&mut parts.headers, Some(body.len() as u64));
    let mut text = (keeps_text && !scanned.is_batch).then(|| kept_text(&body));
    for envelope in envelopes {
        exchange.server_message(envelope, text.take());
    }
    finish_with(exchange, Response::from_parts(parts, Body::full(body)))
}

/// The server's rows of the table of denials for answers that are documents.
fn deny_answer(mut exchange: Box<Exchange>, mut parts: Parts, scanned: &Scanned, error_id: &ErrorId) -> Response<Body> {
    let answers: Vec<&Option<RequestId>> =
        scanned.envelopes.iter().filter(|envelope| envelope.is_answer()).map(|envelope| &envelope.id).collect();
    if answers.is_empty() {
        let id = exchange.only_id();
        exchange.note_fault(Fault::DeniedAnswer, error_id);
        return finish_own(exchange, Fault::DeniedAnswer.response(id.as_ref(), error_id));
    }
    let mut errors = Vec::with_capacity(answers.len());
    for id in answers {
        exchange.note_denied(id.as_ref(), error_id);
        errors.push(fault::denial(id.as_ref(), error_id));
    }
    let body = match errors.as_slice() {
        [only] if !scanned.is_batch => only.clone(),
        _ => join_array(&errors),
    };
    headers::settle_length(&mut parts.headers, Some(body.len() as u64));
    finish_with(exchange, Response::from_parts(parts, Body::full(body.into())))
}

/// An answer that cannot be looked at does not pass.
fn deny_unreadable(exchange: Box<Exchange>) -> Response<Body> {
    let id = exchange.only_id();
    answer_fault(exchange, Fault::DeniedAnswer, id.as_ref())
}

enum Gathering {
    TooLarge,
    /// It does not fit beside what else is held.
    NoRoom,
    Failed(Fault),
}

async fn gather(exchange: &mut Exchange, upstream: &mut Source, cap: usize) -> Result<(Bytes, Option<HeaderMap>), Gathering> {
    let mut patience = Patience::new(exchange.server.config.timeouts.idle);
    let (mut gathered, mut turns) = (Pieces::default(), Turns::default());
    let mut trailers = None;
    let mut reservation = Reservation::default();
    loop {
        let frame = poll_fn(|context| match upstream.poll_frame(context) {
            std::task::Poll::Ready(frame) => std::task::Poll::Ready(Ok(frame)),
            std::task::Poll::Pending => patience.poll_over(context).map(|()| {
                upstream.give_up();
                exchange.note_cause(Some(UpstreamCause::Timeout));
                Err(Gathering::Failed(Fault::SilentAnswer))
            }),
        })
        .await?;
        patience.note_progress();
        let data = match frame {
            None => break,
            Some(Err(SourceError::Decode(DecodeError::TooLarge))) => return Err(Gathering::TooLarge),
            Some(Err(error)) => {
                exchange.note_cause(error.cause());
                return Err(Gathering::Failed(Fault::BrokenAnswer));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => data,
                Err(frame) => {
                    trailers = frame.into_trailers().ok();
                    continue;
                }
            },
        };
        let length = gathered.len() + data.len();
        if length > cap {
            return Err(Gathering::TooLarge);
        }
        reservation.grow(&exchange.shared.held, exchange.client_ip(), length).map_err(|NoRoom| Gathering::NoRoom)?;
        let bytes = data.len();
        gathered.push(data, upstream.size_hint().lower());
        if upstream.is_end() {
            break;
        }
        turns.note(bytes).await;
    }
    Ok((reservation.bind(gathered.into_bytes()), trailers))
}
