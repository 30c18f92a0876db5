//! Traces as OTLP: <https://opentelemetry.io/docs/specs/otlp/>.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status};
use opentelemetry_semantic_conventions::SCHEMA_URL;
use prost::Message;

use super::Encoder;
use crate::otlp::{self, key_value, nanoseconds};
use crate::push::Transport;
use crate::trace::attribute::{Attribute, AttributeValue};
use crate::trace::config::TracesConfig;
use crate::trace::record::{SpanKind, SpanRecord, SpanStatus, TraceRecord};

pub(super) const HTTP: Transport = Transport::OtlpHttp { usual_path: "/v1/traces" };
pub(super) const GRPC: Transport = Transport::OtlpGrpc { method: "/opentelemetry.proto.collector.trace.v1.TraceService/Export" };

/// Says in a span's flags that it is known whether the parent is remote ...
const HAS_IS_REMOTE: u32 = 0x100;
/// ... and that it is.
const IS_REMOTE: u32 = 0x200;
/// The W3C flag that stands in the lowest byte.
const SAMPLED: u32 = 1;

/// Says who we are once a batch.
pub(super) struct OtlpEncoder {
    resource: Resource,
    scope: InstrumentationScope,
}

impl OtlpEncoder {
    pub fn new(config: &TracesConfig) -> Self {
        Self { resource: otlp::resource(config), scope: otlp::scope("watchgate") }
    }

    fn request(&self, batch: &[Arc<TraceRecord>]) -> ExportTraceServiceRequest {
        let spans = batch.iter().flat_map(|record| record.spans.iter().map(|span| encode_span(record, span))).collect();
        let scope_spans = ScopeSpans { scope: Some(self.scope.clone()), spans, schema_url: SCHEMA_URL.to_owned() };
        let resource_spans =
            ResourceSpans { resource: Some(self.resource.clone()), scope_spans: vec![scope_spans], schema_url: SCHEMA_URL.to_owned() };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    }
}

impl Encoder for OtlpEncoder {
    fn encode(&self, batch: &[Arc<TraceRecord>]) -> Vec<u8> {
        self.request(batch).encode_to_vec()
    }
}

fn encode_span(record: &TraceRecord, span: &SpanRecord) -> Span {
    let (sampled, remote) =
        (if record.head_sampled || record.is_forced { SAMPLED } else { 0 }, if span.parent_is_remote { IS_REMOTE } else { 0 });
    Span {
        trace_id: record.trace_id.to_bytes().to_vec(),
        span_id: span.span_id.to_bytes().to_vec(),
        trace_state: record.tracestate.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: span.parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        flags: sampled | HAS_IS_REMOTE | remote,
        name: span.name.clone().into_owned(),
        kind: match span.kind {
            SpanKind::Server => span::SpanKind::Server,
            SpanKind::Client => span::SpanKind::Client,
            SpanKind::Internal => span::SpanKind::Internal,
        }
        .into(),
        start_time_unix_nano: nanoseconds(span.started),
        end_time_unix_nano: nanoseconds(span.ended()),
        attributes: span.attributes.iter().map(encode_attribute).collect(),
        events: span
            .events
            .iter()
            .map(|event| Event {
                time_unix_nano: nanoseconds(event.at),
                name: event.name.as_str().to_owned(),
                attributes: event.attributes.iter().map(encode_attribute).collect(),
                dropped_attributes_count: 0,
            })
            .collect(),
        links: span
            .links
            .iter()
            .map(|(trace_id, span_id)| Link {
                trace_id: trace_id.to_bytes().to_vec(),
                span_id: span_id.to_bytes().to_vec(),
                ..Default::default()
            })
            .collect(),
        status: match &span.status {
            SpanStatus::Unset => None,
            SpanStatus::Error(message) => Some(Status { message: message.clone().into_owned(), code: status::StatusCode::Error.into() }),
        },
        ..Default::default()
    }
}

fn encode_attribute((attribute, value): &(Attribute, AttributeValue)) -> KeyValue {
    let value = match value {
        AttributeValue::Str(text) => Value::StringValue(text.clone().into_owned()),
        AttributeValue::Int(number) => Value::IntValue(*number),
        AttributeValue::Bool(yes) => Value::BoolValue(*yes),
        AttributeValue::Float(number) => Value::DoubleValue(*number),
    };
    key_value(attribute.as_str(), value)
}
