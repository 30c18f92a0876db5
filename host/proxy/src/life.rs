//! The life of one exchange: route, read, inspect, redact, forward, relay, finish (`docs/life-of-a-request.md`).

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use watchgate_hooks::Surface;
use watchgate_mcp::{Direction, Envelope, MessageKind, Outcome, RequestId};
use watchgate_telemetry::UpstreamCause;
use watchgate_telemetry::log::{in_context, within_context};

use crate::admission::{admit, answer_within_limits, body_within_limits, head_within_limits, is_preflight};
use crate::answer;
use crate::answer_head::{self, Asked};
use crate::body::Body;
use crate::breaker::Attempt;
use crate::client_address::client_ip;
use crate::client_connection::Caller;
use crate::error_id::ErrorId;
use crate::event_redaction::{join_array, log_denial};
use crate::exchange::Exchange;
use crate::fault::{self, Fault};
use crate::forward::forward;
use crate::headers;
use crate::operation::kept_text;
use crate::presence::Busy;
use crate::read::{Bounds, Gathered, gather};
use crate::ready::Ready;
use crate::redact::{Item, Redacted, Subject};
use crate::refusal::Credentials;
use crate::route::{requested_host, route};
use crate::scan::{Scanned, scan_in_turns};
use crate::server::{Server, Shared};

/// Bytes of a request over a limit that are read for its id.
const REFUSED_CAP: usize = 64 << 10;

/// What the request steps decided.
enum Next {
    /// On to the server.
    Forward(Ready),
    /// The gateway answers.
    Answer(Response<Body>),
}

/// Serves one request. Never fails: whatever goes wrong becomes an answer. `busy` is held until its exchange is over.
pub(crate) async fn serve(shared: Arc<Shared>, caller: Caller, busy: Option<Busy>, request: Request<Incoming>) -> Response<Body> {
    let (mut parts, mut incoming) = request.into_parts();
    let plan = shared.plan.load_full();
    let routed = route(plan.servers.iter().map(|server| (&server.config, &server.mounting)), requested_host(&parts), &parts.uri);
    let server = routed.as_ref().map_or(&shared.nowhere, |(index, _)| &plan.servers[*index]).clone();
    let client = client_ip(&plan.config.clients, caller.address.ip(), &parts.headers);
    let client = Caller { address: SocketAddr::new(client, caller.address.port()), ..caller };
    let target = routed.as_ref().map(|(_, target)| target);
    let mut exchange = Exchange::begin(&shared, &server, &parts, target, client, plan.config.propagation.request_ids);
    exchange.hold_connection(busy);
    if let Err(turned_away) = admit(&shared, &plan, &mut exchange, &mut parts, &mut incoming, routed.as_ref()).await {
        let mut response = fault_response(&mut exchange, turned_away.fault, None);
        close_behind(&mut response, !incoming.is_end_stream());
        if let Some(challenge) = turned_away.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        return finish_own(exchange, response);
    }
    if parts.method == Method::CONNECT || headers::has_foreign_transfer_coding(&parts.headers) {
        return answer_unread(exchange, Fault::Unsupported, !incoming.is_end_stream());
    }
    if parts.headers.len() > plan.limits().headers {
        // Over HTTP/1.1 the connection has refused it already.
        return answer_unread(exchange, Fault::TooManyHeaders, !incoming.is_end_stream());
    }
    let refused = if routed.is_some() { head_within_limits(&mut exchange, &parts).err() } else { None };
    let may_discard = !parts.headers.contains_key(header::EXPECT);
    // Of what is refused only as much is read as it takes to know whose answer that is.
    let cap = if refused.is_some() { server.config.limits.message.min(REFUSED_CAP) } else { server.config.limits.message };
    let bounds = Bounds { cap, time: plan.timeouts().client_body, may_discard, held: &shared.held, client: exchange.client_ip() };
    let Gathered { body, trailers } = match gather(incoming, bounds).await {
        Ok(gathered) => gathered,
        Err(fault) => {
            exchange.note_broken_off();
            return answer_unread(exchange, refused.unwrap_or(fault), true);
        }
    };
    let Some((index, target)) = routed else {
        let id = only_request_id(&scan_in_turns(&body).await);
        return answer_fault(exchange, Fault::NoRoute, id.as_ref());
    };
    exchange.note_read(body.len());
    let scanned = if body.is_empty() { Scanned::default() } else { scan_in_turns(&body).await };
    if let Some(fault) = refused.or_else(|| body_within_limits(&mut exchange, &parts, &scanned).err()) {
        let id = only_request_id(&scanned);
        note_client_requests(&mut exchange, scanned);
        return answer_fault(exchange, fault, id.as_ref());
    }
    if let Some(resource) = &plan.resources[index] {
        if let Some(metadata) = resource.answer(&parts.method, target.path()) {
            return finish_own(exchange, fault::json(StatusCode::OK, metadata));
        }
        if is_preflight(&parts) && resource.answer(&Method::GET, target.path()).is_some() {
            return finish_own(exchange, metadata_may_be_asked_for(&parts.headers));
        }
    }
    if let Some(trace) = &mut exchange.trace {
        trace.take_meta(&shared.telemetry, &server.name, client.address.ip(), &body, &scanned.envelopes);
    }
    // What plugins and this room say from here on, they say of this exchange.
    let context = exchange.log_context();
    // Pinned where it is: it is large, and moving it would cost more than all else that the context does.
    let steps = pin!(async {
        match request_steps(&shared, &mut exchange, Ready { parts, body, trailers, target, plan, caller }, scanned).await {
            Next::Answer(response) => finish_own(exchange, response),
            Next::Forward(ready) => exchange_with_server(&shared, &server, exchange, ready).await,
        }
    });
    in_context(context, steps).await
}

