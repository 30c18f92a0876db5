//! The logs of one gateway: where access lines go, which calls are slow, and what is remembered of it all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::access_log::{AccessField, AccessRecord, SlowCalls};
use crate::facts::ExchangeFinished;
use crate::families::Families;
use crate::log::{LogFormat, LogHandle};
use crate::recent_logs::{LogCursor, LogFilter, LogPage, RecentLogs, RecentLogsConfig};
use crate::sink::{Record, Signal, Sink, SinkConfig};
use crate::telemetry::{Telemetry, TelemetryConfig, TelemetryError};

/// Both logs.
pub(crate) struct Logs {
    own: Option<LogHandle>,
    /// The sink of the own log, where both go to the same place.
    access: Option<Arc<Sink>>,
    access_fields: Vec<AccessField>,
    recent: Arc<RecentLogs>,
    slow: SlowCalls,
}

impl Logs {
    /// Opens the access log and starts its writer.
    pub fn start(config: &TelemetryConfig, families: &Families) -> Result<Self, TelemetryError> {
        let own = config.log.clone();
        let recent = match &own {
            Some(log) => log.sink().config().recent.clone(),
            None => Arc::new(RecentLogs::new(RecentLogsConfig::default())),
        };
        let access_fields = if config.access_fields.is_empty() { AccessField::all().collect() } else { config.access_fields.clone() };
        let access = access_sink(config, &recent)?;
        if let Some(sink) = &access {
            sink.set_access_fields(access_fields.clone());
            sink.losses(Signal::AccessLog).show_in(families);
        }
        if let Some(log) = &own {
            log.sink().losses(Signal::Logs).show_in(families);
        }
        Ok(Self { own, access, access_fields, recent, slow: SlowCalls::new(config.slow_call_threshold) })
    }

    /// The line about an exchange, if anybody wants it.
    pub fn line(&self, fact: ExchangeFinished<'_>) -> Option<AccessRecord> {
        let is_slow = self.slow.is_slow(&fact);
        if self.access.is_none() && !is_slow {
            return None;
        }
        Some(AccessRecord {
            names: fact.server.names().clone(),
            started: fact.started,
            http_method: fact.http_method,
            status: fact.status,
            outcome: fact.outcome,
            duration: fact.duration,
            upstream: fact.upstream,
            plugins: fact.plugins,
            request_bytes: fact.request_bytes,
            response_bytes: fact.response_bytes,
            is_slow,
            line: fact.line,
        })
    }

    pub fn say(&self, record: AccessRecord) {
        if record.is_slow {
            self.slow.say(&record);
        }
        if let Some(sink) = &self.access {
            sink.offer(Record::Access(record));
        }
    }

    /// The writers of both logs, each once.
    pub fn sinks(&self) -> Vec<Arc<Sink>> {
        let own = self.own.as_ref().map(|log| log.sink().clone());
        let access = self.access.clone().filter(|access| own.as_ref().is_none_or(|own| !Arc::ptr_eq(own, access)));
        own.into_iter().chain(access).collect()
    }

    /// Writes out what is queued; blocks at most for `deadline`.
    pub fn flush(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        if let Some(sink) = &self.access {
            sink.flush(deadline);
        }
        if let Some(log) = &self.own {
            log.flush(until.saturating_duration_since(Instant::now()));
        }
    }
}

fn access_sink(config: &TelemetryConfig, recent: &Arc<RecentLogs>) -> Result<Option<Arc<Sink>>, TelemetryError> {
    let Some(output) = config.access_log.output(config.access_log_rotation) else { return Ok(None) };
    if let Some(log) = config.log.as_ref().filter(|log| log.sink().config().output.is_same_place(&output)) {
        // Two writers would rotate the same file twice, and could write into each other's lines.
        return Ok(Some(log.sink().clone()));
    }
    let name = output.name();
    let sink = Sink::start(SinkConfig { output, format: LogFormat::Json, colours: false, recent: recent.clone(), levels: None });
    sink.map(|sink| Some(Arc::new(sink))).map_err(|source| TelemetryError::AccessLog { path: name.into(), source })
}

impl Telemetry {
    /// The lines of both logs after `after`, oldest first; without it the last ones. Only what is still remembered.
    pub fn recent_logs(&self, after: Option<LogCursor>, filter: &LogFilter) -> LogPage {
        self.logs.recent.read(after, filter, &self.logs.access_fields)
    }

    /// As [`Self::recent_logs`], but where there is no line yet it waits for one, at most for `patience`.
    pub async fn follow_logs(&self, after: Option<LogCursor>, filter: &LogFilter, patience: Duration) -> LogPage {
        self.logs.recent.wait(after, filter, &self.logs.access_fields, patience).await
    }
}
