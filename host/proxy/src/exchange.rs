//! The record of one HTTP exchange: what was seen in it, and how it ended. It is finished exactly once; an exchange that
//! is dropped unfinished is one whose client left.

mod elsewhere;
mod ending;
mod messages;
mod session;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use watchgate_hooks::{PolicyCall, Surface};
use watchgate_mcp::{Direction, Outcome, RequestId, header as mcp_header, rpc_error};
use watchgate_telemetry::log::LogContext;
use watchgate_telemetry::{AuthResult, ErrorType, HttpMethod, InFlightGuard, UpstreamCause};

use crate::client_connection::Caller;
use crate::error_id::ErrorId;
use crate::exchange_id::ExchangeId;
use crate::fault::Fault;
use crate::forward::{Notes, Sent};
use crate::late_trace::LateTrace;
use crate::line_facts::LineFacts;
use crate::message_targets::OpenTarget;
use crate::operation::{Ending, OpenOperation};
use crate::pending::SessionKey;
use crate::presence::Busy;
use crate::server::{Server, Shared};
use crate::session_hash::session_hash;
use crate::slots::{ClientPlace, Slot};
use crate::timing::Timing;
use crate::trace_notes::TraceNotes;

/// What an exchange holds until it is over.
#[derive(Default)]
struct Places {
    slot: Option<Slot>,
    stream: Option<ClientPlace>,
    connection: Option<Busy>,
}

/// Where the messages of an HTTP+SSE session come.
enum MessageStream {
    /// In the answer to this GET.
    Here(OpenTarget),
    /// On another stream, the answers to these requests of this POST among them.
    Elsewhere(Vec<RequestId>),
}

/// One exchange under way.
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) server: Arc<Server>,
    /// The status for the client; 0 until it is known.
    pub(crate) status: u16,
    request_bytes: u64,
    pub(crate) response_bytes: u64,
    /// What the client asked in this exchange and was not yet answered.
    pub(crate) operations: Vec<OpenOperation>,
    pub(crate) session: Option<SessionKey>,
    /// Of HTTP+SSE: on which stream, or for which stream, the messages are.
    message_stream: Option<MessageStream>,
    method: HttpMethod,
    timing: Timing,
    protocol_version: Option<&'static str>,
    session_text: Option<[u8; 8]>,
    client: SocketAddr,
    client_name: Option<Arc<str>>,
    /// Of the page that asks, once the guard has let it in.
    origin: Option<HeaderValue>,
    sent: Sent,
    places: Places,
    pub(crate) id: ExchangeId,
    line: LineFacts,
    /// Where somebody has a use for traces.
    pub(crate) trace: Option<Box<TraceNotes>>,
    /// The same trace, where the call is answered on another stream.
    late: Option<Arc<LateTrace>>,
    /// What its messages came to.
    failure: Outcome,
    is_stream: bool,
    /// Something of the answer could not be read, so that operations may have been answered unseen.
    is_unread: bool,
    finished: bool,
    _in_flight: InFlightGuard,
}

impl Exchange {
    /// Begins: the request's head has been read.
    pub(crate) fn begin(
        shared: &Arc<Shared>,
        server: &Arc<Server>,
        request: &http::request::Parts,
        target: Option<&PathAndQuery>,
        client: Caller,
        tells_id: bool,
    ) -> Box<Self> {
        let method = http_method(&request.method);
        let mut session = request.headers.get(mcp_header::MCP_SESSION_ID).map(HeaderValue::as_bytes);
        let mut key = session.map(|session| shared.session_key(server, session));
        let mut message_stream = None;
        if key.is_none() && method == HttpMethod::Post && server.message_targets.any() {
            session = target.map(|target| target.as_str().as_bytes());
            key = session.map(|session| shared.session_key(server, session)).filter(|key| server.message_targets.is_open(*key));
            message_stream = key.map(|_| MessageStream::Elsewhere(Vec::new()));
        }
        Box::new(Self {
            shared: shared.clone(),
            server: server.clone(),
            status: 0,
            request_bytes: 0,
            response_bytes: 0,
            operations: Vec::new(),
            session: key,
            message_stream,
            method,
            timing: Timing::begin(),
            protocol_version: request.headers.get(mcp_header::MCP_PROTOCOL_VERSION).and_then(|value| known_version(value.as_bytes())),
            session_text: session.filter(|_| key.is_some()).map(session_hash),
            client: client.address,
            client_name: None,
            origin: None,
            sent: Sent::default(),
            places: Places::default(),
            id: ExchangeId::of(&request.headers, tells_id),
            line: LineFacts::default(),
            trace: TraceNotes::begin(&shared.telemetry, &server.name, request, client),
            late: None,
            failure: Outcome::Ok,
            is_stream: false,
            is_unread: false,
            finished: false,
            _in_flight: server.metrics.in_flight(method),
        })
    }

