//! Telemetry: facts come in by [`Telemetry::emit`], numbers go out as Prometheus text and as snapshots, exchanges as access lines.
//!
//! The room knows no other room: it takes plain values. Names of metrics and labels stand in one table ([`MetricName`],
//! [`Label`]); every label value from outside passes a bound on the way in.

mod access_log;
mod bounded_names;
mod bounds;
mod buckets;
mod capture;
mod cardinality;
mod certificate;
mod client_names;
mod client_requests;
mod core;
mod endpoint;
mod error_type;
mod exports;
mod facts;
mod families;
mod family;
mod http_status;
mod intern;
mod json;
mod label_values;
mod leases;
pub mod log;
mod logs;
mod names;
mod otlp;
mod overview;
mod owner;
mod plugin_handles;
mod plugin_metrics;
mod process;
mod push;
mod recent_logs;
mod reference;
mod refusals;
mod runtime;
mod server;
mod sink;
mod snapshot;
mod store;
pub mod task;
mod telemetry;
mod trace;
mod wall_time;
mod words;

pub use access_log::{AccessField, AccessLogTarget, FieldKind, UnknownField, is_call};
pub use bounds::ProcessBounds;
pub use buckets::{BucketError, BucketGroup, HistogramBuckets, OPERATION_BUCKETS};
pub use capture::{Capture, CaptureConfig};
pub use cardinality::{Cardinality, Dropped, Folded, MetricCardinality};
pub use certificate::CertificateMetrics;
pub use endpoint::EndpointMetrics;
pub use exports::{LogsPushConfig, MetricsPushConfig, OtlpProtocol};
pub use facts::{
    AccessLine, AlertDelivered, AlertsFiring, ClientIntroduced, ConfigReloadFinished, ConnectionRefused, ErrorType, ExchangeFinished, Fact,
    GuardRefused, HealthCheckFinished, HttpMethod, JwksInUse, NameKind, OperationFinished, ReloadFinished, ServerUp, TelemetryDropped,
    TraceContextInvalid, UpstreamConnected,
};
pub use label_values::{ERROR_WORDS, label_values};
pub use names::{Label, MetricDefinition, MetricKind, MetricName, Unit};
pub use overview::{Cpu, CustomSeries, Memory, Overview, ServerOverview};
pub use plugin_handles::PluginHandles;
pub use plugin_metrics::{Declaration, DeclareError, MOST_METRICS, MOST_SERIES, MetricId, PluginMetrics};
pub use push::{Compression, HeaderValueText, PushConfig, PushConfigError, PushTls};
pub use recent_logs::{LogCursor, LogFilter, LogPage, RecentLogsConfig};
pub use reference::reference_markdown;
pub use runtime::RuntimeWatch;
pub use server::{InFlightGuard, ServerMetrics};
pub use sink::Rotation;
pub use snapshot::{MetricSnapshot, Series};
pub use telemetry::{HeldLine, OpenConnection, Telemetry, TelemetryConfig, TelemetryError};
pub use trace::{
    Attribute, AttributeKind, AttributeValue, EventName, Exporter, InvalidContexts, OperationTarget, RecentConfig, SpanDefinition,
    SpanEvent, SpanId, SpanKind, SpanProtocol, SpanRecord, SpanShape, SpanStatus, TraceContext, TraceFilter, TraceFinished, TraceId,
    TraceInterest, TraceParent, TraceParentText, TracePolicy, TraceRecord, TraceSummary, TracesConfig,
};
pub use wall_time::rfc3339;
pub use words::{
    AuthResult, BreakerState, CertificateReload, ConfigReload, ConnectionRefusal, EndpointResult, GuardRefusal, InvalidTraceContext, Limit,
    PushLoss, Retry, UpstreamCause,
};
