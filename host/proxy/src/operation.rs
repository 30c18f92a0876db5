//! One JSON-RPC request or notification between being seen and being answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use watchgate_hooks::Operation;
use watchgate_mcp::{Direction, Envelope, MessageKind, MethodText, Outcome, RequestId, method};
use watchgate_telemetry::{ErrorType, NameKind, OperationFinished};

use crate::asked_trace::{AskedTrace, Ended};
use crate::late_trace::LateTrace;
use crate::open_ids::OpenId;
use crate::server::{Server, Shared};

/// A text kept for derivation plugins, or to be recorded, is cut at this many bytes.
pub(crate) const TEXT_CAP: usize = 64 << 10;

/// A request that waits for its answer, or a notification about to be counted.
#[derive(Clone, Debug)]
pub(crate) struct OpenOperation {
    pub(crate) direction: Direction,
    /// Whether it waits for an answer. An id that is too long or too large to be kept is `None` all the same.
    pub(crate) is_request: bool,
    pub(crate) id: Option<RequestId>,
    pub(crate) method: MethodText,
    pub(crate) name: Option<Box<str>>,
    pub(crate) started: Instant,
    pub(crate) request_bytes: u64,
    pub(crate) argument_bytes: u64,
    pub(crate) protocol_version: Option<Box<str>>,
    /// The sender's own name, where the message says it.
    pub(crate) peer_name: Option<Box<str>>,
    pub(crate) text: Option<Bytes>,
    /// Others may read it as another message, see [`Envelope::is_ambiguous`].
    pub(crate) is_ambiguous: bool,
    /// `params._meta.traceparent`, where the server asks.
    pub(crate) traceparent: Option<Box<str>>,
    /// Of a server's request, where somebody has a use for traces.
    pub(crate) trace: Option<Box<AskedTrace>>,
    /// Of a client's request in a session, where policies may be asked by what its answer is to.
    pub(crate) open_id: Option<Arc<OpenId>>,
    /// Of a client's request that is answered on another stream than it came on, where somebody has a use for traces.
    pub(crate) late: Option<Arc<LateTrace>>,
}

/// How an operation ended.
pub(crate) struct Ending<'a> {
    pub(crate) outcome: Outcome,
    /// The answer, when there was one.
    pub(crate) answer: Option<&'a Envelope>,
    /// Its text, when it is kept.
    pub(crate) text: Option<Bytes>,
    /// The HTTP status or the gateway's own reason, when that is what failed.
    pub(crate) failure: Option<ErrorType>,
    /// Time spent waiting for the server.
    pub(crate) upstream: Duration,
    /// Time spent in the gateway itself, where that can be told.
    pub(crate) overhead: Option<Duration>,
}

impl Ending<'_> {
    /// Without an answer.
    pub(crate) fn without_answer(outcome: Outcome, failure: Option<ErrorType>, upstream: Duration) -> Self {
        Self { outcome, answer: None, text: None, failure, upstream, overhead: None }
    }
}

impl OpenOperation {
    /// From a request or notification.
    pub(crate) fn from_envelope(direction: Direction, envelope: Envelope, started: Instant, text: Option<Bytes>) -> Option<Self> {
        let is_request = envelope.kind == MessageKind::Request;
        if !is_request && envelope.kind != MessageKind::Notification {
            return None;
        }
        Some(Self {
            direction,
            is_request,
            id: if is_request { envelope.id } else { None },
            method: envelope.method?,
            name: envelope.name,
            started,
            request_bytes: envelope.bytes,
            argument_bytes: envelope.argument_bytes,
            protocol_version: envelope.protocol_version,
            peer_name: envelope.peer_name,
            text,
            is_ambiguous: envelope.is_ambiguous,
            traceparent: envelope.traceparent.filter(|_| direction == Direction::ServerToClient),
            trace: None,
            open_id: None,
            late: None,
        })
    }

    /// Method and name, for policies that are asked by what an answer is to. `None` where that is not certain: the request may be read in two ways, or
    /// another one has its id.
    pub(crate) fn certainly(&self) -> Option<(Box<str>, Option<Box<str>>)> {
        let is_certain = !self.is_ambiguous && !self.open_id.as_ref().is_some_and(|id| id.is_shared());
        is_certain.then(|| (self.method.as_str().into(), self.name.clone()))
    }

