//! The traces of one gateway: the policy, the recent ones, and the way out.

use std::sync::Arc;

use super::config::TracesConfig;
use super::ids::TraceId;
use super::policy::TracePolicy;
use super::recent::{RecentTraces, TraceFilter, TraceSummary};
use super::record::TraceRecord;
use crate::families::Families;
use crate::telemetry::Telemetry;
use crate::words::{CounterByWord, InvalidTraceContext};

/// What [`Telemetry`] holds for traces.
pub(crate) struct Traces {
    policy: TracePolicy,
    recent: RecentTraces,
    invalid: CounterByWord<InvalidTraceContext>,
}

impl Traces {
    pub fn new(config: &TracesConfig, families: &Families) -> Self {
        Self {
            policy: TracePolicy::new(config),
            recent: RecentTraces::new(config.recent, families.telemetry_dropped.with(&["recent_traces", "too_large"])),
            invalid: CounterByWord::new(|reason| families.trace_context_invalid.with(&[reason])),
        }
    }

    pub fn finished(&self, record: TraceRecord) {
        let record = Arc::new(record);
        self.recent.add(record);
    }

    pub fn context_invalid(&self, reason: InvalidTraceContext) {
        self.invalid.count(reason);
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

    /// Every recent exchange of a trace, the earliest first: a client's trace may go through the gateway many times. Empty when
    /// none is kept.
    pub fn recent_trace(&self, trace_id: &TraceId) -> Vec<Arc<TraceRecord>> {
        self.traces.recent.of_trace(trace_id)
    }
}
