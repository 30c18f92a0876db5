//! The traces that the gateway keeps itself: the last ones, bounded by number and bytes, failed and slow ones the longest.

mod rings;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use prometheus::IntCounter;

use super::config::RecentConfig;
use super::ids::TraceId;
use super::record::TraceRecord;
use rings::Rings;

/// Without a limit in the filter so many are listed.
const DEFAULT_LIMIT: usize = 100;

/// Fewer digits of a trace's id are no beginning of one.
const SHORTEST_ID: usize = 6;

/// Which recent traces are asked for; what is absent does not matter. All that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// Of this server.
    pub server: Option<String>,
    /// Of this tool or prompt.
    pub tool: Option<String>,
    /// Whose first message has this method.
    pub method: Option<String>,
    /// That ended so.
    pub outcome: Option<String>,
    /// That took at least so long.
    pub min_duration: Option<Duration>,
    /// That began then or later.
    pub since: Option<SystemTime>,
    /// That began before then.
    pub until: Option<SystemTime>,
    /// Only failed ones.
    pub errors: bool,
    /// Only slow ones.
    pub slow: bool,
    /// With this `X-Request-ID`.
    pub request_id: Option<String>,
    /// Whose client got this id in an error of the gateway's own.
    pub error_id: Option<String>,
    /// Of the trace whose id begins so.
    pub trace_id: Option<String>,
    /// At most so many, the latest; 100 where it is absent.
    pub limit: Option<usize>,
}

/// One line of a list of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceSummary {
    /// The trace it is part of; several exchanges may be.
    pub trace_id: TraceId,
    /// The configured name of the server.
    pub server: Arc<str>,
    /// The name of the exchange's own span.
    pub span_name: String,
    /// The method of the first message.
    pub mcp_method: Option<&'static str>,
    /// The tool or prompt.
    pub name: Option<Box<str>>,
    /// How it ended.
    pub outcome: &'static str,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// How many spans there are.
    pub spans: usize,
    /// `X-Request-ID`.
    pub request_id: Option<Box<str>>,
    /// The id that the client got in the gateway's own error.
    pub error_id: Option<Box<str>>,
    /// It was slow.
    pub is_slow: bool,
    /// It failed.
    pub is_error: bool,
    /// `X-Debug-Trace` asked for it.
    pub is_forced: bool,
}

impl TraceSummary {
    fn of(record: &TraceRecord) -> Self {
        Self {
            trace_id: record.trace_id,
            server: record.server.clone(),
            span_name: record.spans.first().map(|span| span.name.clone().into_owned()).unwrap_or_default(),
            mcp_method: record.mcp_method,
            name: record.name.clone(),
            outcome: record.outcome,
            started: record.started,
            duration: record.duration,
            spans: record.spans.len(),
            request_id: record.request_id.clone(),
            error_id: record.error_id.clone(),
            is_slow: record.is_slow,
            is_error: record.is_error,
            is_forced: record.is_forced,
        }
    }
}

impl TraceFilter {
    fn fits(&self, record: &TraceRecord) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| wanted.as_deref().is_none_or(|wanted| value == Some(wanted));
        is(&self.server, Some(&record.server))
            && is(&self.tool, record.name.as_deref())
            && is(&self.method, record.mcp_method)
            && is(&self.outcome, Some(record.outcome))
            && is(&self.request_id, record.request_id.as_deref())
            && is(&self.error_id, record.error_id.as_deref())
            && self.trace_id.as_deref().is_none_or(|begin| record.trace_id.to_string().starts_with(begin))
            && self.min_duration.is_none_or(|least| record.duration >= least)
            && self.since.is_none_or(|since| record.started >= since)
            && self.until.is_none_or(|until| record.started < until)
            && (!self.errors || record.is_error)
            && (!self.slow || record.is_slow)
    }
}

/// The store. Adding takes a lock for a few pushes and pops; looking for something takes it for a copy of pointers.
pub(crate) struct RecentTraces {
    rings: Mutex<Rings>,
    too_large: IntCounter,
    bounds: RecentConfig,
}

impl RecentTraces {
    /// An empty store; `too_large` counts records that would not fit into one that is empty.
    pub fn new(bounds: RecentConfig, too_large: IntCounter) -> Self {
        Self { rings: Mutex::new(Rings::new(bounds)), too_large, bounds }
    }

    /// Keeps a record, at the cost of older ones.
    pub fn add(&self, record: Arc<TraceRecord>) {
        if self.bounds.count == 0 || self.bounds.bytes == 0 {
            return;
        }
        let bytes = record.bytes();
        if bytes > self.bounds.bytes {
            self.too_large.inc();
            return;
        }
        // Records are freed after the lock is.
        let _evicted = self.rings.lock().add(record, bytes);
    }

    /// The latest records that fit, the latest first.
    pub fn list(&self, filter: &TraceFilter) -> Vec<TraceSummary> {
        let records = self.rings.lock().newest_first();
        let fitting = records.iter().filter(|record| filter.fits(record));
        fitting.take(filter.limit.unwrap_or(DEFAULT_LIMIT)).map(|record| TraceSummary::of(record)).collect()
    }

    /// The traces that an operator may mean by `text`, the latest first: by the whole id, or else by its beginning (of at least
    /// [`SHORTEST_ID`] digits), by a request id or by an error id.
    pub fn meant(&self, text: &str) -> Vec<TraceId> {
        let lower = text.to_ascii_lowercase();
        let records = self.rings.lock().newest_first();
        let whole = lower.parse::<TraceId>().ok();
        let is_meant = |record: &&Arc<TraceRecord>| match whole {
            Some(id) => record.trace_id == id,
            None => {
                [&record.request_id, &record.error_id].into_iter().any(|id| id.as_deref() == Some(text))
                    || (lower.len() >= SHORTEST_ID && record.trace_id.to_string().starts_with(&lower))
            }
        };
        let mut ids: Vec<TraceId> = Vec::new();
        for record in records.iter().filter(is_meant) {
            if !ids.contains(&record.trace_id) {
                ids.push(record.trace_id);
            }
        }
        ids
    }

    /// Every exchange of a trace, the earliest first.
    pub fn of_trace(&self, trace_id: &TraceId) -> Vec<Arc<TraceRecord>> {
        let mut records = self.rings.lock().newest_first();
        records.retain(|record| record.trace_id == *trace_id);
        records.reverse();
        records
    }
}

#[cfg(test)]
mod tests;