    /// Whether closing the response stream is how such an exchange ends. Of a stream in which everything was answered there is nothing left to read
    /// either: SDKs close it before the server does.
    fn ends_by_closing(&self) -> bool {
        let is_answered = || self.line.operations() > 0 && self.operations.iter().all(|operation| !operation.is_request);
        // A 202 says all that there is to say, and SDKs throw away what servers write behind it.
        let is_accepted = self.status == StatusCode::ACCEPTED.as_u16();
        is_accepted || (self.is_stream && (self.method == HttpMethod::Get || self.line.is_listen || is_answered()))
    }

    /// Whether its body, whatever its headers say, asks for a stream that goes on as long as the client wants it.
    pub(crate) fn asks_to_listen(&self) -> bool {
        self.line.is_listen
    }

    /// All of the request is here.
    pub(crate) fn note_read(&mut self, bytes: usize) {
        self.request_bytes = bytes as u64;
        self.timing.note_read();
    }

    /// No more of the request comes.
    pub(crate) fn note_broken_off(&mut self) {
        self.timing.note_read();
    }

    /// The server sent something, which was here at `now`.
    pub(crate) fn note_came(&mut self, now: Instant) {
        self.timing.note_came(now);
    }

    /// More of the server's answer must come.
    pub(crate) fn note_waiting(&mut self) {
        self.timing.note_waiting();
    }

    /// All of the answer is here.
    pub(crate) fn note_answered(&mut self) {
        self.timing.note_answered();
    }

    /// The request goes to the server now.
    pub(crate) fn note_forwarded(&mut self) {
        self.timing.note_forwarded();
        self.await_elsewhere();
    }

    /// Time that a message waited for redaction.
    pub(crate) fn note_plugins(&mut self, duration: Duration, direction: Direction, calls: Vec<PolicyCall>) {
        self.timing.note_plugins(duration);
        if let Some(trace) = &mut self.trace {
            trace.note_calls(direction, calls);
        }
    }

    /// Whether the texts of answers are of use to anybody: to a derivation, or because the call's own was kept.
    pub(crate) fn keeps_text(&self) -> bool {
        self.shared.hooks.keeps_text()
            || self.operations.iter().any(|operation| operation.text.is_some())
            || (self.session.is_some() && self.shared.clearing.keeps_unanswered())
    }

    /// The answer passes, but what it says is not known.
    pub(crate) fn note_unread(&mut self) {
        self.is_unread = true;
    }

    /// The answer is an event stream.
    pub(crate) fn note_stream(&mut self) {
        self.is_stream = true;
    }

    /// What lines of the log say of the exchange they belong to. A client's id that policies must see first is not among it: a line does not wait.
    pub(crate) fn log_context(&self) -> Option<LogContext> {
        let request_id = self.id.text().filter(|_| !self.must_clear_id());
        if self.trace.is_none() && request_id.is_none() {
            return None;
        }
        let (trace_id, span_id) = self.trace.as_ref().map(|trace| (trace.trace_id, trace.span_id)).unzip();
        Some(LogContext { trace_id, span_id, request_id: request_id.map(Into::into) })
    }

    /// Whether a policy must see the request id before any line or span has it.
    fn must_clear_id(&self) -> bool {
        self.id.is_clients() && self.shared.hooks.load().redaction.wants(Surface::Telemetry, Direction::ClientToServer, None, None)
    }

    /// Writes what a client that asked for a trace, or any client where that is configured, is told to find the exchange by.
    pub(crate) fn write_ids(&self, headers: &mut HeaderMap) {
        self.id.tell_client(headers);
        if let Some(trace) = self.trace.as_ref().filter(|trace| trace.is_forced)
            && let Ok(id) = HeaderValue::from_str(&trace.trace_id.to_string())
        {
            headers.insert(HeaderName::from_static("x-trace-id"), id);
        }
    }

    /// The guard lets pages of this origin in.
    pub(crate) fn note_origin(&mut self, origin: Option<&HeaderValue>) {
        self.origin = origin.cloned();
    }

