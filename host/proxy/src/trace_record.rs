//! The trace of an exchange that ended, built from its notes where somebody has a use for it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use watchgate_hooks::{CallOutcome, UnclearedRecord};
use watchgate_mcp::{Direction, Outcome};
use watchgate_telemetry::log::MaskedFields;
use watchgate_telemetry::{
    Attribute, ErrorType, HttpMethod, NameKind, OperationTarget, SpanEvent, SpanId, SpanKind, SpanProtocol, SpanRecord, SpanStatus,
    TraceRecord,
};

use crate::content::Captured;
use crate::fault::Fault;
use crate::line_facts::LineFacts;
use crate::server::Server;
use crate::trace_notes::{AttemptNote, TraceNotes};

/// Bytes of what an error says that a span has.
const LONGEST_MESSAGE: usize = 256;

/// What the exchange knows of itself when it ends.
pub(crate) struct Ended {
    pub(crate) server: Arc<Server>,
    pub(crate) http_method: HttpMethod,
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    /// Until the call was answered, where it is one.
    pub(crate) duration: Duration,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) line: LineFacts,
    pub(crate) protocol_version: Option<&'static str>,
    pub(crate) session: Option<[u8; 8]>,
    pub(crate) client: std::net::SocketAddr,
    pub(crate) client_name: Option<Arc<str>>,
    pub(crate) request_id: Option<Box<str>>,
    /// Whether that is the client's, which policies must see first.
    pub(crate) is_clients_id: bool,
}

/// Whether an exchange failed, as far as traces tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) status: u16,
    pub(crate) rpc_error_code: Option<i64>,
    /// Why the gateway answered itself, where it did.
    pub(crate) fault: Option<Fault>,
    /// Whether it carried one operation, which the span is then about.
    pub(crate) is_operation: bool,
}

/// A record, and the texts in it that no policy has seen yet.
pub(crate) struct Uncleared {
    pub(crate) record: TraceRecord,
    pub(crate) texts: UnclearedRecord,
    /// What was said in the call, where that is recorded.
    pub(crate) captured: Option<Captured>,
}

/// The fields of [`UnclearedRecord`].
pub(crate) mod field {
    pub(crate) const NAME: &str = "name";
    pub(crate) const JSONRPC_ID: &str = "jsonrpc_id";
    pub(crate) const TRACESTATE: &str = "tracestate";
    pub(crate) const ARGUMENTS: &str = "arguments";
    pub(crate) const RESULT: &str = "result";
    pub(crate) const ERROR: &str = "error";
    pub(crate) const REQUEST_ID: &str = "request_id";
}

impl Verdict {
    /// The error, if it is one.
    pub(crate) fn error(&self) -> Option<ErrorType> {
        let failure = self.fault.map(|fault| ErrorType::Named(fault.reason()));
        match self.outcome {
            Outcome::Ok => None,
            Outcome::ToolError => Some(ErrorType::ToolError),
            Outcome::RpcError => Some(self.rpc_error_code.map_or(ErrorType::Named("rpc_error"), ErrorType::Rpc)),
            Outcome::HttpError => Some(failure.unwrap_or(ErrorType::Http(self.status))),
            outcome => Some(failure.unwrap_or(ErrorType::Named(outcome.as_str()))),
        }
    }

    /// Whether it counts as failed. What is turned away is the client's mistake, as codes such as -32602 are: anybody who sends enough of it could
    /// crowd real failures out.
    pub(crate) fn is_error(&self) -> bool {
        match self.error() {
            // Nor is a client that leaves; one that left because it took long is among the slow.
            _ if self.is_turned_away() || self.outcome == Outcome::Cancelled => false,
            Some(ErrorType::Http(status)) if !self.is_operation => status >= 500,
            error => error.is_some_and(ErrorType::is_server_error),
        }
    }

    fn is_turned_away(&self) -> bool {
        self.fault.is_some_and(|fault| fault.blame() == "client")
    }
}

impl Ended {
    /// How it ended.
    pub(crate) fn verdict(&self, notes: &TraceNotes) -> Verdict {
        Verdict {
            outcome: self.outcome,
            status: self.status,
            rpc_error_code: self.line.rpc_error_code,
            fault: notes.fault,
            is_operation: self.is_operation(),
        }
    }

