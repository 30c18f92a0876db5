//! The traces of one gateway: the policy, the recent ones, and the way out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::TracesConfig;
use super::export::{self, TraceOutbox};
use super::ids::TraceId;
use super::policy::{TraceInterest, TracePolicy};
use super::recent::{RecentTraces, TraceFilter, TraceSummary};
use super::record::TraceRecord;
use crate::facts::TraceContextInvalid;
use crate::families::Families;
use crate::log::Throttle;
use crate::push::{ExportCounts, Patience, PushConfigError};
use crate::telemetry::Telemetry;
use crate::words::{CounterByWord, InvalidTraceContext};

/// What [`Telemetry`] holds for traces.
pub(crate) struct Traces {
    policy: TracePolicy,
    recent: RecentTraces,
    outbox: Option<TraceOutbox>,
    invalid: CounterByWord<InvalidTraceContext>,
    invalid_lines: Throttle,
}

impl Traces {
    /// Starts the exporter, if there is one.
    ///
    /// `is_capturing`: there is a use for records beside traces.
    pub fn start(config: &TracesConfig, is_capturing: bool, families: &Families) -> Result<Self, PushConfigError> {
        let counts = ExportCounts::new("traces", families);
        Ok(Self {
            policy: TracePolicy::new(config).capturing(is_capturing),
            recent: RecentTraces::new(config.recent, families.telemetry_dropped.with(&["recent_traces", "too_large"])),
            outbox: export::start(config, Patience::default(), counts)?,
            invalid: CounterByWord::new(|reason| families.trace_context_invalid.with(&[reason])),
            invalid_lines: Throttle::default(),
        })
    }

    pub fn finished(&self, record: TraceRecord) {
        if !self.policy.keeps(record.interest()) {
            return;
        }
        let record = Arc::new(record);
        if let Some(outbox) = &self.outbox
            && self.policy.exports(record.interest())
        {
            outbox.offer(record.clone(), record.bytes());
        }
        self.recent.add(record);
    }

    pub fn context_invalid(&self, fact: &TraceContextInvalid<'_>) {
        self.invalid.count(fact.reason);
        if let Some(unsaid) = self.invalid_lines.admit(Instant::now()) {
            tracing::warn!(
                server = fact.server,
                reason = fact.reason.as_str(),
                client = %fact.client,
                unsaid = (unsaid > 0).then_some(unsaid),
                "trace context of a client is left out"
            );
        }
    }

    /// Exports what is queued; tells whether all of it got out.
    pub fn flush(&self, until: Instant) -> bool {
        self.outbox.as_ref().is_none_or(|outbox| outbox.flush(until))
    }

    /// As [`Self::flush`], and the last time.
    pub fn shutdown(&self, until: Instant) -> bool {
        self.outbox.as_ref().is_none_or(|outbox| outbox.shutdown(until))
    }
}

impl Telemetry {
    /// What the proxy asks to decide which exchanges are traced.
    pub fn tracing(&self) -> &TracePolicy {
        &self.traces.policy
    }

    /// The recent exchanges that fit the filter, the latest first.
    pub fn recent_traces(&self, filter: &TraceFilter) -> Vec<TraceSummary> {
        self.traces.recent.list(filter)
    }

    /// The recent traces that an operator may mean by a text, the latest first: the trace's id or its beginning, a request id, or an error id.
    pub fn meant_traces(&self, text: &str) -> Vec<TraceId> {
        self.traces.recent.meant(text)
    }

    /// Every recent exchange of a trace, the earliest first: a client's trace may go through the gateway many times. Empty when
    /// none is kept.
    pub fn recent_trace(&self, trace_id: &TraceId) -> Vec<Arc<TraceRecord>> {
        self.traces.recent.of_trace(trace_id)
    }

    /// Exports the traces queued so far: one attempt for each batch. Blocks at most for `deadline`, needs nothing from the
    /// caller's runtime, and tells whether everything got out.
    pub fn flush_traces(&self, deadline: Duration) -> bool {
        self.traces.flush(Instant::now() + deadline)
    }
}

impl TraceRecord {
    /// What speaks for keeping it.
    const fn interest(&self) -> TraceInterest {
        TraceInterest { head_sampled: self.head_sampled, forced: self.is_forced, error: self.is_error, slow: self.is_slow }
    }
}
