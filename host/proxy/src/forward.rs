//! `forward`: one request to one of the server's endpoints, on an open connection or a fresh one; tried again only where it never left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Extensions, HeaderMap, Method, Request, Response, Uri};
use hyper::body::Incoming;
use watchgate_telemetry::UpstreamCause;

use crate::breaker::{Admitted, Attempt, Forced};
use crate::cause;
use crate::client_address::host_for;
use crate::connect::{ConnectError, connect};
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::headers;
use crate::lease::Lease;
use crate::server::{Server, Shared};
use crate::trace_notes::{ConnectNote, TraceNotes};
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
    /// Whether it asks for a stream that goes on as long as its client wants it.
    pub(crate) opens_stream: bool,
    /// Of the client's head: how it wrote the names of its header fields.
    pub(crate) extensions: Extensions,
}

/// The head of an answer, and what its body comes on.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) carrier: Carrier,
    pub(crate) lease: Lease,
}

/// Why an attempt brought no head.
struct Failure {
    /// The request, where it never left: there was no connection, or not one byte was written. Else the server may have seen it.
    unsent: Option<Box<Request<WholeBody>>>,
    /// The server was asked all the same, and did not want it.
    turned_away: bool,
    fault: Fault,
    attempt: Attempt,
    trouble: Trouble,
}

/// What operators are told of a failure.
pub(crate) struct Trouble {
    pub(crate) cause: UpstreamCause,
    pub(crate) text: String,
}

/// What the access line says of where a request went. Written as it goes, because an exchange may be dropped at any moment.
#[derive(Default)]
pub(crate) struct Sent {
    /// The endpoint that was tried last, where the server has several.
    pub(crate) endpoint: Option<Arc<str>>,
    /// How often the request was tried.
    pub(crate) attempts: u32,
    /// Why the last try brought no answer, or not all of it.
    pub(crate) cause: Option<UpstreamCause>,
}

/// What is noted of an exchange while it is forwarded.
pub(crate) struct Notes<'a> {
    pub(crate) trace: Option<&'a mut TraceNotes>,
    pub(crate) sent: &'a mut Sent,
}

impl Notes<'_> {
    fn begin_attempt(&mut self, server: &Server, endpoint: &Arc<Endpoint>, number: u32) {
        self.sent.attempts = number;
        self.sent.cause = None;
        if server.endpoints.len() > 1 {
            self.sent.endpoint = Some(endpoint.authority.clone());
        }
        if let Some(trace) = &mut self.trace {
            trace.begin_attempt(endpoint);
        }
    }

    fn end_attempt(&mut self, result: &Result<(Response<Incoming>, Carrier), Failure>) {
        if let Err(failure) = result {
            self.sent.cause = Some(failure.trouble.cause);
        }
        let Some(attempt) = self.trace.as_deref_mut().and_then(TraceNotes::attempt) else { return };
        match result {
            // It goes on until the last byte of the answer.
            Ok((response, carrier)) => {
                attempt.status = Some(response.status().as_u16());
                attempt.is_http2 = matches!(carrier, Carrier::Http2(_));
            }
            Err(failure) => {
                attempt.ended = Some(Instant::now());
                attempt.failure = Some(failure.fault);
            }
        }
    }
}

/// Sends the request and waits for the head of the answer.
pub(crate) async fn forward(shared: &Shared, server: &Server, outgoing: Outgoing, mut notes: Notes<'_>) -> Result<Answered, Fault> {
    let (only, opens_stream) = (outgoing.only, outgoing.opens_stream);
    let (mut request, to) = outgoing.split();
    let mut now = Instant::now();
    server.retries.note_request(now);
    let mut tries = Tries::new(shared, server, only);
    loop {
        let (endpoint, admitted) = choose(server, only, tries.tried(), now).map_err(|fault| tries.refused(fault))?;
        let mut lease = Lease::new(endpoint, admitted, now);
        tries.begin();
        notes.begin_attempt(server, &lease.endpoint, tries.count());
        let connect_timeout = tries.connect_timeout(lease.endpoint.index);
        let attempt = Attempting { shared, server, endpoint: &lease.endpoint, to: &to, connect_timeout, keeps_off_pool: false };
        let result = attempt.run(request, notes.trace.as_deref_mut()).await;
        notes.end_attempt(&result);
        let failure = match result {
            Ok((response, carrier)) => {
                lease.note_head(response.status(), response.headers(), opens_stream);
                return Ok(Answered { response, carrier, lease });
            }
            Err(failure) => failure,
        };
        lease.endpoint.complain(failure.trouble.cause, &failure.trouble.text);
        let Some(unsent) = failure.unsent else {
            lease.settle(failure.attempt);
            return Err(failure.fault);
        };
        let Some(wait) = tries.next_after(lease.endpoint.index, failure.fault, failure.turned_away) else {
            lease.settle(failure.attempt);
            return Err(failure.fault);
        };
        // Settled or forgiven it is over: it is not busy while nothing is asked of it.
        if wait.is_zero() || failure.turned_away {
            lease.settle(failure.attempt);
            drop(lease);
        } else {
            lease.forgive(failure.attempt);
        }
        if !tries.wait(wait).await {
            return Err(failure.fault);
        }
        (request, now) = (*unsent, Instant::now());
    }
}