    /// Builds the record. `notes` has its attempts in order; the last is the one that reached the server, if any did.
    pub(crate) fn record(&self, notes: TraceNotes, is_slow: bool, masked: &MaskedFields) -> Uncleared {
        let duration = self.duration;
        let verdict = self.verdict(&notes);
        let error = verdict.error();
        // The gateway's own sentence; what servers say comes once it is cleared.
        let sentence = |fault: Fault| Some(Cow::Borrowed(fault.message()));
        let protocol = if self.is_operation() { SpanProtocol::Mcp } else { SpanProtocol::Http };
        let mut root = self.span(notes.span_id, SpanKind::Server, self.started_at, duration);
        if let Some(error) = error.filter(|_| !verdict.is_turned_away()) {
            root.fail(protocol, error, notes.fault.and_then(sentence));
        }
        self.describe(&mut root, &notes);
        let retried = notes.attempts.split_last().map_or(&[][..], |(_, before)| before);
        root.events.extend(retried.iter().map(|attempt| {
            SpanEvent::retry(self.wall(attempt.ended.unwrap_or(attempt.begun)), attempt.failure.map_or("connect_failed", Fault::reason))
        }));
        let is_error = verdict.is_error();
        let mut spans = vec![match &notes.context.parent {
            Some(parent) => root.within_remote(parent.span_id),
            None => root,
        }];
        let last = notes.attempts.len().saturating_sub(1);
        for (place, attempt) in notes.attempts.iter().enumerate() {
            let id = if place == last { notes.call_id } else { SpanId::random() };
            let end = attempt.ended.unwrap_or(self.started + duration);
            let mut span = self
                .span(id, SpanKind::Client, self.wall(attempt.begun), end.saturating_duration_since(attempt.begun))
                .within(notes.span_id);
            describe_attempt(&mut span, attempt, place);
            match (attempt.failure, error) {
                (Some(failure), _) => span.fail(protocol, ErrorType::Named(failure.reason()), sentence(failure)),
                // What a policy denies was no failure of who sent it.
                (None, Some(error)) if place == last && self.outcome != Outcome::Denied => {
                    span.fail(protocol, error, notes.fault.and_then(sentence))
                }
                _ => {}
            }
            spans.push(span);
            if let Some(connect) = &attempt.connect {
                let mut span = SpanRecord::connect(SpanId::random(), self.wall(connect.begun), connect.took);
                if let Some(cause) = connect.failure {
                    span.fail(protocol, ErrorType::Named(cause.as_str()), None);
                }
                spans.push(span.within(id));
            }
        }
        for (direction, call) in &notes.calls {
            let id = SpanId::random();
            let mut span =
                SpanRecord::redact(id, &call.plugin, call.outcome.as_str(), direction.as_str(), self.wall(call.begun), call.duration);
            if let CallOutcome::Failed(reason) = call.outcome {
                span.set(Attribute::PluginReason, reason.as_str());
                span.fail(protocol, ErrorType::Named(reason.as_str()), None);
            }
            spans.push(span.within(notes.span_id));
        }
        let texts = self.texts(&notes, masked);
        let record = TraceRecord {
            trace_id: notes.trace_id,
            spans,
            server: self.server.name.clone(),
            outcome: self.outcome.as_str(),
            name: self.bounded_name().map(Into::into),
            mcp_method: self.line.method(),
            started: self.started_at,
            duration,
            request_id: self.request_id.clone().filter(|_| !self.is_clients_id),
            error_id: self.line.error_id.clone(),
            tracestate: None,
            is_slow,
            is_error,
            is_forced: notes.is_forced,
            head_sampled: notes.head_sampled,
        };
        Uncleared { record, texts, captured: notes.captured }
    }

    fn is_operation(&self) -> bool {
        self.line.operations() == 1
    }

    /// The tool or prompt where the server knows it; texts of a client's own making go through the policies first.
    fn bounded_name(&self) -> Option<&str> {
        let (kind, name) = (self.line.name_kind()?, self.line.name()?);
        match kind {
            NameKind::Resource => None,
            kind if self.server.metrics.is_known(kind, name) => Some(name),
            _ => Some("_other"),
        }
    }

