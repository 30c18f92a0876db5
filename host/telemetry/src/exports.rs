//! Metrics and logs on their way to collectors: what is configured, and who feeds the outboxes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::families::Families;
use crate::log::keep_own_events;
use crate::logs::Logs;
use crate::otlp;
use crate::otlp::logs::ScopedRecord;
use crate::otlp::metrics::MetricsEncoder;
use crate::push::{
    Accepted, DeliveryError, Destination, ExportCounts, Outbox, OutboxSettings, Patience, PushConfig, PushConfigError, Pusher, Transport,
};
use crate::sink::{Record, Sink, Tap};
use crate::store::Store;
use crate::telemetry::{TelemetryConfig, TelemetryError};

/// The signal by which exported lines are counted; `logs` and `access_log` count those that are written.
const LOGS: &str = "otlp_logs";
/// Bytes of log records that may wait for a collector.
const QUEUE_BYTES: usize = 8 << 20;
/// Bytes of log records in one request, roughly: collectors refuse more than 4 MiB.
const BATCH_BYTES: usize = 1 << 20;

/// How OTLP travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// As gRPC calls, usually to port 4317.
    Grpc,
    /// As HTTP requests with protobuf bodies, usually to port 4318.
    #[default]
    Http,
}

/// Where metrics are pushed to, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsPushConfig {
    /// How they travel.
    pub protocol: OtlpProtocol,
    /// Where to.
    pub push: PushConfig,
    /// Between two pushes.
    pub interval: Duration,
}

impl Default for MetricsPushConfig {
    /// Every minute, as OpenTelemetry's SDKs do.
    fn default() -> Self {
        Self { protocol: OtlpProtocol::default(), push: PushConfig::default(), interval: Duration::from_secs(60) }
    }
}

/// Where the lines of both logs are pushed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogsPushConfig {
    /// How they travel.
    pub protocol: OtlpProtocol,
    /// Where to.
    pub push: PushConfig,
    /// Lines that may wait; more are dropped and counted.
    pub queue: usize,
    /// At most so many lines in one request.
    pub batch: usize,
    /// How long a line waits at most for a batch to fill.
    pub interval: Duration,
}

impl Default for LogsPushConfig {
    fn default() -> Self {
        let interval = Duration::from_secs(1);
        Self { protocol: OtlpProtocol::default(), push: PushConfig::default(), queue: 8192, batch: 512, interval }
    }
}

/// The pushes that are configured.
pub(crate) struct Exports {
    metrics: Option<MetricsExport>,
    logs: Option<LogsExport>,
}

impl Exports {
    /// Starts them.
    pub fn start(config: &TelemetryConfig, store: &Arc<Store>, logs: &Logs) -> Result<Self, TelemetryError> {
        let resource = otlp::resource(&config.traces);
        let metrics = config.metrics_push.as_ref().map(|push| MetricsExport::start(push, resource.clone(), store.clone()));
        let metrics = metrics.transpose().map_err(TelemetryError::Metrics)?;
        let export = |push| LogsExport::start(push, resource, &store.core.families, logs.sinks());
        let logs = config.logs_push.as_ref().map(export).transpose().map_err(TelemetryError::Logs)?;
        Ok(Self { metrics, logs })
    }

    /// Pushes what there is for the last time, all at once; tells whether it got through.
    pub fn shutdown(&self, until: Instant) -> bool {
        thread::scope(|scope| {
            let metrics = scope.spawn(|| self.metrics.as_ref().is_none_or(|metrics| metrics.shutdown(until)));
            let logs = self.logs.as_ref().is_none_or(|logs| logs.shutdown(until));
            metrics.join().unwrap_or(false) && logs
        })
    }

    /// As [`Self::shutdown`], but they go on.
    pub fn flush(&self, until: Instant) -> bool {
        thread::scope(|scope| {
            let metrics = scope.spawn(|| self.metrics.as_ref().is_none_or(|metrics| metrics.flush(until)));
            let logs = self.logs.as_ref().is_none_or(|logs| logs.flush(until));
            metrics.join().unwrap_or(false) && logs
        })
    }
}

/// The push of metrics. Dropping it ends it.
struct MetricsExport {
    outbox: Arc<Outbox<()>>,
    ended: Arc<AtomicBool>,
    ticker: Thread,
}

