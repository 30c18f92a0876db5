//! Requests of an exchange that are answered on another stream of their session (legacy eras), and the stream of HTTP+SSE on which they are.

use watchgate_mcp::{Direction, Outcome, method};

use super::{Exchange, MessageStream};
use crate::late_trace::LateTrace;
use crate::operation::{Ending, OpenOperation};
use crate::pending::SessionKey;

impl Exchange {
    /// The answer to this request comes later. From now on it can.
    pub(super) fn remember(&mut self, session: SessionKey, mut operation: OpenOperation) {
        // The span of a batch is about none of its requests.
        if self.trace.is_some() && self.line.operations() == 1 {
            let telemetry = &self.shared.telemetry;
            let is_captured = telemetry.capture().is_on() && operation.known_method() == Some(method::TOOLS_CALL);
            let text = operation.text.take().filter(|_| is_captured);
            let late = LateTrace::new(text.and_then(|text| self.shared.clearing.keep_unanswered(telemetry, text)));
            self.late = Some(late.into());
            operation.late.clone_from(&self.late);
        }
        self.shared.remember(session, operation);
    }

    /// In HTTP+SSE the answers are on the session's stream, and may be there before the POST itself is answered.
    pub(super) fn await_elsewhere(&mut self) {
        let (Some(MessageStream::Elsewhere(_)), Some(session)) = (&self.message_stream, self.session) else { return };
        let mut ids = Vec::new();
        for operation in std::mem::take(&mut self.operations) {
            match operation.id.clone() {
                Some(id) => {
                    ids.push(id);
                    self.remember(session, operation);
                }
                None => self.operations.push(operation),
            }
        }
        self.message_stream = Some(MessageStream::Elsewhere(ids));
    }

    /// The POST was not accepted: nobody answers elsewhere what is not answered yet.
    pub(super) fn take_back(&mut self) {
        let (Some(MessageStream::Elsewhere(ids)), Some(session)) = (&mut self.message_stream, self.session) else { return };
        for id in std::mem::take(ids) {
            if let Some(mut operation) = self.shared.pending.take(session, Direction::ClientToServer, &id) {
                operation.text = operation.late.take().and_then(|late| late.take_text());
                self.late = None;
                self.operations.push(operation);
            }
        }
    }

    /// The stream of an HTTP+SSE session is over, and the session with it: what it has not answered it never will.
    pub(super) fn end_messages(&mut self, how: Outcome) {
        let Some(MessageStream::Here(target)) = &self.message_stream else { return };
        let session = target.key();
        self.message_stream = None;
        // Servers that tell sessions apart by something else have the same target for all of them.
        if self.server.message_targets.is_open(session) {
            return;
        }
        self.server.end_session(session);
        let outcome = if how == Outcome::Cancelled { Outcome::Cancelled } else { Outcome::Aborted };
        for operation in self.shared.pending.take_session(session) {
            let waited = operation.started.elapsed();
            let ending = Ending::without_answer(outcome, None, waited);
            operation.finish(&self.shared, &self.server, self.protocol_version, ending);
        }
    }
}