    fn span(&self, id: SpanId, kind: SpanKind, started: SystemTime, duration: Duration) -> SpanRecord {
        if !self.is_operation() {
            let route = (kind == SpanKind::Server).then(|| self.server.route());
            return SpanRecord::http(id, kind, self.http_method, route.as_deref(), started, duration);
        }
        let target = match (self.line.name_kind(), self.bounded_name()) {
            (Some(NameKind::Tool), Some(name)) => OperationTarget::Tool(name),
            (Some(NameKind::Prompt), Some(name)) => OperationTarget::Prompt(name),
            _ => OperationTarget::None,
        };
        let mut span = SpanRecord::operation(id, kind, self.line.method().filter(|method| *method != "_other"), target, started, duration);
        span.set_http_method(self.http_method);
        span.set(Attribute::Initiator, "client");
        if let Some(version) = self.protocol_version {
            span.set(Attribute::McpProtocolVersion, version);
        }
        if let Some(session) = self.session {
            span.set(Attribute::McpSessionId, hex(&session));
        }
        span
    }

    fn describe(&self, root: &mut SpanRecord, notes: &TraceNotes) {
        root.set(Attribute::NetworkTransport, "tcp");
        root.set(Attribute::NetworkProtocolName, "http");
        root.set(Attribute::NetworkProtocolVersion, notes.http_version);
        root.set(Attribute::UrlScheme, scheme(notes.client_is_tls));
        root.set(Attribute::ClientAddress, self.client.ip().to_string());
        root.set(Attribute::ClientPort, self.client.port());
        root.set(Attribute::Server, self.server.name.to_string());
        root.set(Attribute::Outcome, self.outcome.as_str());
        root.set(Attribute::HttpRequestBodySize, self.request_bytes);
        root.set(Attribute::HttpResponseBodySize, self.response_bytes);
        if self.status != 0 {
            root.set(Attribute::HttpResponseStatusCode, self.status);
        }
        if self.line.operations() > 1 {
            root.set(Attribute::Operations, self.line.operations());
        }
        if let Some(name) = &self.client_name {
            root.set(Attribute::ClientName, String::from(&**name));
        }
        // The gateway's own errors have one too, whatever made the exchange fail.
        if let Some(code) = self.line.rpc_error_code {
            root.set(Attribute::RpcResponseStatusCode, code.to_string());
        }
        if let Some(error_id) = &self.line.error_id {
            root.set(Attribute::ErrorId, error_id.clone());
        }
        if let Some(request_id) = self.request_id.as_ref().filter(|_| !self.is_clients_id) {
            root.set(Attribute::RequestId, request_id.clone());
        }
        if let Some(fault) = self.line.fault(self.outcome, self.status) {
            root.set(Attribute::Fault, fault);
        }
        if notes.is_forced {
            root.set(Attribute::Forced, true);
        }
        root.links.extend(notes.link);
    }

    fn texts(&self, notes: &TraceNotes, masked: &MaskedFields) -> UnclearedRecord {
        let mut fields = Vec::new();
        let is_new_name = self.bounded_name() == Some("_other") || self.line.name_kind() == Some(NameKind::Resource);
        if let Some(name) = self.line.name().filter(|_| is_new_name && self.is_operation()) {
            let is_url = self.line.name_kind() == Some(NameKind::Resource);
            fields.push((field::NAME, if is_url { masked.mask_urls(name).into_owned() } else { name.to_owned() }));
        }
        if let Some(id) = notes.request_id.as_ref().filter(|_| self.is_operation()) {
            fields.push((field::JSONRPC_ID, id.as_json().trim_matches('"').to_owned()));
        }
        if let Some(message) = self.line.error_message.as_deref().filter(|_| notes.fault.is_none()) {
            fields.push((field::ERROR, shown_message(message)));
        }
        if let Some(id) = self.request_id.as_deref().filter(|_| self.is_clients_id) {
            fields.push((field::REQUEST_ID, id.to_owned()));
        }
        if let Some(tracestate) = &notes.context.tracestate {
            fields.push((field::TRACESTATE, tracestate.to_string()));
        }
        UnclearedRecord {
            server: self.server.name.clone(),
            direction: Direction::ClientToServer,
            method: self.line.method().map(Into::into),
            name: self.line.name().map(Into::into),
            fields,
        }
    }

