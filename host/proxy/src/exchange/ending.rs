//! How an exchange ends: exactly once, with everything that is still open in it.

use std::time::Duration;

use watchgate_mcp::Outcome;
use watchgate_telemetry::{AccessLine, ErrorType, ExchangeFinished, SpanId, TraceId, TraceInterest};

use super::{Exchange, Places};
use crate::operation::Ending;
use crate::trace_record::Ended;

impl Exchange {
    pub(super) fn end_all(&mut self, outcome: Outcome, failure: Option<ErrorType>) {
        let upstream = self.timing.upstream();
        for operation in std::mem::take(&mut self.operations) {
            self.capture(&operation, None);
            let ending = Ending::without_answer(outcome, failure, upstream);
            operation.finish(&self.shared, &self.server, self.protocol_version, ending);
        }
    }

    /// The response is over. `how` is what happened to the bytes; what the messages said counts for more than success.
    pub(crate) fn finish(&mut self, how: Outcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let how = if how == Outcome::Cancelled && self.ends_by_closing() { Outcome::Ok } else { how };
        self.places = Places::default();
        self.settle_operations(how);
        let outcome = match (how, self.worst) {
            (Outcome::Ok, Outcome::Ok) if self.status >= 400 => Outcome::HttpError,
            (Outcome::Ok, worst) => worst,
            (how, _) => how,
        };
        let upstream = self.timing.upstream();
        let (trace_id, span_id, connect) = self.end_trace(outcome);
        let line = std::mem::take(&mut self.line);
        self.shared.telemetry.emit(ExchangeFinished {
            server: &self.server.metrics,
            http_method: self.method,
            status: self.status,
            outcome: outcome.as_str(),
            started: self.timing.started_at(),
            duration: self.timing.started().elapsed(),
            upstream,
            plugins: self.timing.plugins(),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            line: AccessLine {
                session: self.session_text,
                protocol_version: self.protocol_version,
                client: Some(self.client),
                client_name: self.client_name.take(),
                endpoint: self.sent.endpoint.take(),
                attempts: self.sent.attempts,
                cause: self.sent.cause,
                trace_id,
                span_id,
                connect,
                request_id: self.request_id.take(),
                ..line.into_access_line(outcome)
            },
        });
    }

    /// Hands the trace over where somebody has a use for it. Gives its ids for the access line, and the time that connecting took.
    fn end_trace(&mut self, outcome: Outcome) -> (Option<TraceId>, Option<SpanId>, Duration) {
        let Some(mut trace) = self.trace.take() else { return (None, None, Duration::ZERO) };
        let ids = (Some(trace.trace_id), Some(trace.span_id));
        let connect = trace.attempts.iter().filter_map(|attempt| attempt.connect.as_ref()).map(|connect| connect.took).sum();
        let policy = self.shared.telemetry.tracing();
        // A stream is as long as its client wants it.
        let is_slow = !self.is_stream && policy.is_slow(self.timing.started().elapsed());
        let ended = Ended {
            server: &self.server,
            http_method: self.method,
            status: self.status,
            outcome,
            started: self.timing.started(),
            started_at: self.timing.started_at(),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            mcp_method: self.line.method(),
            name: self.line.name(),
            name_kind: self.line.name_kind(),
            operations: self.line.operations(),
            rpc_error_code: self.line.rpc_error_code,
            error_id: self.line.error_id.as_deref(),
            fault: self.line.fault,
            protocol_version: self.protocol_version,
            session: self.session_text,
            client: self.client,
            client_name: self.client_name.as_deref(),
            request_id: self.request_id.as_deref(),
        };
        let interest =
            TraceInterest { head_sampled: trace.head_sampled, forced: trace.is_forced, error: ended.is_error(&trace), slow: is_slow };
        trace.captured = trace.captured.filter(|_| self.shared.telemetry.capture().wants(outcome == Outcome::Ok));
        if policy.keeps(interest) || trace.captured.is_some() {
            let record = ended.record(*trace, is_slow);
            self.shared.clearing.offer(&self.shared.telemetry, record);
        }
        (ids.0, ids.1, connect)
    }

    /// Ends what is still open when the response is over.
    fn settle_operations(&mut self, how: Outcome) {
        let upstream = self.timing.upstream();
        for operation in std::mem::take(&mut self.operations) {
            let is_request = operation.is_request;
            let ok_stream = how == Outcome::Ok && (200..300).contains(&self.status);
            // In legacy eras a server may close the stream and answer on a later one.
            if is_request
                && ok_stream
                && !operation.is_listen()
                && !self.is_unread
                && let Some(session) = self.session
            {
                self.shared.remember(session, operation);
                continue;
            }
            let ending = match (how, self.status) {
                (Outcome::Ok, status @ 400..) => Ending::without_answer(Outcome::HttpError, Some(ErrorType::Http(status)), upstream),
                (Outcome::Ok, _) if !is_request || operation.is_listen() || self.is_unread => {
                    Ending::without_answer(Outcome::Ok, None, upstream)
                }
                (Outcome::Ok, _) => Ending::without_answer(Outcome::Aborted, None, upstream),
                (how, _) => Ending::without_answer(how, None, upstream),
            };
            self.capture(&operation, None);
            if ending.outcome == Outcome::Aborted {
                self.note_outcome(Outcome::Aborted);
            }
            operation.finish(&self.shared, &self.server, self.protocol_version, ending);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Only counts and queues what is already known; nothing here waits.
        self.finish(Outcome::Cancelled);
    }
}
