//! The messages of an exchange: which operation each one opens or answers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use watchgate_mcp::{Direction, Envelope, ListKind, MessageKind, Outcome, RequestId, method};
use watchgate_telemetry::{ClientIntroduced, NameKind};

use super::{Exchange, known_version};
use crate::asked_trace::{AskedTrace, Asking};
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
                let operation = OpenOperation::from_envelope(Direction::ClientToServer, envelope, self.timing.started(), text);
                let Some(mut operation) = operation else { return };
                if let (Some(session), Some(id)) = (self.session, &operation.id)
                    && self.shared.plan.load().config.expects_policies
                {
                    operation.open_id = Some(self.shared.open_ids.open(session, id.clone()));
                }
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
                    self.note_answer(&operation, &envelope, text.as_ref());
                    self.end_operation(operation, &envelope, text, upstream, None);
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
                if let Some(operation) = self.take_own(envelope.id.as_ref()) {
                    self.note_answer(&operation, &envelope, text.as_ref());
                    let (upstream, overhead) = (self.timing.upstream(), self.timing.overhead());
                    self.end_operation(operation, &envelope, text, upstream, overhead);
                } else if let Some((operation, upstream)) = self.take_remembered(envelope.id.as_ref()) {
                    // What it says is of the exchange that asked.
                    self.end_operation(operation, &envelope, text, upstream, None);
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
                    let asking_exchange = Asking { client: self.client.ip(), method: self.method, session: self.session_text };
                    operation.trace = asking
                        .and_then(|notes| AskedTrace::begin(&self.shared.telemetry, &self.server.name, notes, asking_exchange, &operation));
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

    /// The operation of this exchange that this answer ends.
    pub(super) fn take_own(&mut self, id: Option<&RequestId>) -> Option<OpenOperation> {
        match id {
            Some(id) => {
                let index = self.operations.iter().position(|operation| operation.id.as_ref() == Some(id))?;
                Some(self.operations.swap_remove(index))
            }
            // Errors may come without an id; with one request open there is no doubt whose it is.
            None => match self.operations.as_slice() {
                [only] if only.is_request => self.operations.pop(),
                _ => None,
            },
        }
    }

    /// The operation of another exchange of the session that this answer ends, and how long it has waited.
    pub(super) fn take_remembered(&self, id: Option<&RequestId>) -> Option<(OpenOperation, Duration)> {
        let operation = self.shared.pending.take(self.session?, Direction::ClientToServer, id?)?;
        let waited = operation.started.elapsed();
        Some((operation, waited))
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
            (Some(only), None, ..) => only.certainly(),
            (None, _, Some(id), Some(session)) => self.shared.pending.peek(session, Direction::ClientToServer, id),
            _ => None,
        }
    }

    /// Notes what was said in a call that ends, where that may be recorded.
    pub(super) fn capture(&mut self, operation: &OpenOperation, answer: Option<&Bytes>) {
        let is_tool_call = operation.direction == Direction::ClientToServer && operation.name_kind() == Some(NameKind::Tool);
        if let Some(trace) = &mut self.trace
            && is_tool_call
            && operation.text.is_some()
            && self.line.operations() == 1
            && self.shared.telemetry.capture().is_on()
        {
            trace.captured = Some(Captured::new(operation.text.clone(), answer.cloned()));
        }
    }

    /// Notes what an answer says of this exchange.
    fn note_answer(&mut self, operation: &OpenOperation, answer: &Envelope, text: Option<&Bytes>) {
        self.capture(operation, text);
        if answer.error_code.is_some() {
            self.line.rpc_error_code = answer.error_code;
        }
        if self.trace.is_some() && answer.error_message.is_some() {
            self.line.error_message.clone_from(&answer.error_message);
        }
        self.note_outcome(outcome_of(answer));
    }

    fn end_operation(
        &self,
        operation: OpenOperation,
        answer: &Envelope,
        text: Option<Bytes>,
        upstream: Duration,
        overhead: Option<Duration>,
    ) {
        let outcome = outcome_of(answer);
        if outcome == Outcome::Ok && matches!(operation.known_method(), Some(method::INITIALIZE | method::SERVER_DISCOVER)) {
            self.shared.telemetry.emit(ClientIntroduced {
                protocol_version: self.protocol_version,
                name: operation.peer_name.as_deref(),
                at: self.timing.started(),
            });
        }
        let ending = Ending { outcome, answer: Some(answer), text, failure: None, upstream, overhead };
        operation.finish(&self.shared, &self.server, self.protocol_version, ending);
    }
}