    /// A moment of the exchange on the wall clock, which may step meanwhile.
    fn wall(&self, moment: Instant) -> SystemTime {
        self.started_at + moment.saturating_duration_since(self.started)
    }
}

fn describe_attempt(span: &mut SpanRecord, attempt: &AttemptNote, place: usize) {
    span.set(Attribute::NetworkTransport, "tcp");
    span.set(Attribute::NetworkProtocolName, "http");
    span.set(Attribute::NetworkProtocolVersion, if attempt.is_http2 { "2" } else { "1.1" });
    span.set(Attribute::ServerAddress, attempt.endpoint.config.host.clone());
    span.set(Attribute::ServerPort, attempt.endpoint.config.port);
    span.set(Attribute::Endpoint, attempt.endpoint.authority.to_string());
    span.set(Attribute::UrlScheme, scheme(attempt.endpoint.config.tls));
    span.set(Attribute::ConnectionReused, attempt.connect.is_none());
    if let Some(status) = attempt.status {
        span.set(Attribute::HttpResponseStatusCode, status);
    }
    if place > 0 {
        span.set(Attribute::HttpRequestResendCount, u32::try_from(place).unwrap_or(u32::MAX));
    }
}

fn scheme(is_tls: bool) -> &'static str {
    if is_tls { "https" } else { "http" }
}

/// What the error of an answer says, at most [`LONGEST_MESSAGE`] bytes of it. One that is longer ends behind its last whole word: policies know no
/// secret by its beginning.
pub(crate) fn shown_message(message: &str) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    let cut = &message[..message.floor_char_boundary(LONGEST_MESSAGE)];
    let words = cut.rfind(char::is_whitespace).map_or("", |end| cut[..end].trim_end());
    format!("{words}…")
}

/// Puts the texts that passed the policies where they belong.
pub(crate) fn put_texts(record: &mut TraceRecord, texts: Vec<(&'static str, String)>) {
    for (name, text) in texts {
        match name {
            field::ARGUMENTS | field::RESULT => {
                let attribute = if name == field::ARGUMENTS { Attribute::GenAiToolCallArguments } else { Attribute::GenAiToolCallResult };
                if let Some(root) = record.spans.first_mut() {
                    root.set(attribute, text);
                }
            }
            field::ERROR => {
                for span in &mut record.spans {
                    // Those that say why already are of attempts that failed otherwise, and of plugins.
                    if span.kind != SpanKind::Internal && span.status == SpanStatus::Error(Cow::Borrowed("")) {
                        span.status = SpanStatus::Error(Cow::Owned(text.clone()));
                    }
                }
            }
            field::REQUEST_ID => {
                if let Some(root) = record.spans.first_mut() {
                    root.set(Attribute::RequestId, text.clone());
                }
                record.request_id = Some(text.into());
            }
            field::TRACESTATE => record.tracestate = Some(text.into()),
            field::JSONRPC_ID => {
                for span in record.spans.iter_mut().filter(|span| span.kind != SpanKind::Internal) {
                    span.set(Attribute::JsonrpcRequestId, text.clone());
                }
            }
            _ => put_name(record, &text),
        }
    }
}

fn put_name(record: &mut TraceRecord, name: &str) {
    let attribute = match record.mcp_method {
        Some("tools/call") => Attribute::GenAiToolName,
        Some("prompts/get") => Attribute::GenAiPromptName,
        _ => Attribute::McpResourceUri,
    };
    for span in record.spans.iter_mut().filter(|span| span.kind != SpanKind::Internal) {
        span.set(attribute, name.to_owned());
        if attribute != Attribute::McpResourceUri {
            record.name = Some(name.into());
            span.name = Cow::Owned(format!("{} {name}", record.mcp_method.unwrap_or("_other")));
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
