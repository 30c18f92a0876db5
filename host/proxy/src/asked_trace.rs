//! The trace of a request that the server made: a SERVER span for what it asked, and a CLIENT span for the client's answering it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use watchgate_hooks::UnclearedRecord;
use watchgate_mcp::{Direction, Outcome};
use watchgate_telemetry::{
    Attribute, ErrorType, HttpMethod, OperationTarget, SpanId, SpanKind, SpanProtocol, SpanRecord, Telemetry, TraceContext,
    TraceContextInvalid, TraceId, TraceInterest, TraceRecord,
};

use crate::operation::OpenOperation;
use crate::server::Server;
use crate::trace_notes::TraceNotes;
use crate::trace_record::{Uncleared, field, hex, shown_message};

/// The exchange in whose answer a server asks.
#[derive(Clone, Copy)]
pub(crate) struct Asking {
    pub(crate) client: IpAddr,
    pub(crate) method: HttpMethod,
    pub(crate) session: Option<[u8; 8]>,
}

/// Where a server's request stands among traces.
#[derive(Clone, Debug)]
pub(crate) struct AskedTrace {
    trace_id: TraceId,
    /// The span that it is part of, and whether that is somebody else's.
    parent: Option<(SpanId, bool)>,
    link: Option<(TraceId, SpanId)>,
    head_sampled: bool,
    is_forced: bool,
    session: Option<[u8; 8]>,
    started_at: SystemTime,
}

impl AskedTrace {
    /// Of a request that came in the answer to a request of the client with these notes: what its `_meta` says counts most; without it, it is part of
    /// the call in whose service the server asks. A stream that a client keeps open serves no call.
    pub(crate) fn begin(
        telemetry: &Telemetry,
        server: &str,
        asking: &TraceNotes,
        exchange: Asking,
        operation: &OpenOperation,
    ) -> Option<Box<Self>> {
        let Asking { client, method, session } = exchange;
        if !operation.is_request {
            return None;
        }
        let own = (asking.trace_id, asking.call_id);
        let (context, invalid) = TraceContext::read(operation.traceparent.as_deref().map(str::as_bytes), None, None);
        for reason in invalid {
            telemetry.emit(TraceContextInvalid { reason, server, client });
        }
        let policy = telemetry.tracing();
        let (trace_id, parent, link, head_sampled) = match context.parent {
            Some(parent) => {
                let link = (parent.trace_id != own.0).then_some(own);
                (parent.trace_id, Some((parent.span_id, true)), link, policy.head_sampled(&parent.trace_id, Some(&parent)))
            }
            None if method == HttpMethod::Get => {
                let trace_id = TraceId::random();
                (trace_id, None, Some(own), policy.head_sampled(&trace_id, None))
            }
            None => (own.0, Some((own.1, false)), None, asking.head_sampled),
        };
        Some(Box::new(Self { trace_id, parent, link, head_sampled, is_forced: asking.is_forced, session, started_at: SystemTime::now() }))
    }

    /// The record of the request once it ended so, where somebody has a use for it. A client asks a person before it answers: none is slow.
    pub(crate) fn finish(self, telemetry: &Telemetry, server: &Server, operation: &OpenOperation, ended: &Ended<'_>) -> Option<Uncleared> {
        let is_error = ended.error.is_some_and(ErrorType::is_server_error);
        let Self { head_sampled, is_forced, .. } = self;
        if !telemetry.tracing().keeps(TraceInterest { head_sampled, forced: is_forced, error: is_error, slow: false }) {
            return None;
        }
        let started = self.started_at;
        let span = |kind| {
            let mut span =
                SpanRecord::operation(SpanId::random(), kind, operation.known_method(), OperationTarget::None, started, ended.duration);
            span.set(Attribute::Initiator, "server");
            if let Some(version) = ended.protocol_version {
                span.set(Attribute::McpProtocolVersion, version);
            }
            if let Some(session) = &self.session {
                span.set(Attribute::McpSessionId, hex(session));
            }
            if let Some(error) = ended.error {
                span.fail(SpanProtocol::Mcp, error, None);
            }
            span
        };
        let mut root = span(SpanKind::Server);
        root.set(Attribute::Server, server.name.to_string());
        root.set(Attribute::Outcome, ended.outcome.as_str());
        root.links.extend(self.link);
        let client = span(SpanKind::Client).within(root.span_id);
        let root = match self.parent {
            Some((parent, true)) => root.within_remote(parent),
            Some((parent, false)) => root.within(parent),
            None => root,
        };
        let id = operation.id.as_ref().map(|id| (field::JSONRPC_ID, id.as_json().trim_matches('"').to_owned()));
        let message = ended.error_message.map(|message| (field::ERROR, shown_message(message)));
        let texts = UnclearedRecord {
            server: server.name.clone(),
            direction: Direction::ServerToClient,
            method: operation.known_method().map(Into::into),
            name: operation.name.clone(),
            fields: id.into_iter().chain(message).collect(),
        };
        let record = TraceRecord {
            trace_id: self.trace_id,
            spans: vec![root, client],
            server: server.name.clone(),
            outcome: ended.outcome.as_str(),
            name: None,
            mcp_method: operation.known_method(),
            started,
            duration: ended.duration,
            request_id: None,
            error_id: None,
            tracestate: None,
            is_slow: false,
            is_error,
            is_forced,
            head_sampled,
        };
        Some(Uncleared { record, texts, captured: None })
    }
}

/// How a server's request ended.
pub(crate) struct Ended<'a> {
    pub(crate) outcome: Outcome,
    /// What the client's answer says of its error.
    pub(crate) error_message: Option<&'a str>,
    pub(crate) error: Option<ErrorType>,
    pub(crate) duration: Duration,
    pub(crate) protocol_version: Option<&'static str>,
}