/// Asks one endpoint, once, whatever its breaker says; it is not judged by that. Over HTTP/1.1 on a fresh connection: one that was open may just be
/// closed, which says nothing of the endpoint.
///
/// # Errors
/// When no head of an answer came: what clients would be told, and what operators are.
pub(crate) async fn ask(
    shared: &Shared,
    server: &Server,
    endpoint: &Arc<Endpoint>,
    outgoing: Outgoing,
) -> Result<Answered, (Fault, Trouble)> {
    let lease = Lease::uncounted(endpoint.clone());
    let (request, to) = outgoing.split();
    let connect_timeout = server.config.timeouts.connect;
    let attempt = Attempting { shared, server, endpoint, to: &to, connect_timeout, keeps_off_pool: true };
    match attempt.run(request, None).await {
        Ok((response, carrier)) => Ok(Answered { response, carrier, lease }),
        Err(failure) => Err((failure.fault, failure.trouble)),
    }
}

impl Outgoing {
    fn split(self) -> (Request<WholeBody>, Target) {
        let Self { method, target, headers, client_host, body, only: _, opens_stream: _, extensions } = self;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        *request.extensions_mut() = extensions;
        (request, Target { path: target, client_host })
    }
}

/// Where a request goes.
struct Target {
    path: PathAndQuery,
    client_host: Option<HeaderValue>,
}

/// An endpoint whose breaker lets the request through.
fn choose(server: &Server, only: Option<usize>, tried: &[usize], now: Instant) -> Result<(Arc<Endpoint>, Admitted), Fault> {
    if let Some(endpoint) = only.and_then(|index| server.endpoints.get(index)) {
        let entered = endpoint.breaker.enter(now).map(|admitted| (endpoint.clone(), admitted));
        return entered.map_err(|wait| refused(std::slice::from_ref(endpoint), wait));
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
    Err(refused(&server.endpoints, if soonest == Duration::MAX { Duration::ZERO } else { soonest }))
}

/// What clients are told where the breakers of all of these endpoints are open.
fn refused(endpoints: &[Arc<Endpoint>], wait: Duration) -> Fault {
    let is_by_hand = endpoints.iter().all(|endpoint| endpoint.breaker.forced() == Forced::Open);
    if is_by_hand { Fault::breaker_open_by_hand(wait) } else { Fault::breaker_open(wait) }
}

/// One attempt with one endpoint.
struct Attempting<'a> {
    shared: &'a Shared,
    server: &'a Server,
    endpoint: &'a Endpoint,
    to: &'a Target,
    connect_timeout: Duration,
    /// Whether connections that have carried an exchange are left alone.
    keeps_off_pool: bool,
}

impl Attempting<'_> {
    /// On an open connection; when that turns out to be closed, on a fresh one.
    async fn run(&self, mut request: Request<WholeBody>, trace: Option<&mut TraceNotes>) -> Result<(Response<Incoming>, Carrier), Failure> {
        if let Some(carrier) = self.take_open() {
            let is_shared = matches!(carrier, Carrier::Http2(_));
            match self.send(carrier, request).await {
                Err(Failure { unsent: Some(unsent), turned_away: false, .. }) => request = *unsent,
                // Servers close what was unused for a while, and some announce nothing: that says as little of the endpoint as of the request.
                Err(failure) if !is_shared && matches!(failure.trouble.cause, UpstreamCause::Closed | UpstreamCause::Reset) => {
                    self.endpoint.note_stale();
                    return Err(Failure { attempt: Attempt::Stale, ..failure });
                }
                done => return done,
            }
        }
        let begun = Instant::now();
        // On the heap, as all that is rare and large: every exchange would be moved about with room for it.
        let connected = Box::pin(connect(self.shared, self.server, self.endpoint, self.connect_timeout)).await;
        if let Some(attempt) = trace.and_then(TraceNotes::attempt) {
            let failure = connected.as_ref().err().map(ConnectError::cause);
            attempt.connect = Some(ConnectNote { begun, took: begun.elapsed(), failure });
        }
        match connected {
            Ok(carrier) => self.send(carrier, request).await,
            Err(error) => Err(Failure {
                unsent: Some(Box::new(request)),
                turned_away: false,
                fault: error.fault(),
                attempt: Attempt::ConnectFailed,
                trouble: Trouble { cause: error.cause(), text: error.to_string() },
            }),
        }
    }

    fn take_open(&self) -> Option<Carrier> {
        if self.server.config.http2
            && let Some(stream) = self.endpoint.http2.take()
        {
            return Some(Carrier::Http2(stream));
        }
        if self.keeps_off_pool { None } else { self.endpoint.pool.take().map(Carrier::Http1) }
    }

    async fn send(&self, mut carrier: Carrier, mut request: Request<WholeBody>) -> Result<(Response<Incoming>, Carrier), Failure> {
        self.address(&mut request, &carrier);
        let mut turned_away = false;
        let (unsent, fault, cause, text) = match carrier.send(request, self.server.config.timeouts.head).await {
            Ok(response) => return Ok((response, carrier)),
            Err(SendFailure::Late) => (None, Fault::HeadTimeout, UpstreamCause::Timeout, "no head of an answer in time".to_owned()),
            Err(SendFailure::Unsent(unsent)) => (
                Some(unsent),
                Fault::BrokenAnswer,
                UpstreamCause::Closed,
                "the connection was closed before the request was sent".to_owned(),
            ),
            Err(SendFailure::TurnedAway(unsent)) => {
                turned_away = true;
                (Some(unsent), Fault::BrokenAnswer, UpstreamCause::Refused, "the server refused the stream".to_owned())
            }
            Err(SendFailure::Sent(error)) => (None, Fault::BrokenAnswer, cause::of_http(&error), cause::in_full(&error)),
        };
        Err(Failure { unsent, turned_away, fault, attempt: Attempt::Failed, trouble: Trouble { cause, text } })
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
                headers::remove(request.headers_mut(), &header::HOST);
            }
            None => {
                *request.uri_mut() = Uri::from(self.to.path.clone());
                request.headers_mut().insert(header::HOST, host);
            }
        }
    }
}