    /// Lets the page that asks read an answer of the gateway's own (Fetch standard, 3.2): a browser client must see the 401 that says where to get a token, and
    /// that it is to wait. Answers of servers have what the servers say.
    pub(crate) fn write_cors(&self, headers: &mut HeaderMap) {
        let Some(origin) = &self.origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("retry-after, www-authenticate, x-request-id, x-trace-id"),
        );
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }

    /// The name that the client's key or token is bound to.
    pub(crate) fn note_client(&mut self, name: Arc<str>) {
        self.client_name = Some(name);
    }

    /// The name that the client's key or token is bound to.
    pub(crate) fn client_name(&self) -> Option<&str> {
        self.client_name.as_deref()
    }

    /// The gate does not let the client in.
    pub(crate) fn note_turned_away(&mut self, result: AuthResult) {
        self.line.auth_result = Some(result);
        tracing::debug!(server = %self.server.name, client = %self.client, result = result.as_str(), "turned away by the gate");
    }

    /// The client's address, as the configuration has it known.
    pub(crate) fn client_ip(&self) -> IpAddr {
        self.client.ip()
    }

    /// What is to be noted while the request is forwarded.
    pub(crate) fn notes(&mut self) -> Notes<'_> {
        Notes { trace: self.trace.as_deref_mut(), sent: &mut self.sent }
    }

    /// Where the request went, so far.
    pub(crate) fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Why the answer is not whole, where that is the server's doing.
    pub(crate) fn note_cause(&mut self, cause: Option<UpstreamCause>) {
        self.sent.cause = cause;
    }

    /// Its client's connection, which is in use until this exchange is over.
    pub(crate) fn hold_connection(&mut self, busy: Option<Busy>) {
        self.places.connection = busy;
    }

    /// A place among the server's exchanges, held until this one is over.
    pub(crate) fn hold_slot(&mut self, slot: Slot) {
        self.places.slot = Some(slot);
    }

    /// Gives it back: what the exchange has become is not counted there.
    pub(crate) fn release_slot(&mut self) {
        self.places.slot = None;
    }

    /// Whether it has a place among the client's streams.
    pub(crate) fn holds_stream(&self) -> bool {
        self.places.stream.is_some()
    }

    /// A place among the client's streams, held until this exchange is over.
    pub(crate) fn hold_stream(&mut self, stream: ClientPlace) {
        self.places.stream = Some(stream);
    }

    /// A message was denied that ends no operation of the client: a request or notification of the server, an opaque body.
    pub(crate) fn note_denied_by_itself(&mut self, error_id: &ErrorId) {
        self.note_outcome(Outcome::Denied);
        self.line.error_id = Some(error_id.clone().into_inner());
        self.line.fault = Some("plugin");
    }

    /// A message was denied; `id` is that of the request it is or answers.
    pub(crate) fn note_denied(&mut self, id: Option<&RequestId>, error_id: &ErrorId) {
        self.note_denied_by_itself(error_id);
        self.line.rpc_error_code = Some(rpc_error::DENIED);
        let upstream = self.timing.upstream();
        let own = self.take_own(id).map(|operation| (operation, upstream));
        if let Some((operation, upstream)) = own.or_else(|| self.take_remembered(id)) {
            self.capture(&operation, None);
            let ending = Ending::without_answer(Outcome::Denied, None, upstream);
            operation.finish(&self.shared, &self.server, self.protocol_version, ending);
        }
    }

    /// Everything the client sent was denied.
    pub(crate) fn deny_all(&mut self, error_id: &ErrorId) {
        self.note_denied_by_itself(error_id);
        // Notifications are answered by a status alone.
        if self.operations.iter().any(|operation| operation.is_request) {
            self.line.rpc_error_code = Some(rpc_error::DENIED);
        }
        self.end_all(Outcome::Denied, None);
    }

    /// The client's answer to a request of the server was denied.
    pub(crate) fn deny_client_answer(&mut self, id: Option<&RequestId>) {
        if let (Some(session), Some(id)) = (self.session, id)
            && let Some(operation) = self.shared.pending.take(session, Direction::ServerToClient, id)
        {
            let waited = operation.started.elapsed();
            let ending = Ending::without_answer(Outcome::Denied, None, waited);
            operation.finish(&self.shared, &self.server, self.protocol_version, ending);
        }
    }

    /// The gateway answers by itself.
    pub(crate) fn note_fault(&mut self, fault: Fault, error_id: &ErrorId) {
        self.status = fault.status().as_u16();
        if let Some(limit) = fault.limit() {
            self.server.metrics.limited(limit);
        }
        self.line.error_id = Some(error_id.clone().into_inner());
        self.line.fault = Some(fault.blame());
        self.line.rpc_error_code = Some(fault.code());
        if let Some(trace) = &mut self.trace {
            trace.fault = Some(fault);
            // Who is not let in has nothing to wish for.
            trace.is_forced &= !fault.turns_away();
        }
        self.end_all(fault.outcome(), Some(ErrorType::Named(fault.reason())));
        self.note_outcome(fault.outcome());
    }

    /// The first failure stands for the exchange, and a denial before any other.
    fn note_outcome(&mut self, outcome: Outcome) {
        if self.failure == Outcome::Ok || outcome == Outcome::Denied {
            self.failure = outcome;
        }
    }
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::GET => HttpMethod::Get,
        Method::POST => HttpMethod::Post,
        Method::DELETE => HttpMethod::Delete,
        Method::OPTIONS => HttpMethod::Options,
        _ => HttpMethod::Other,
    }
}

/// The revisions of the specification; others are not labels.
fn known_version(version: &[u8]) -> Option<&'static str> {
    ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"].into_iter().find(|known| known.as_bytes() == version)
}
