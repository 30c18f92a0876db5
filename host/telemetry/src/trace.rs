//! Traces: the record of one exchange and its spans, where it is kept, and how it leaves the gateway.

mod attribute;
mod config;
mod context;
mod conventions;
mod export;
mod ids;
mod policy;
mod random;
mod recent;
mod record;
mod traces;

pub use attribute::{Attribute, AttributeKind, AttributeValue};
pub use config::{Exporter, RecentConfig, TracesConfig};
pub use context::{InvalidContexts, TraceContext, TraceParent, TraceParentText};
pub use conventions::{EventName, OperationTarget, SpanDefinition, SpanProtocol, SpanShape};
pub use ids::{SpanId, TraceId};
pub use policy::{TraceInterest, TracePolicy};
pub use recent::{TraceFilter, TraceSummary};
pub use record::{SpanEvent, SpanKind, SpanRecord, SpanStatus, TraceFinished, TraceRecord};
pub(crate) use traces::Traces;
