//! Slow calls, said as warnings with where their time went; so many a second, because in an overload every call is slow.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::line::{AccessRecord, milliseconds};
use crate::facts::{ExchangeFinished, HttpMethod};

/// Warnings in a second; the next one after that says how many there were not.
const MOST_A_SECOND: u32 = 10;

/// When a call is slow, and how many of them were said.
pub(crate) struct SlowCalls {
    threshold: Option<Duration>,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl SlowCalls {
    pub fn new(threshold: Option<Duration>) -> Self {
        Self { threshold, window: Mutex::default() }
    }

    /// Whether a call took too long. Event streams are not calls.
    pub fn is_slow(&self, fact: &ExchangeFinished<'_>) -> bool {
        self.threshold.is_some_and(|threshold| fact.duration >= threshold)
            && fact.http_method == HttpMethod::Post
            && fact.line.mcp_method.is_some()
            && !fact.is_stream()
    }

    /// Says a slow call, unless too many were said.
    #[cold]
    pub fn say(&self, record: &AccessRecord) {
        let Some(unsaid) = self.window.lock().admit(Instant::now()) else { return };
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

impl Window {
    /// How many went unsaid since the last one that was said; `None` when this one goes unsaid too.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1)) {
            (self.began, self.said) = (Some(now), 0);
        }
        if self.said == MOST_A_SECOND {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Window;

    #[test]
    fn ten_a_second_are_said_and_the_others_counted() {
        let start = Instant::now();
        let mut window = Window::default();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!((0..10).all(|call| window.admit(at(call)) == Some(0)));
        assert!((10..1000).all(|call| window.admit(at(call)).is_none()));
        assert_eq!(window.admit(at(1000)), Some(990));
        assert_eq!(window.admit(at(1001)), Some(0));
    }
}
