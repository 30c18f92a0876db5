//! What an exchange notes for its trace while it goes on: numbers and shared handles, no text. Whether there is a use for it is known when it ends.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Version};
use watchgate_hooks::PolicyCall;
use watchgate_mcp::trace_meta::{MetaText, trace_of, with_trace};
use watchgate_mcp::{Direction, Envelope, MessageKind, Outcome, RequestId};
use watchgate_telemetry::{
    InvalidTraceContext, SpanId, Telemetry, TraceContext, TraceContextInvalid, TraceId, TraceInterest, TraceParent, UpstreamCause,
};

use crate::client_connection::Caller;
use crate::config::Propagation;
use crate::content::Captured;
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::forward::Outgoing;
use crate::headers;
use crate::trace_record::Verdict;

/// Calls of plugins that are noted for one exchange: a stream has no end of events.
const MOST_CALLS: usize = 64;

/// The trace of one exchange.
pub(crate) struct TraceNotes {
    pub(crate) trace_id: TraceId,
    /// The SERVER span of the exchange.
    pub(crate) span_id: SpanId,
    /// The CLIENT span of the attempt that reaches the server; attempts before it never left.
    pub(crate) call_id: SpanId,
    pub(crate) context: TraceContext,
    /// The caller's other span, where headers and `_meta` named two.
    pub(crate) link: Option<(TraceId, SpanId)>,
    pub(crate) head_sampled: bool,
    pub(crate) is_forced: bool,
    /// Whether the client's connection is.
    pub(crate) client_is_tls: bool,
    /// Of the client's request.
    pub(crate) http_version: &'static str,
    pub(crate) attempts: Vec<AttemptNote>,
    pub(crate) calls: Vec<(Direction, PolicyCall)>,
    /// The id of the one request that the client sent.
    pub(crate) request_id: Option<RequestId>,
    /// Why the gateway answered itself, where it did.
    pub(crate) fault: Option<Fault>,
    /// What was said in the one call of the exchange, where that may be recorded.
    pub(crate) captured: Option<Captured>,
}

/// One attempt with one endpoint.
pub(crate) struct AttemptNote {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) begun: Instant,
    /// `None` while it goes on.
    pub(crate) ended: Option<Instant>,
    /// Opening a connection, where none was open.
    pub(crate) connect: Option<ConnectNote>,
    pub(crate) status: Option<u16>,
    /// Why it brought no head.
    pub(crate) failure: Option<Fault>,
    pub(crate) is_http2: bool,
}

/// Opening one connection.
pub(crate) struct ConnectNote {
    pub(crate) begun: Instant,
    pub(crate) took: Duration,
    /// Why there is none.
    pub(crate) failure: Option<UpstreamCause>,
}

