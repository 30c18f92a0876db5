//! Slow calls, said as warnings with where their time went; so many a second, because in an overload every call is slow.

use std::time::{Duration, Instant};

use super::line::{AccessRecord, milliseconds};
use crate::facts::{ExchangeFinished, HttpMethod, LISTEN};
use crate::log::Throttle;

/// Whether an exchange is a call, which can be slow. Streams are as long as their clients want them. `mcp_method` is that of its first message.
pub fn is_call(http_method: HttpMethod, mcp_method: Option<&str>) -> bool {
    http_method == HttpMethod::Post && mcp_method.is_some_and(|method| method != LISTEN)
}

/// When a call is slow, and how many of them were said.
pub(crate) struct SlowCalls {
    threshold: Option<Duration>,
    throttle: Throttle,
}

impl SlowCalls {
    pub fn new(threshold: Option<Duration>) -> Self {
        Self { threshold, throttle: Throttle::default() }
    }

    /// Whether a call took too long.
    pub fn is_slow(&self, fact: &ExchangeFinished<'_>) -> bool {
        self.threshold.is_some_and(|threshold| fact.duration >= threshold) && is_call(fact.http_method, fact.line.mcp_method)
    }

    /// Says a slow call, unless too many were said.
    #[cold]
    pub fn say(&self, record: &AccessRecord) {
        let Some(unsaid) = self.throttle.admit(Instant::now()) else { return };
        let line = &record.line;
        let elsewhere = [line.read, record.upstream, record.plugins, line.write].into_iter().sum();
        let gateway = record.duration.saturating_sub(elsewhere);
        tracing::warn!(
            server = record.names.server(),
            mcp_method = line.mcp_method,
            name = record.known_name(),
            outcome = record.outcome,
            duration_ms = milliseconds(record.duration),
            read_ms = milliseconds(line.read),
            gateway_ms = milliseconds(gateway),
            plugins_ms = milliseconds(record.plugins),
            connect_ms = milliseconds(line.connect),
            upstream_ms = milliseconds(record.upstream.saturating_sub(line.connect)),
            write_ms = milliseconds(line.write),
            endpoint = line.endpoint.as_deref(),
            error_id = line.error_id.as_deref(),
            request_id = line.request_id.as_deref(),
            trace_id = line.trace_id.map(tracing::field::display),
            span_id = line.span_id.map(tracing::field::display),
            unsaid = (unsaid > 0).then_some(unsaid),
            "slow call"
        );
    }
}
