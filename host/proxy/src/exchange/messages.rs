//! The messages of an exchange: which operation each one opens or answers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use watchgate_mcp::{Direction, Envelope, ListKind, MessageKind, Outcome, RequestId, method};
use watchgate_telemetry::{ClientIntroduced, NameKind};

use super::{Exchange, known_version};
use crate::asked_trace::AskedTrace;
use crate::content::Captured;
use crate::operation::{Ending, OpenOperation, outcome_of};
use crate::scan::MAX_ELEMENTS;

impl Exchange {
    /// A message of the client, after redaction.
    pub(crate) fn client_message(&mut self, envelope: Envelope, text: Option<Bytes>) {
        match envelope.kind {
            MessageKind::Request | MessageKind::Notification => {
                if self.protocol_version.is_none() {
                    self.protocol_version = envelope.protocol_version.as_deref().and_then(|version| known_version(version.as_bytes()));
                }
                let Some(operation) = OpenOperation::from_envelope(Direction::ClientToServer, envelope, self.timing.started(), text) else {
                    return;
                };
                self.line.note_operation(&operation);
                // A notification is answered by the status of the exchange: it stays open until then. A body has no more messages than this, see `scan`.
                debug_assert!(self.operations.len() < MAX_ELEMENTS);
                self.operations.push(operation);
            }
            MessageKind::Result | MessageKind::Error => {
                if let (Some(session), Some(id)) = (self.session, &envelope.id)
                    && let Some(operation) = self.shared.pending.take(session, Direction::ServerToClient, id)
                {
                    // For a server's request the client is the one that was waited for.
                    let upstream = operation.started.elapsed();
                    self.end_operation(operation, &envelope, text, upstream);
                }
            }
            MessageKind::Invalid => {}
        }
    }

    /// A message of the server, after redaction.
    pub(crate) fn server_message(&mut self, envelope: Envelope, text: Option<Bytes>) {
        for listed in &envelope.listed {
            match listed.kind {
                ListKind::Tool => self.server.metrics.learn(NameKind::Tool, &listed.name),
                ListKind::Prompt => self.server.metrics.learn(NameKind::Prompt, &listed.name),
                // URIs are never labels.
                ListKind::ResourceTemplate => {}
            }
        }
        if let Some(version) = envelope.protocol_version.as_deref().and_then(|version| known_version(version.as_bytes())) {
            self.protocol_version = Some(version);
        }
        match envelope.kind {
            MessageKind::Result | MessageKind::Error => {
                if let Some(operation) = self.take_asked(envelope.id.as_ref()) {
                    // One that was asked in an earlier exchange has waited all the time since.
                    let is_own = operation.started == self.timing.started();
                    let upstream = if is_own { self.timing.upstream() } else { operation.started.elapsed() };
                    self.end_operation(operation, &envelope, text, upstream);
                } else if envelope.kind == MessageKind::Error {
                    // Of a message that could not be read, for example, which has no id to be answered by.
                    self.line.rpc_error_code = envelope.error_code.or(self.line.rpc_error_code);
                    self.note_outcome(Outcome::RpcError);
                }
            }
            MessageKind::Request => {
                let asked = OpenOperation::from_envelope(Direction::ServerToClient, envelope, Instant::now(), text);
                let Some(mut operation) = asked else { return };
                if let Some(session) = self.session {
                    let asking = self.trace.as_deref();
                    operation.trace = asking
                        .and_then(|notes| AskedTrace::begin(&self.shared.telemetry, notes, self.method, self.session_text, &operation));
                    self.shared.remember(session, operation);
                } else {
                    // Outside of a session nothing says which answer is its own.
                    let ending = Ending::without_answer(Outcome::Ok, None, Duration::ZERO);
                    operation.finish(&self.shared, &self.server, self.protocol_version, ending);
                }
            }
            MessageKind::Notification => {
                if let Some(operation) = OpenOperation::from_envelope(Direction::ServerToClient, envelope, Instant::now(), text) {
                    let ending = Ending::without_answer(Outcome::Ok, None, Duration::ZERO);
                    operation.finish(&self.shared, &self.server, self.protocol_version, ending);
                }
            }
            MessageKind::Invalid => {}
        }
    }

    /// The operation that this answer ends: one of this exchange, or one remembered from an earlier stream of the session.
    pub(super) fn take_asked(&mut self, id: Option<&RequestId>) -> Option<OpenOperation> {
        match id {
            Some(id) => {
                if let Some(index) = self.operations.iter().position(|operation| operation.id.as_ref() == Some(id)) {
                    return Some(self.operations.swap_remove(index));
                }
                self.shared.pending.take(self.session?, Direction::ClientToServer, id)
            }
            // Errors may come without an id; with one request open there is no doubt whose it is.
            None => match self.operations.as_slice() {
                [only] if only.is_request => self.operations.pop(),
                _ => None,
            },
        }
    }

    /// The id of the one operation that is open, where it has one.
    pub(crate) fn only_id(&self) -> Option<RequestId> {
        match self.operations.as_slice() {
            [only] => only.id.clone(),
            _ => None,
        }
    }

    /// Method and name of the request that an answer with this id belongs to. `None` where that is not certain: the request may be read in two ways, or
    /// several have the id.
    pub(crate) fn asked(&self, id: Option<&RequestId>) -> Option<(Box<str>, Option<Box<str>>)> {
        let mut found = self.operations.iter().filter(|operation| id.is_none_or(|id| operation.id.as_ref() == Some(id)));
        match (found.next(), found.next(), id, self.session) {
            (Some(only), None, ..) => (!only.is_ambiguous).then(|| (only.method.as_str().into(), only.name.clone())),
            (None, _, Some(id), Some(session)) => self.shared.pending.peek(session, Direction::ClientToServer, id),
            _ => None,
        }
    }

    /// Notes what was said in a call that ends, where that may be recorded.
    pub(super) fn capture(&mut self, operation: &OpenOperation, answer: Option<&Bytes>) {
        let is_tool_call = operation.direction == Direction::ClientToServer && operation.name_kind() == Some(NameKind::Tool);
        // One that was remembered from an earlier exchange has no text any more, and is none of this exchange's.
        if let Some(trace) = &mut self.trace
            && is_tool_call
            && operation.text.is_some()
            && self.line.operations() == 1
            && self.shared.telemetry.capture().is_on()
        {
            trace.captured = Some(Captured::new(operation.text.clone(), answer.cloned()));
        }
    }

    fn end_operation(&mut self, operation: OpenOperation, answer: &Envelope, text: Option<Bytes>, upstream: Duration) {
        self.capture(&operation, text.as_ref());
        let outcome = outcome_of(answer);
        if let Some(code) = answer.error_code {
            self.line.rpc_error_code = Some(code);
        }
        self.note_outcome(outcome);
        if outcome == Outcome::Ok && matches!(operation.known_method(), Some(method::INITIALIZE | method::SERVER_DISCOVER)) {
            self.shared.telemetry.emit(ClientIntroduced {
                protocol_version: self.protocol_version,
                name: operation.peer_name.as_deref(),
                at: self.timing.started(),
            });
        }
        let overhead = if operation.direction == Direction::ClientToServer { self.timing.overhead() } else { None };
        let ending = Ending { outcome, answer: Some(answer), text, failure: None, upstream, overhead };
        operation.finish(&self.shared, &self.server, self.protocol_version, ending);
    }
}