impl TraceNotes {
    /// From the headers of a request. `None` where nobody has a use for traces.
    pub(crate) fn begin(telemetry: &Telemetry, server: &str, request: &Parts, client: Caller) -> Option<Box<Self>> {
        if !telemetry.tracing().is_on() {
            return None;
        }
        let headers = &request.headers;
        let values = |name: &str| headers.get_all(name).into_iter().map(|value| value.as_bytes());
        let (context, invalid) = TraceContext::read(values("traceparent"), values("tracestate"), values("baggage"));
        for reason in invalid {
            telemetry.emit(TraceContextInvalid { reason, server, client: client.address.ip() });
        }
        let is_forced = telemetry.tracing().takes_debug_header()
            && headers.get("x-debug-trace").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        let mut notes = Box::new(Self {
            trace_id: TraceId::random(),
            span_id: SpanId::random(),
            call_id: SpanId::random(),
            context,
            link: None,
            head_sampled: false,
            is_forced,
            client_is_tls: client.is_tls,
            http_version: match request.version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            },
            attempts: Vec::new(),
            calls: Vec::new(),
            request_id: None,
            fault: None,
            captured: None,
        });
        notes.decide(telemetry);
        Some(notes)
    }

    /// What the message itself says of its trace counts for more than the headers.
    pub(crate) fn take_meta(&mut self, telemetry: &Telemetry, server: &str, client: IpAddr, body: &[u8], envelopes: &[Envelope]) {
        let [only] = envelopes else { return };
        if only.kind == MessageKind::Request {
            self.request_id.clone_from(&only.id);
        }
        if !only.has_trace_context {
            return;
        }
        let values = trace_of(body);
        let [parent, state, baggage] = values.each_ref().map(|value| value.text().map(str::as_bytes));
        let (meta, invalid) = TraceContext::read(parent, state, baggage);
        let not_strings = values.iter().filter(|value| **value == MetaText::NotAString).map(|_| InvalidTraceContext::NotAString);
        for reason in invalid.into_iter().chain(not_strings) {
            telemetry.emit(TraceContextInvalid { reason, server, client });
        }
        let (context, link) = std::mem::take(&mut self.context).overridden_by(meta);
        (self.context, self.link) = (context, link);
        self.decide(telemetry);
    }

    fn decide(&mut self, telemetry: &Telemetry) {
        if let Some(parent) = &self.context.parent {
            self.trace_id = parent.trace_id;
        }
        self.head_sampled = telemetry.tracing().head_sampled(&self.trace_id, self.context.parent.as_ref());
    }

    /// What speaks for keeping the trace of an exchange that ended so.
    pub(crate) fn interest(&self, verdict: &Verdict, is_slow: bool) -> TraceInterest {
        TraceInterest { head_sampled: self.head_sampled, forced: self.is_forced, error: verdict.is_error(), slow: is_slow }
    }

    /// Forgets what was said in a call that ended so, where that is not to be recorded.
    pub(crate) fn settle_capture(&mut self, telemetry: &Telemetry, outcome: Outcome) {
        self.captured = self.captured.take().filter(|_| telemetry.capture().wants(outcome == Outcome::Ok));
    }

    /// Tells the server which span is the parent of what it does. Not the credentials of later refusals, which belong to no trace.
    pub(crate) fn propagate(&self, propagation: Propagation, outgoing: &mut Outgoing, is_one_operation: bool) {
        if !propagation.headers && propagation.meta.is_none() {
            return;
        }
        let parent = self.for_server().text();
        if propagation.headers
            && let Ok(value) = HeaderValue::from_str(parent.as_str())
        {
            outgoing.headers.insert(HeaderName::from_static("traceparent"), value);
            // Without a parent it was the state of nothing.
            match self.context.tracestate.as_deref().and_then(|state| HeaderValue::from_str(state).ok()) {
                Some(state) => drop(outgoing.headers.insert(HeaderName::from_static("tracestate"), state)),
                None => headers::remove(&mut outgoing.headers, &HeaderName::from_static("tracestate")),
            }
        }
        if let Some(how) = propagation.meta.filter(|_| is_one_operation)
            && let Some(body) = with_trace(outgoing.body.data(), how, parent.as_str(), self.context.tracestate.as_deref())
        {
            headers::settle_length(&mut outgoing.headers, Some(body.len() as u64));
            outgoing.body.replace(Bytes::from(body));
        }
    }

    /// The context for the server: the attempt that reaches it is the parent of what it does.
    pub(crate) fn for_server(&self) -> TraceParent {
        let sampled = self.head_sampled || self.is_forced;
        // A child keeps what the caller says of how the trace's id was made (Trace Context Level 2).
        let of_caller = self.context.parent.filter(|parent| parent.trace_id == self.trace_id);
        of_caller.map_or_else(|| TraceParent::new(self.trace_id, self.call_id, sampled), |parent| parent.child(self.call_id, sampled))
    }

    /// An attempt begins.
    pub(crate) fn begin_attempt(&mut self, endpoint: &Arc<Endpoint>) {
        self.attempts.push(AttemptNote {
            endpoint: endpoint.clone(),
            begun: Instant::now(),
            ended: None,
            connect: None,
            status: None,
            failure: None,
            is_http2: false,
        });
    }

    /// The attempt under way.
    pub(crate) fn attempt(&mut self) -> Option<&mut AttemptNote> {
        self.attempts.last_mut()
    }

    /// Calls of plugins.
    pub(crate) fn note_calls(&mut self, direction: Direction, calls: Vec<PolicyCall>) {
        let room = MOST_CALLS.saturating_sub(self.calls.len());
        self.calls.extend(calls.into_iter().take(room).map(|call| (direction, call)));
    }
}