/// The answer to a browser that asks whether a page may ask for metadata with some headers (Fetch standard, 3.2): they are for everybody.
fn metadata_may_be_asked_for(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    if let Some(headers) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
    }
    response
}

/// The id of a body that is one request.
fn only_request_id(scanned: &Scanned) -> Option<RequestId> {
    match scanned.envelopes.as_slice() {
        [only] if !scanned.is_batch && only.kind == MessageKind::Request => only.id.clone(),
        _ => None,
    }
}

/// `redact` of the request.
async fn request_steps(shared: &Arc<Shared>, exchange: &mut Exchange, mut ready: Ready, scanned: Scanned) -> Next {
    let hooks = shared.hooks.load_full();
    if hooks.lacks_required() {
        let id = only_request_id(&scanned);
        note_client_requests(exchange, scanned);
        return Next::Answer(fault_response(exchange, Fault::PluginMissing, id.as_ref()));
    }
    if !hooks.redaction.wants(Surface::Wire, Direction::ClientToServer, None, None) {
        let text = shared.keeps_text_of(&scanned).then(|| kept_text(&ready.body));
        note_client_messages(exchange, scanned, text);
        return Next::Forward(ready);
    }
    let mirrored = headers::mirrored(&ready.parts.headers);
    // Trailers are shown to nobody, so nobody could say that they may pass.
    ready.drop_trailers();
    // A body in another coding or charset hides from every policy what it says, and so does a header that does not decode. Headers
    // that mirror one message say nothing sensible of a batch.
    let is_readable = ready.body.is_empty()
        || !(headers::is_encoded(&ready.parts.headers) || headers::is_foreign_text(&ready.parts.headers, &ready.body));
    let mirrored = match mirrored {
        Ok(mirrored) if is_readable && (mirrored.is_empty() || !scanned.is_batch) => mirrored,
        // The answer that the server would have to give (2026-07-28, Streamable HTTP, "Header validation").
        Err(_) if is_readable && headers::is_modern(&ready.parts.headers) => {
            let id = only_request_id(&scanned);
            note_client_requests(exchange, scanned);
            return Next::Answer(fault_response(exchange, Fault::HeaderMismatch, id.as_ref()));
        }
        _ if is_readable => {
            let error_id = ErrorId::next();
            tracing::warn!(server = %exchange.server.name, error_id = error_id.as_str(), "message denied: its headers cannot be read");
            return deny_request(exchange, scanned, ready, &error_id);
        }
        _ => return Next::Answer(fault_response(exchange, Fault::DeniedRequest, None)),
    };
    if ready.body.is_empty() && mirrored.is_empty() {
        return Next::Forward(ready);
    }
    let subject = Subject {
        body: ready.body.clone(),
        direction: Direction::ClientToServer,
        server: exchange.server.name.clone(),
        items: scanned.envelopes.iter().map(|envelope| client_item(envelope, exchange)).collect(),
        is_batch: scanned.is_batch,
        headers: mirrored,
    };
    let redacted = if subject.is_wanted(&hooks) {
        let begun = Instant::now();
        let mut calls = Vec::new();
        let redacted = subject.redact(&hooks, &mut calls).await;
        exchange.note_plugins(begun.elapsed(), Direction::ClientToServer, calls);
        redacted
    } else {
        Redacted::Same
    };
    match redacted {
        Redacted::Same => {
            let text = shared.keeps_text_of(&scanned).then(|| kept_text(&ready.body));
            note_client_messages(exchange, scanned, text);
            Next::Forward(ready)
        }
        Redacted::Changed(body, headers) => {
            if headers.is_some_and(|headers| headers::write_mirrored(&mut ready.parts.headers, &headers).is_err()) {
                note_client_requests(exchange, scanned);
                return Next::Answer(fault_response(exchange, Fault::DeniedRequest, None));
            }
            let rescanned = scan_in_turns(&body).await;
            let text = shared.keeps_text_of(&rescanned).then(|| kept_text(&body));
            note_client_messages(exchange, rescanned, text);
            ready.body = body;
            Next::Forward(ready)
        }
        Redacted::Denied(denial) => {
            let error_id = ErrorId::next();
            log_denial(&denial, &exchange.server.name, Direction::ClientToServer, &error_id);
            deny_request(exchange, scanned, ready, &error_id)
        }
    }
}

