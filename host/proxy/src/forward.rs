//! `forward`: one request to one of the server's endpoints, on an open connection or a fresh one; tried again only where it never left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use tokio::time::timeout_at;
use watchgate_telemetry::{EndpointResult, InFlightGuard};

use crate::balancer::Outstanding;
use crate::breaker::{Admitted, Attempt};
use crate::client_address::host_for;
use crate::connect::connect;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::server::{Server, Shared};
use crate::trace_notes::{AttemptNote, TraceNotes};
use crate::tries::Tries;
use crate::upstream_connection::{Carrier, SendFailure};
use crate::whole_body::WholeBody;

/// A request on its way to a server.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    /// `Host` in it is written anew for each endpoint.
    pub(crate) headers: HeaderMap,
    /// The `Host` that the client sent.
    pub(crate) client_host: Option<HeaderValue>,
    pub(crate) body: WholeBody,
    /// The endpoint that it must go to, by its place among the server's.
    pub(crate) only: Option<usize>,
}

/// The head of an answer, and what its body comes on.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) carrier: Carrier,
    pub(crate) lease: Lease,
}

/// An endpoint that is busy with an exchange, until this is dropped.
pub(crate) struct Lease {
    pub(crate) endpoint: Arc<Endpoint>,
    _outstanding: Outstanding,
    _in_flight: InFlightGuard,
}

/// Why an attempt brought no head.
enum Failure {
    /// The request never left: there was no connection, or not one byte was written.
    Unsent(Box<Request<WholeBody>>, Fault, Attempt),
    /// The server may have seen it.
    Final(Fault),
}

/// What is noted of an exchange while it is forwarded.
#[derive(Default)]
pub(crate) struct Notes<'a> {
    pub(crate) trace: Option<&'a mut TraceNotes>,
    /// How often the request was tried.
    pub(crate) attempts: u32,
}

/// Sends the request and waits for the head of the answer.
pub(crate) async fn forward(shared: &Shared, server: &Server, outgoing: Outgoing, notes: &mut Notes<'_>) -> Result<Answered, Fault> {
    let begun = tokio::time::Instant::now();
    let deadline = begun + server.config.timeouts.head;
    let Outgoing { method, target, headers, client_host, body, only } = outgoing;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    let to = Target { path: target, client_host };
    server.retries.note_request(Instant::now());
    let mut tries = Tries::new(shared, server, only, begun, deadline);
    loop {
        let (endpoint, admitted) = choose(server, only, tries.tried()).map_err(|fault| tries.refused(fault))?;
        let unsettled = Unsettled { endpoint: endpoint.clone(), admitted: Some(admitted) };
        let lease = Lease { _outstanding: endpoint.health.begin(), _in_flight: endpoint.metrics.in_flight(), endpoint };
        tries.begin();
        notes.attempts = tries.count();
        if let Some(trace) = &mut notes.trace {
            trace.begin_attempt(&lease.endpoint);
        }
        let connect_timeout = tries.connect_timeout(lease.endpoint.index);
        let attempt = Attempting { shared, server, endpoint: &lease.endpoint, to: &to, connect_timeout, deadline };
        let result = attempt.run(request, notes.trace.as_deref_mut()).await;
        if let Some(attempt) = notes.trace.as_deref_mut().and_then(TraceNotes::attempt) {
            note_attempt(attempt, &result);
        }
        match result {
            Ok((response, carrier)) => {
                note(server, unsettled, if is_trouble(response.status()) { Attempt::Failed } else { Attempt::Ok });
                return Ok(Answered { response, carrier, lease });
            }
            Err(Failure::Final(fault)) => {
                note(server, unsettled, Attempt::Failed);
                return Err(fault);
            }
            Err(Failure::Unsent(unsent, fault, kind)) => {
                let Some(wait) = tries.next_after(lease.endpoint.index, fault) else {
                    note(server, unsettled, kind);
                    return Err(fault);
                };
                if wait.is_zero() {
                    note(server, unsettled, kind);
                } else {
                    unsettled.forgive(kind);
                }
                // It is not busy while nothing is asked of it.
                drop(lease);
                if !tries.wait(wait).await {
                    return Err(fault);
                }
                request = *unsent;
            }
        }
    }
}

