//! Who may ask, and how much: the guard and the gate for clients before a request is read, the limits of its server after.

use std::net::IpAddr;
use std::time::Instant;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, header};
use hyper::body::Incoming;
use watchgate_mcp::header as mcp_header;
use watchgate_mcp::method::SUBSCRIPTIONS_LISTEN;
use watchgate_telemetry::{GuardRefusal, GuardRefused, Limit};

use crate::auth::{Verdict, challenge};
use crate::config::AuthConfig;
use crate::exchange::Exchange;
use crate::fault::{Fault, RetryAfter};
use crate::guard::Stranger;
use crate::headers;
use crate::oauth::ProtectedResource;
use crate::rate::RateSubject;
use crate::read::discard_little;
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
    let result = judge(shared, plan, exchange, parts, routed).await;
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
    // A browser asks whether it may ask without showing any key, and learns nothing but that.
    if is_preflight(parts) || is_metadata(&parts.method, routed.map_or(parts.uri.path(), |(_, target)| target.path())) {
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

/// The limits of the exchange's server, judged by the request's head: what is refused need not be held in memory.
pub(crate) fn within_limits(exchange: &mut Exchange, parts: &Parts, client: IpAddr) -> Result<(), Fault> {
    // A browser's question whether it may ask is not what the limits are about, and shows no key to count it by.
    if is_preflight(parts) {
        return Ok(());
    }
    let server = exchange.server.clone();
    if let (Some(rate), Some(limiter)) = (&server.config.limits.rate, &server.rate) {
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
        let subject = value.map_or(RateSubject::Address(client), RateSubject::Value);
        if let Err(wait) = limiter.check(subject, Instant::now()) {
            server.metrics.limited(Limit::Rate);
            return Err(Fault::RateLimited(RetryAfter::new(wait)));
        }
    }
    // What is a stream by its nature goes on for hours: it is counted by client, and not among the exchanges.
    if is_stream(parts) {
        return take_stream(exchange);
    }
    if server.config.limits.concurrency.is_some() {
        let Some(slot) = server.concurrency.try_take() else {
            server.metrics.limited(Limit::Concurrency);
            return Err(Fault::Saturated);
        };
        exchange.hold_slot(slot);
    }
    Ok(())
}

/// Whether a request opens a stream that ends when its client wants it: a GET stream, or `subscriptions/listen`, which its header tells of.
fn is_stream(parts: &Parts) -> bool {
    if parts.method == Method::GET {
        let accepts = parts.headers.get_all(header::ACCEPT).iter();
        return accepts.filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/event-stream"));
    }
    parts.headers.get(mcp_header::MCP_METHOD).is_some_and(|method| method == SUBSCRIPTIONS_LISTEN)
}

fn take_stream(exchange: &mut Exchange) -> Result<(), Fault> {
    let server = exchange.server.clone();
    if server.config.limits.streams_per_client.is_some() {
        let Some(stream) = server.streams.try_take(exchange.client_ip()) else {
            server.metrics.limited(Limit::Streams);
            return Err(Fault::TooManyStreams);
        };
        exchange.hold_stream(stream);
    }
    Ok(())
}