/// The item of a client's message; an answer takes method and name from the server's request.
fn client_item(envelope: &Envelope, exchange: &Exchange) -> Item {
    let asked = match (envelope.is_answer(), exchange.session, &envelope.id) {
        (true, Some(session), Some(id)) => exchange.shared.pending.peek(session, Direction::ServerToClient, id),
        _ => None,
    };
    Item::new(envelope, asked)
}

fn note_client_messages(exchange: &mut Exchange, scanned: Scanned, text: Option<Bytes>) {
    let mut text = text.filter(|_| !scanned.is_batch);
    for envelope in scanned.envelopes {
        exchange.client_message(envelope, text.take());
    }
}

/// Notes requests and notifications that go no further; answers to the server leave its requests open.
fn note_client_requests(exchange: &mut Exchange, scanned: Scanned) {
    for envelope in scanned.envelopes.into_iter().filter(|envelope| !envelope.is_answer()) {
        exchange.client_message(envelope, None);
    }
}

/// The client's rows of the table of denials (`docs/life-of-a-request.md`).
fn deny_request(exchange: &mut Exchange, scanned: Scanned, mut ready: Ready, error_id: &ErrorId) -> Next {
    let is_batch = scanned.is_batch;
    if scanned.envelopes.is_empty() {
        exchange.note_fault(Fault::DeniedRequest, error_id);
        return Next::Answer(Fault::DeniedRequest.response(None, error_id));
    }
    let mut to_client = Vec::new();
    let mut to_server = Vec::new();
    for envelope in &scanned.envelopes {
        match envelope.kind {
            MessageKind::Request => to_client.push(fault::denial(envelope.id.as_ref(), error_id)),
            MessageKind::Result | MessageKind::Error => {
                exchange.deny_client_answer(envelope.id.as_ref());
                to_server.push((envelope.id.clone(), fault::denial(envelope.id.as_ref(), error_id)));
            }
            MessageKind::Notification | MessageKind::Invalid => {}
        }
    }
    note_client_requests(exchange, scanned);
    exchange.deny_all(error_id);
    if to_client.is_empty() && !to_server.is_empty() {
        let bodies: Vec<Vec<u8>> = to_server.into_iter().map(|(_, body)| body).collect();
        ready.body = if is_batch { join_array(&bodies) } else { bodies.concat() }.into();
        // They mirror what was denied, or are what was.
        headers::remove_mirrored(&mut ready.parts.headers);
        return Next::Forward(ready);
    }
    if !to_server.is_empty() {
        let credentials = Credentials::capture(&ready.into_outgoing(&exchange.server, exchange.session));
        for id in to_server.into_iter().filter_map(|(id, _)| id) {
            credentials.refuse(&exchange.shared, &exchange.server, id, error_id);
        }
    }
    Next::Answer(match to_client.as_slice() {
        [] => accepted(),
        [only] if !is_batch => fault::json(StatusCode::OK, only.clone().into()),
        _ => fault::json(StatusCode::OK, join_array(&to_client).into()),
    })
}

fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::new()));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// `forward`, then `relay`.
async fn exchange_with_server(shared: &Arc<Shared>, server: &Arc<Server>, mut exchange: Box<Exchange>, ready: Ready) -> Response<Body> {
    let id = exchange.only_id();
    // Only a session or a stream of its own can bring requests of the server, and only a policy can have them refused.
    let may_be_asked = ready.plan.config.expects_policies
        && (exchange.session.is_some()
            || ready.parts.method == Method::GET
            || exchange.operations.iter().any(|operation| operation.known_method() == Some("initialize")));
    let asked = Asked::of(&ready);
    let propagation = ready.plan.config.propagation;
    let mut outgoing = ready.into_outgoing(server, exchange.session);
    outgoing.opens_stream |= exchange.asks_to_listen();
    exchange.id.tell_server(&mut outgoing.headers);
    if let Some(trace) = &exchange.trace {
        trace.propagate(propagation, &mut outgoing, exchange.operations.len() == 1);
    }
    let credentials = may_be_asked.then(|| Credentials::capture(&outgoing));
    exchange.note_forwarded();
    let mut answered = match forward(shared, server, outgoing, exchange.notes()).await {
        Err(fault) => return answer_fault(exchange, fault, id.as_ref()),
        Ok(answered) => answered,
    };
    if let Err(fault) = answer_within_limits(&mut exchange, &asked.method, answered.response.headers()) {
        return answer_fault(exchange, fault, id.as_ref());
    }
    // Nobody asked for 101, and hyper deals with the others of 1xx. On a transfer coding only this connection's two ends could agree: the client would get
    // bytes that nobody can read, policies included.
    if answered.response.status().is_informational() || headers::has_foreign_transfer_coding(answered.response.headers()) {
        answered.lease.settle(Attempt::Failed);
        exchange.note_cause(Some(UpstreamCause::NotHttp));
        return answer_fault(exchange, Fault::BrokenAnswer, id.as_ref());
    }
    let is_head = asked.method == Method::HEAD;
    let (parts, source, credentials) = answer_head::take(&mut exchange, answered, &asked, credentials);
    let metadata = asked.metadata(server, &parts);
    match metadata {
        None => answer::relay(exchange, parts, source, credentials, is_head).await,
        Some(place) => Box::pin(answer::relay_metadata(exchange, parts, source, credentials, &asked, place)).await,
    }
}

/// Notes a fault of the gateway and makes its answer.
pub(crate) fn fault_response(exchange: &mut Exchange, fault: Fault, id: Option<&RequestId>) -> Response<Body> {
    let error_id = ErrorId::next();
    say_fault(exchange, fault, &error_id);
    exchange.note_fault(fault, &error_id);
    fault.response(id, &error_id)
}

/// Says it, unless too many were said. Clients make as many mistakes as they like: those have a bound of their own.
fn say_fault(exchange: &Exchange, fault: Fault, error_id: &ErrorId) {
    let [of_clients, others] = &exchange.shared.fault_lines;
    let lines = if fault.blame() == "client" { of_clients } else { others };
    let Some(unsaid) = lines.admit(Instant::now()) else { return };
    let sent = exchange.sent();
    within_context(exchange.log_context(), || {
        tracing::warn!(
            server = %exchange.server.name, reason = fault.reason(), status = fault.status().as_u16(), error_id = error_id.as_str(),
            endpoint = sent.endpoint.as_deref(), cause = sent.cause.map(UpstreamCause::as_str), unsaid = (unsaid > 0).then_some(unsaid), "answered by the gateway"
        );
    });
}

/// Ends an exchange with a fault.
pub(crate) fn answer_fault(mut exchange: Box<Exchange>, fault: Fault, id: Option<&RequestId>) -> Response<Body> {
    let response = fault_response(&mut exchange, fault, id);
    finish_own(exchange, response)
}

/// The same for a request whose body may not be here in full.
fn answer_unread(mut exchange: Box<Exchange>, fault: Fault, is_unread: bool) -> Response<Body> {
    let mut response = fault_response(&mut exchange, fault, None);
    close_behind(&mut response, is_unread);
    finish_own(exchange, response)
}

/// What follows an unread body on its connection cannot be found: the client is told not to ask there again.
fn close_behind(response: &mut Response<Body>, is_unread: bool) {
    if is_unread {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Ends an exchange with an answer that is the gateway's own from its head on.
pub(crate) fn finish_own(exchange: Box<Exchange>, mut response: Response<Body>) -> Response<Body> {
    exchange.write_cors(response.headers_mut());
    finish_with(exchange, response)
}

/// Ends an exchange with a body that is here in full.
pub(crate) fn finish_with(mut exchange: Box<Exchange>, mut response: Response<Body>) -> Response<Body> {
    exchange.write_ids(response.headers_mut());
    exchange.status = response.status().as_u16();
    if let Body::Full(whole) = response.body() {
        exchange.response_bytes = whole.len() as u64;
    }
    exchange.finish(Outcome::Ok);
    response
}
