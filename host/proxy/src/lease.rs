//! An endpoint that is busy with an exchange, and how the exchange ends for everybody who judges the endpoint by it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use watchgate_telemetry::{EndpointResult, InFlightGuard};

use crate::balancer::Outstanding;
use crate::breaker::{Admitted, Attempt};
use crate::endpoint::Endpoint;
use crate::headers::{self, Content};

/// A client that leaves after so long without anything of an answer has given the endpoint up; one that leaves before has changed its mind.
const PATIENCE: Duration = Duration::from_secs(3);

/// Held until the last byte of the answer, so that an answer that breaks off counts as one. Dropped before, it counts as what is known by then.
pub(crate) struct Lease {
    pub(crate) endpoint: Arc<Endpoint>,
    /// `None` once it is settled, and for what counts for nothing.
    admitted: Option<Admitted>,
    begun: Instant,
    /// What the exchange counts as when nothing more is heard of it. `None` until something of the answer is here.
    verdict: Option<Attempt>,
    _outstanding: Outstanding,
    _in_flight: InFlightGuard,
}

impl Lease {
    /// Of an exchange that was let through at `begun`.
    pub(crate) fn new(endpoint: Arc<Endpoint>, admitted: Admitted, begun: Instant) -> Self {
        Self::held(endpoint, Some(admitted), begun)
    }

    /// Of a question that the endpoint is not judged by.
    pub(crate) fn uncounted(endpoint: Arc<Endpoint>) -> Self {
        Self::held(endpoint, None, Instant::now())
    }

    fn held(endpoint: Arc<Endpoint>, admitted: Option<Admitted>, begun: Instant) -> Self {
        let (outstanding, in_flight) = (endpoint.health.begin(), endpoint.metrics.in_flight());
        Self { endpoint, admitted, begun, verdict: None, _outstanding: outstanding, _in_flight: in_flight }
    }

    /// The head of the answer is here. `opens_stream`: the request was for a stream that goes on as long as its client wants it.
    pub(crate) fn note_head(&mut self, status: StatusCode, headers: &HeaderMap, opens_stream: bool) {
        if is_trouble(status) {
            return self.settle(Attempt::Failed);
        }
        let is_stream = headers::content(headers) == Content::EventStream;
        // Many servers send the head of a stream at once, however long they then take over the call.
        self.verdict = (!is_stream).then_some(Attempt::Ok);
        // Something in between may cut such a stream after any time, and clients resume it. And others wait for the end of a trial, which is not to
        // take as long as the call that a stream answers.
        let is_trial = self.admitted.as_ref().is_some_and(Admitted::is_trial);
        if (opens_stream || is_trial) && is_stream {
            self.settle(Attempt::Ok);
        }
    }

    /// Something of its body is here.
    pub(crate) fn note_body(&mut self) {
        self.verdict = Some(Attempt::Ok);
    }

    /// It is known how the exchange ended. What was said first counts.
    pub(crate) fn settle(&mut self, attempt: Attempt) {
        if let Some(admitted) = self.admitted.take() {
            self.endpoint.note(admitted, attempt);
        }
    }

    /// It failed, but the same request asks again: its last try counts. Else a few patient ones would open the breaker on a server that restarts.
    pub(crate) fn forgive(mut self, attempt: Attempt) {
        if self.admitted.take().is_some() {
            self.endpoint.metrics.request_ended(result_of(attempt));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.admitted.is_some() {
            let without_answer = || if self.begun.elapsed() < PATIENCE { Attempt::Abandoned } else { Attempt::GivenUp };
            let attempt = self.verdict.unwrap_or_else(without_answer);
            self.settle(attempt);
        }
    }
}

/// An answer that stands for a server that is not there, whoever wrote it.
fn is_trouble(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// What an attempt is counted as.
pub(crate) fn result_of(attempt: Attempt) -> EndpointResult {
    match attempt {
        Attempt::Ok => EndpointResult::Ok,
        Attempt::Failed | Attempt::Stale => EndpointResult::Failed,
        Attempt::ConnectFailed => EndpointResult::ConnectFailed,
        Attempt::Abandoned | Attempt::GivenUp => EndpointResult::Abandoned,
    }
}
