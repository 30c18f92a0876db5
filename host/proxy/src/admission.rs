//! Who may ask, and how much: the guard and the gate for clients before a request is read; the limits of its server by its head, its body, and the answer.

use std::time::Instant;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, header};
use hyper::body::{Body as _, Incoming};
use watchgate_mcp::method::SUBSCRIPTIONS_LISTEN;
use watchgate_mcp::{Envelope, MessageKind, header as mcp_header};
use watchgate_telemetry::{GuardRefusal, GuardRefused};

use crate::auth::{Verdict, challenge};
use crate::config::AuthConfig;
use crate::exchange::Exchange;
use crate::fault::{Fault, RetryAfter};
use crate::guard::Stranger;
use crate::headers::{self, Content};
use crate::oauth::ProtectedResource;
use crate::rate::RateSubject;
use crate::read::discard_little;
use crate::scan::Scanned;
use crate::server::{Plan, Shared};
use crate::server_config::RateKey;

/// Why a request is not read.
pub(crate) struct TurnedAway {
    pub(crate) fault: Fault,
    /// `WWW-Authenticate`.
    pub(crate) challenge: Option<HeaderValue>,
}

/// The guard and the gate. What the client goes on sending is thrown away, as far as that is little: closing on it would reset the
/// connection before it has read the answer.
pub(crate) async fn admit(
    shared: &Shared,
    plan: &Plan,
    exchange: &mut Exchange,
    parts: &mut Parts,
    incoming: &mut Incoming,
    routed: Option<&(usize, PathAndQuery)>,
) -> Result<(), TurnedAway> {
    let result = judge(shared, plan, exchange, parts, incoming, routed).await;
    // Reading would tell a client that waits for `100 Continue` to send what nobody wants.
    if result.is_err() && !parts.headers.contains_key(header::EXPECT) {
        discard_little(incoming).await;
    }
    result
}

async fn judge(
    shared: &Shared,
    plan: &Plan,
    exchange: &mut Exchange,
    parts: &mut Parts,
    incoming: &Incoming,
    routed: Option<&(usize, PathAndQuery)>,
) -> Result<(), TurnedAway> {
    // Two fields of `Host` show the guard another name than the server (RFC 9112, 3.2).
    let one_host = parts.headers.get_all(header::HOST).iter().nth(1).is_none();
    let checked = if one_host { plan.guard.check(parts) } else { Err(Stranger::Host) };
    if let Err(stranger) = checked {
        let (reason, fault) = match stranger {
            Stranger::Host => (GuardRefusal::Host, Fault::ForeignHost),
            Stranger::Origin => (GuardRefusal::Origin, Fault::ForeignOrigin),
        };
        shared.telemetry.emit(GuardRefused { reason });
        return Err(TurnedAway { fault, challenge: None });
    }
    exchange.note_origin(parts.headers.get(header::ORIGIN));
    let (Some(auth), Some(authenticator)) = (&plan.config.auth, &plan.authenticator) else { return Ok(()) };
    // A browser asks whether it may ask without showing any key, and learns nothing but that. What has a body asks for more.
    let asks_nothing = incoming.is_end_stream();
    let is_open = || is_preflight(parts) || is_metadata(&parts.method, routed.map_or(parts.uri.path(), |(_, target)| target.path()));
    if asks_nothing && is_open() {
        keep_from_server(auth, parts);
        return Ok(());
    }
    let verdict = authenticator.check(&parts.headers).await;
    exchange.server.metrics.authenticated(verdict.result());
    let name = match verdict {
        Verdict::Known(name) => name,
        verdict => {
            exchange.note_turned_away(verdict.result());
            let resource = routed.and_then(|(index, _)| plan.resources[*index].as_ref());
            let challenge = challenge(&verdict, resource.map(ProtectedResource::url));
            return Err(TurnedAway { fault: Fault::Unauthorized, challenge: Some(challenge) });
        }
    };
    exchange.note_client(name);
    keep_from_server(auth, parts);
    Ok(())
}

/// What was shown to the gate is none of the server's business.
fn keep_from_server(auth: &AuthConfig, parts: &mut Parts) {
    if !auth.pass_authorization {
        headers::remove(&mut parts.headers, &header::AUTHORIZATION);
    }
}

/// What a server says of itself to everybody (RFC 8615), so that clients learn where to get a token. `path` is what it would be asked for; one that
/// it might read as a way out of there is not let through.
fn is_metadata(method: &Method, path: &str) -> bool {
    let is_plain = |path: &str| !path.contains("..") && !path.contains(['%', '\\']);
    matches!(*method, Method::GET | Method::HEAD) && path.strip_prefix("/.well-known/").is_some_and(is_plain)
}