impl MetricsExport {
    pub fn start(config: &MetricsPushConfig, resource: Resource, store: Arc<Store>) -> Result<Self, PushConfigError> {
        let transport = match config.protocol {
            OtlpProtocol::Http => Transport::OtlpHttp { usual_path: "/v1/metrics" },
            OtlpProtocol::Grpc => Transport::OtlpGrpc { method: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" },
        };
        let counts = ExportCounts::new("metrics", &store.core.families);
        // The values are read when they are delivered, so there is never more than one thing to do; and a push that fails until
        // the next one is due is given up for it.
        let settings = OutboxSettings {
            queue: 1,
            queue_bytes: 1,
            batch: 1,
            batch_bytes: 1,
            interval: config.interval,
            patience: Patience { give_up: config.interval, ..Patience::default() },
        };
        let pusher = Pusher::new(&config.push, transport)?;
        let destination = MetricsDestination { pusher, encoder: MetricsEncoder::new(resource), store };
        let outbox = Arc::new(Outbox::start("metrics", settings, counts, destination)?);
        let (ended, interval) = (Arc::new(AtomicBool::new(false)), config.interval);
        let (until, ticks) = (ended.clone(), outbox.clone());
        let tick = move || {
            let mut next = Instant::now() + interval;
            while !until.load(Ordering::Acquire) {
                thread::park_timeout(next.saturating_duration_since(Instant::now()));
                if Instant::now() >= next {
                    ticks.offer((), 0);
                    next += interval;
                }
            }
        };
        let thread = thread::Builder::new().name("metrics-ticker".into()).spawn(tick).map_err(PushConfigError::Thread)?;
        Ok(Self { outbox, ended, ticker: thread.thread().clone() })
    }

    /// Pushes the values of now; tells whether they got through.
    pub fn flush(&self, until: Instant) -> bool {
        self.outbox.offer((), 0);
        self.outbox.flush(until)
    }

    /// As [`Self::flush`], and the last time.
    pub fn shutdown(&self, until: Instant) -> bool {
        self.outbox.offer((), 0);
        self.outbox.shutdown(until)
    }
}

impl Drop for MetricsExport {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.ticker.unpark();
    }
}

struct MetricsDestination {
    pusher: Pusher,
    encoder: MetricsEncoder,
    store: Arc<Store>,
}

impl Destination<()> for MetricsDestination {
    fn name(&self) -> String {
        self.pusher.endpoint()
    }

    async fn deliver(&mut self, _batch: &[()]) -> Result<Accepted, DeliveryError> {
        let mut accepted = Accepted::default();
        for request in self.encoder.requests(&self.store.gather(), SystemTime::now()) {
            let more = self.pusher.push(request.encode_to_vec().into()).await?;
            accepted = Accepted { rejected: accepted.rejected + more.rejected, said: more.said };
        }
        Ok(accepted)
    }
}

/// The push of logs. Dropping it ends it.
struct LogsExport {
    outbox: Arc<Outbox<ScopedRecord>>,
    sinks: Vec<Arc<Sink>>,
}

impl LogsExport {
    /// `sinks` are those whose lines are pushed.
    pub fn start(config: &LogsPushConfig, resource: Resource, families: &Families, sinks: Vec<Arc<Sink>>) -> Result<Self, PushConfigError> {
        let transport = match config.protocol {
            OtlpProtocol::Http => Transport::OtlpHttp { usual_path: "/v1/logs" },
            OtlpProtocol::Grpc => Transport::OtlpGrpc { method: "/opentelemetry.proto.collector.logs.v1.LogsService/Export" },
        };
        let settings = OutboxSettings {
            queue: config.queue,
            queue_bytes: QUEUE_BYTES,
            batch: config.batch,
            batch_bytes: BATCH_BYTES,
            interval: config.interval,
            patience: Patience::default(),
        };
        let destination = LogsDestination { pusher: Pusher::new(&config.push, transport)?, resource };
        let outbox = Arc::new(Outbox::start(LOGS, settings, ExportCounts::new(LOGS, families), destination)?);
        for sink in &sinks {
            sink.set_tap(Some(tap(outbox.clone())));
        }
        Ok(Self { outbox, sinks })
    }

    /// Pushes the lines queued so far; tells whether they got through.
    pub fn flush(&self, until: Instant) -> bool {
        self.outbox.flush(until)
    }

    /// As [`Self::flush`], and the last time.
    pub fn shutdown(&self, until: Instant) -> bool {
        self.outbox.shutdown(until)
    }
}

impl Drop for LogsExport {
    fn drop(&mut self) {
        self.sinks.iter().for_each(|sink| sink.set_tap(None));
    }
}

fn tap(outbox: Arc<Outbox<ScopedRecord>>) -> Box<Tap> {
    Box::new(move |record, fields| {
        let said = match record {
            Record::Own(event) if event.is_kept => return,
            Record::Own(event) => ScopedRecord::of_event(event),
            Record::Access(exchange) => ScopedRecord::of_exchange(exchange, fields),
        };
        let bytes = said.bytes();
        outbox.offer(said, bytes);
    })
}

struct LogsDestination {
    pusher: Pusher,
    resource: Resource,
}

impl Destination<ScopedRecord> for LogsDestination {
    fn name(&self) -> String {
        self.pusher.endpoint()
    }

    async fn deliver(&mut self, batch: &[ScopedRecord]) -> Result<Accepted, DeliveryError> {
        // What is said while lines are pushed would be pushed in turn, and so on.
        keep_own_events();
        self.pusher.push(otlp::logs::request(&self.resource, batch)).await
    }
}
