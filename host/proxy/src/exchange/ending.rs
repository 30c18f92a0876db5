//! How an exchange ends: exactly once, with everything that is still open in it.

use std::time::Duration;

use http::StatusCode;
use watchgate_mcp::Outcome;
use watchgate_telemetry::{AccessLine, ErrorType, ExchangeFinished, SpanId, TraceId, is_call};

use super::{Exchange, Places};
use crate::clearing::uncleared_id;
use crate::operation::Ending;
use crate::trace_record::{Ended, Verdict};

/// What the access line says of the trace.
#[derive(Default)]
struct EndedTrace {
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    sampled: Option<bool>,
    /// The time that connecting took.
    connect: Duration,
}

impl Exchange {
    pub(super) fn end_all(&mut self, outcome: Outcome, failure: Option<ErrorType>) {
        let upstream = self.timing.upstream();
        self.take_back();
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
        self.end_messages(how);
        let how = if how == Outcome::Cancelled && self.ends_by_closing() { Outcome::Ok } else { how };
        self.places = Places::default();
        self.settle_operations(how);
        let outcome = match (how, self.failure) {
            (Outcome::Ok, Outcome::Ok) if self.status >= 400 => Outcome::HttpError,
            (Outcome::Ok, failure) => failure,
            (how, _) => how,
        };
        let (duration, upstream) = (self.timing.started().elapsed(), self.timing.upstream());
        let ended = self.end_trace(outcome, duration);
        let line = std::mem::take(&mut self.line);
        let must_clear_id = self.must_clear_id();
        let request_id = self.id.take_text();
        let about = request_id.as_deref().filter(|_| must_clear_id).map(|id| uncleared_id(&self.server, id));
        let fact = ExchangeFinished {
            server: &self.server.metrics,
            http_method: self.method,
            status: self.status,
            outcome: outcome.as_str(),
            started: self.timing.started_at(),
            duration,
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
                trace_id: ended.trace_id,
                span_id: ended.span_id,
                sampled: ended.sampled,
                connect: ended.connect,
                read: self.timing.read(),
                write: self.timing.write(duration),
                request_id: request_id.filter(|_| !must_clear_id),
                ..line.into_access_line(outcome, self.status)
            },
        };
        let telemetry = &self.shared.telemetry;
        match about {
            None => telemetry.emit(fact),
            Some(about) => {
                if let Some(line) = telemetry.hold_line(fact) {
                    self.shared.clearing.offer_line(telemetry, line, about);
                }
            }
        }
    }

    /// Hands the trace over where somebody has a use for it.
    fn end_trace(&mut self, outcome: Outcome, duration: Duration) -> EndedTrace {
        let Some(mut trace) = self.trace.take() else { return EndedTrace::default() };
        let mut told = EndedTrace {
            trace_id: Some(trace.trace_id),
            span_id: Some(trace.span_id),
            sampled: None,
            connect: trace.attempts.iter().filter_map(|attempt| attempt.connect.as_ref()).map(|connect| connect.took).sum(),
        };
        if let Some(late) = self.late.take() {
            late.exchange_ended(&self.shared, self.ended(outcome, duration), *trace);
            return told;
        }
        let policy = self.shared.telemetry.tracing();
        let is_slow = policy.is_slow(duration) && is_call(self.method, self.line.method());
        let verdict = Verdict {
            outcome,
            status: self.status,
            rpc_error_code: self.line.rpc_error_code,
            fault: trace.fault,
            is_operation: self.line.operations() == 1,
        };
        trace.settle_capture(&self.shared.telemetry, outcome);
        let interest = trace.interest(&verdict, is_slow);
        let is_kept = policy.keeps(interest);
        told.sampled = Some(is_kept);
        if is_kept || trace.captured.is_some() {
            let record = self.ended(outcome, duration).record(*trace, is_slow, &self.shared.telemetry.capture().masked);
            self.shared.clearing.offer(&self.shared.telemetry, record);
        }
        told
    }

    /// What there is to say of it where there is a use for that.
    fn ended(&self, outcome: Outcome, duration: Duration) -> Ended {
        Ended {
            server: self.server.clone(),
            http_method: self.method,
            status: self.status,
            outcome,
            started: self.timing.started(),
            started_at: self.timing.started_at(),
            duration,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            line: self.line.clone(),
            protocol_version: self.protocol_version,
            session: self.session_text,
            client: self.client,
            client_name: self.client_name.clone(),
            request_id: self.id.text().map(Into::into),
            is_clients_id: self.id.is_clients(),
        }
    }

    /// Ends what is still open when the response is over.
    fn settle_operations(&mut self, how: Outcome) {
        let upstream = self.timing.upstream();
        let is_accepted = how == Outcome::Ok && (200..300).contains(&self.status);
        if !is_accepted {
            self.take_back();
        }
        // What has ended in another way was to be the answer itself.
        let may_go_on = is_accepted && (self.is_stream || self.status == StatusCode::ACCEPTED.as_u16());
        for operation in std::mem::take(&mut self.operations) {
            let is_request = operation.is_request;
            // In legacy eras a server may close the stream and answer on a later one.
            if is_request
                && may_go_on
                && !operation.is_listen()
                && !self.is_unread
                && let Some(session) = self.session
            {
                self.remember(session, operation);
                continue;
            }
            let ending = match (how, self.status) {
                (Outcome::Ok, status @ 400..) => Ending::without_answer(Outcome::HttpError, Some(ErrorType::Http(status)), upstream),
                // Who is sent elsewhere asks there again.
                (Outcome::Ok, 300..400) => Ending::without_answer(Outcome::Ok, None, upstream),
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