    /// The method, when it is one the specification defines.
    pub(crate) fn known_method(&self) -> Option<&'static str> {
        match self.method {
            MethodText::Known(name) => Some(name),
            MethodText::Other(_) => None,
        }
    }

    /// Whether closing its stream is how it ends.
    pub(crate) fn is_listen(&self) -> bool {
        self.known_method() == Some(method::SUBSCRIPTIONS_LISTEN)
    }

    /// What kind of name it carries.
    pub(crate) fn name_kind(&self) -> Option<NameKind> {
        match self.known_method()? {
            method::TOOLS_CALL => Some(NameKind::Tool),
            method::PROMPTS_GET => Some(NameKind::Prompt),
            name if name.starts_with("resources/") => Some(NameKind::Resource),
            _ => None,
        }
    }

    /// Says it: to the metrics, and to the derivation plugins that are live now.
    pub(crate) fn finish(mut self, shared: &Shared, server: &Server, protocol_version: Option<&'static str>, ending: Ending<'_>) {
        let duration = self.started.elapsed();
        let kind = self.name_kind();
        if let (Outcome::Ok, Some(kind), Some(name), true) =
            (ending.outcome, kind, &self.name, ending.answer.is_some_and(|answer| answer.kind == MessageKind::Result))
        {
            server.metrics.learn_answered(kind, name);
        }
        shared.telemetry.emit(OperationFinished {
            server: &server.metrics,
            from_client: self.direction == Direction::ClientToServer,
            method: self.known_method(),
            name: self.name.as_deref(),
            name_kind: kind,
            outcome: ending.outcome.as_str(),
            error_type: error_type(&ending),
            protocol_version,
            duration,
            upstream: ending.upstream,
            overhead: ending.overhead,
            request_bytes: self.request_bytes,
            response_bytes: ending.answer.map_or(0, |answer| answer.bytes),
        });
        if let Some(trace) = self.trace.take() {
            let error_message = ending.answer.and_then(|answer| answer.error_message.as_deref());
            let ended = Ended { outcome: ending.outcome, error_message, error: error_type(&ending), duration, protocol_version };
            if let Some(record) = trace.finish(&shared.telemetry, server, &self, &ended) {
                shared.clearing.offer(&shared.telemetry, record);
            }
        }
        if let Some(late) = self.late.take() {
            late.call_ended(shared, &ending, duration);
        }
        let hooks = shared.hooks.load();
        if hooks.derivations.is_empty() {
            return;
        }
        let operation = self.into_observed(server, ending, duration);
        if let Some((last, others)) = hooks.derivations.split_last() {
            for queue in others {
                queue.offer(operation.clone());
            }
            last.offer(operation);
        }
    }

    fn into_observed(self, server: &Server, ending: Ending<'_>, duration: Duration) -> Operation {
        let answer = ending.answer;
        Operation {
            server: server.name.clone(),
            direction: self.direction,
            method: self.method.as_str().into(),
            name: self.name,
            outcome: ending.outcome,
            error_code: answer.and_then(|answer| answer.error_code),
            duration,
            upstream: ending.upstream,
            request_bytes: self.request_bytes,
            response_bytes: answer.map_or(0, |answer| answer.bytes),
            argument_bytes: self.argument_bytes,
            result_bytes: answer.map_or(0, |answer| answer.result_bytes),
            content: answer.map(|answer| answer.content).unwrap_or_default(),
            protocol_version: answer.and_then(|answer| answer.protocol_version.clone()).or(self.protocol_version),
            request_text: self.text,
            response_text: ending.text,
        }
    }
}

/// The outcome that an answer stands for.
pub(crate) fn outcome_of(answer: &Envelope) -> Outcome {
    match answer.kind {
        MessageKind::Error => Outcome::RpcError,
        _ if answer.is_error => Outcome::ToolError,
        _ => Outcome::Ok,
    }
}

fn error_type(ending: &Ending<'_>) -> Option<ErrorType> {
    match (ending.outcome, ending.answer) {
        (Outcome::Ok, _) => None,
        (Outcome::ToolError, _) => Some(ErrorType::ToolError),
        (Outcome::RpcError, Some(answer)) => Some(answer.error_code.map_or(ErrorType::Named("rpc_error"), ErrorType::Rpc)),
        (outcome, _) => Some(ending.failure.unwrap_or(ErrorType::Named(outcome.as_str()))),
    }
}

/// The text of a message, cut. A copy: a slice would keep a whole body alive for as long as the operation queues.
pub(crate) fn kept_text(body: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&body[..body.len().min(TEXT_CAP)])
}