fn note_attempt(attempt: &mut AttemptNote, result: &Result<(Response<Incoming>, Carrier), Failure>) {
    match result {
        // It goes on until the last byte of the answer.
        Ok((response, carrier)) => {
            attempt.status = Some(response.status().as_u16());
            attempt.is_http2 = matches!(carrier, Carrier::Http2(_));
        }
        Err(Failure::Unsent(_, fault, _) | Failure::Final(fault)) => {
            attempt.ended = Some(Instant::now());
            attempt.failure = Some(*fault);
        }
    }
}

/// Where a request goes.
struct Target {
    path: PathAndQuery,
    client_host: Option<HeaderValue>,
}

/// An answer that stands for a server that is not there, whoever wrote it.
fn is_trouble(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// An endpoint whose breaker lets the request through.
fn choose(server: &Server, only: Option<usize>, tried: &[usize]) -> Result<(Arc<Endpoint>, Admitted), Fault> {
    let now = Instant::now();
    if let Some(endpoint) = only.and_then(|index| server.endpoints.get(index)) {
        return endpoint.breaker.enter(now).map(|admitted| (endpoint.clone(), admitted)).map_err(Fault::breaker_open);
    }
    let usable = |index: usize| server.endpoints[index].breaker.would_admit(now);
    let mut soonest = Duration::MAX;
    // Between `would_admit` and `enter` another exchange may take the only trial: then another endpoint is looked for.
    for _ in 0..=server.endpoints.len() {
        let Some(index) = server.balancer.choose(now, |below| fastrand::usize(..below), tried, usable) else { break };
        let endpoint = &server.endpoints[index];
        match endpoint.breaker.enter(now) {
            Ok(admitted) => {
                if admitted.is_trial() {
                    endpoint.show_breaker(now);
                }
                return Ok((endpoint.clone(), admitted));
            }
            Err(wait) => soonest = soonest.min(wait),
        }
    }
    for endpoint in &server.endpoints {
        match endpoint.breaker.enter(now) {
            Ok(admitted) => return Ok((endpoint.clone(), admitted)),
            Err(wait) => soonest = soonest.min(wait),
        }
    }
    Err(Fault::breaker_open(if soonest == Duration::MAX { Duration::ZERO } else { soonest }))
}

/// An attempt of which is not known yet how it ends. Dropped so, its client has left.
struct Unsettled {
    endpoint: Arc<Endpoint>,
    admitted: Option<Admitted>,
}

impl Unsettled {
    /// It failed, but the same request asks again: its last try counts. Else a few patient ones would open the breaker on a server that restarts.
    fn forgive(mut self, attempt: Attempt) {
        self.admitted = None;
        self.endpoint.metrics.request_ended(result_of(attempt));
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        // The place of a trial is free before this is counted.
        if self.admitted.take().is_some() {
            self.endpoint.metrics.request_ended(EndpointResult::Abandoned);
        }
    }
}

fn result_of(attempt: Attempt) -> EndpointResult {
    match attempt {
        Attempt::Ok => EndpointResult::Ok,
        Attempt::Failed => EndpointResult::Failed,
        Attempt::ConnectFailed => EndpointResult::ConnectFailed,
        Attempt::Abandoned => EndpointResult::Abandoned,
    }
}

/// Says how an attempt ended to everybody who judges the endpoint by it.
fn note(server: &Server, mut unsettled: Unsettled, attempt: Attempt) {
    let Some(admitted) = unsettled.admitted.take() else { return };
    let endpoint = &unsettled.endpoint;
    let now = Instant::now();
    endpoint.metrics.request_ended(result_of(attempt));
    if let Some(state) = admitted.note(now, attempt) {
        tracing::warn!(server = %server.name, endpoint = %endpoint.authority, ?state, "the circuit breaker of an endpoint changed");
        endpoint.show_breaker(now);
    }
    match attempt {
        Attempt::Ok => server.balancer.note_success(endpoint.index),
        Attempt::Abandoned => {}
        Attempt::Failed | Attempt::ConnectFailed => {
            if let Some(duration) = server.balancer.note_failure(endpoint.index, now) {
                tracing::warn!(server = %server.name, endpoint = %endpoint.authority, ?duration, "an endpoint is passed over: it failed too often in a row");
                endpoint.metrics.ejected(true);
            }
        }
    }
}

/// One attempt with one endpoint.
struct Attempting<'a> {
    shared: &'a Shared,
    server: &'a Server,
    endpoint: &'a Endpoint,
    to: &'a Target,
    connect_timeout: Duration,
    deadline: tokio::time::Instant,
}