/// A CORS preflight (Fetch standard, 4.8).
pub(crate) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The limits of the exchange's server, as far as a request's head tells: what is refused need not be held in memory.
pub(crate) fn head_within_limits(exchange: &mut Exchange, parts: &Parts) -> Result<(), Fault> {
    // A browser's question whether it may ask is not what the limits are about, and shows no key to count it by.
    if is_preflight(parts) {
        return Ok(());
    }
    charge(exchange, parts, 1)?;
    if accepts_events(parts) {
        return take_stream(exchange);
    }
    // Only a look: a client that had its place from here on would keep it for as long as it likes to send. What may be a stream shows it by its body.
    if exchange.server.concurrency.is_full() && !headers::claims_to_listen(&parts.headers) {
        return Err(Fault::Saturated);
    }
    Ok(())
}

/// The limits that take the body to judge: what it asks, and not what the head says that it asks, says how it counts.
pub(crate) fn body_within_limits(exchange: &mut Exchange, parts: &Parts, scanned: &Scanned) -> Result<(), Fault> {
    // The first was charged by the head, unless that looked like a question of a browser.
    let charged = u32::from(!is_preflight(parts));
    if scanned.elements > charged {
        charge(exchange, parts, scanned.elements - charged)?;
    } else if charged == 0 {
        return Ok(());
    }
    // What is a stream by its nature goes on for hours: it is counted by client, and not among the exchanges.
    if accepts_events(parts) {
        return Ok(());
    }
    if is_listen(parts, scanned) {
        return take_stream(exchange);
    }
    if exchange.server.config.limits.concurrency.is_some() {
        exchange.hold_slot(exchange.server.concurrency.try_take().ok_or(Fault::Saturated)?);
    }
    Ok(())
}

/// A `GET` that did not say what it wants, and is answered by an event stream, is one of the client's streams from here on.
pub(crate) fn answer_within_limits(exchange: &mut Exchange, method: &Method, answer: &HeaderMap) -> Result<(), Fault> {
    if *method != Method::GET || exchange.holds_stream() || headers::content(answer) != Content::EventStream {
        return Ok(());
    }
    take_stream(exchange)?;
    exchange.release_slot();
    Ok(())
}

/// Takes so many tokens of whom the request counts by.
fn charge(exchange: &Exchange, parts: &Parts, requests: u32) -> Result<(), Fault> {
    let server = &exchange.server;
    let (Some(rate), Some(limiter)) = (&server.config.limits.rate, &server.rate) else { return Ok(()) };
    let value = match &rate.by {
        RateKey::Address => None,
        RateKey::Header(name) => parts.headers.get(name).map(HeaderValue::as_bytes),
        // An id that no server has answered to could be a new one each time.
        RateKey::Session => exchange
            .session
            .filter(|session| server.sessions.is_known(*session))
            .and_then(|_| parts.headers.get(mcp_header::MCP_SESSION_ID).map(HeaderValue::as_bytes)),
        RateKey::Client => exchange.client_name().map(str::as_bytes),
    };
    let subject = value.map_or(RateSubject::Address(exchange.client_ip()), RateSubject::Value);
    limiter.check(subject, requests, Instant::now()).map_err(|wait| Fault::RateLimited(RetryAfter::new(wait)))
}

/// Whether a request asks for a stream by its head alone: a `GET` for events.
fn accepts_events(parts: &Parts) -> bool {
    parts.method == Method::GET && headers::accepts_events(&parts.headers)
}

/// Whether a body is one `subscriptions/listen` and nothing else, however its receiver reads it.
fn is_listen(parts: &Parts, scanned: &Scanned) -> bool {
    let is_one =
        |only: &Envelope| only.kind == MessageKind::Request && !only.is_ambiguous && only.method_str() == Some(SUBSCRIPTIONS_LISTEN);
    parts.method == Method::POST && !scanned.is_batch && matches!(scanned.envelopes.as_slice(), [only] if is_one(only))
}

fn take_stream(exchange: &mut Exchange) -> Result<(), Fault> {
    if exchange.server.config.limits.streams_per_client.is_some() {
        exchange.hold_stream(exchange.server.streams.try_take(exchange.client_ip()).ok_or(Fault::TooManyStreams)?);
    }
    Ok(())
}