impl Attempting<'_> {
    /// On an open connection; when that turns out to be closed, on a fresh one.
    async fn run(&self, mut request: Request<WholeBody>, trace: Option<&mut TraceNotes>) -> Result<(Response<Incoming>, Carrier), Failure> {
        if let Some(carrier) = self.take_open() {
            match self.send(carrier, request).await {
                Err(Failure::Unsent(unsent, ..)) => request = *unsent,
                done => return done,
            }
        }
        let begun = Instant::now();
        // On the heap, as all that is rare and large: every exchange would be moved about with room for it.
        let connected = Box::pin(connect(self.shared, self.server, self.endpoint, self.connect_timeout)).await;
        if let Some(attempt) = trace.and_then(TraceNotes::attempt) {
            attempt.connect = Some((begun, begun.elapsed()));
        }
        match connected {
            Ok(carrier) => self.send(carrier, request).await,
            Err(error) => Err(Failure::Unsent(Box::new(request), error.fault(), Attempt::ConnectFailed)),
        }
    }

    fn take_open(&self) -> Option<Carrier> {
        if self.server.config.http2
            && let Some(stream) = self.endpoint.http2.take()
        {
            return Some(Carrier::Http2(stream));
        }
        self.endpoint.pool.take().map(Carrier::Http1)
    }

    async fn send(&self, mut carrier: Carrier, mut request: Request<WholeBody>) -> Result<(Response<Incoming>, Carrier), Failure> {
        self.address(&mut request, &carrier);
        match timeout_at(self.deadline, carrier.send(request)).await {
            Err(_) => Err(Failure::Final(Fault::HeadTimeout)),
            Ok(Ok(response)) => Ok((response, carrier)),
            Ok(Err(SendFailure::Unsent(unsent))) => Err(Failure::Unsent(unsent, Fault::BrokenAnswer, Attempt::Failed)),
            Ok(Err(SendFailure::Sent(error))) => {
                tracing::debug!(server = %self.server.name, endpoint = %self.endpoint.authority, %error, "no answer from the server");
                Err(Failure::Final(Fault::BrokenAnswer))
            }
        }
    }

    /// Writes what says where the request goes: `Host` over HTTP/1.1, the pseudo-headers over HTTP/2.
    fn address(&self, request: &mut Request<WholeBody>, carrier: &Carrier) {
        let host = host_for(&self.server.config.host, self.to.client_host.as_ref(), &self.endpoint.host, self.endpoint.tls.is_some());
        let authority = matches!(carrier, Carrier::Http2(_)).then(|| Authority::try_from(host.as_bytes()).ok()).flatten();
        match authority {
            Some(authority) => {
                let mut parts = http::uri::Parts::default();
                parts.scheme = Some(if self.endpoint.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
                parts.authority = Some(authority);
                parts.path_and_query = Some(self.to.path.clone());
                *request.uri_mut() = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(self.to.path.clone()));
                crate::headers::remove(request.headers_mut(), &header::HOST);
            }
            None => {
                *request.uri_mut() = Uri::from(self.to.path.clone());
                request.headers_mut().insert(header::HOST, host);
            }
        }
    }
}
