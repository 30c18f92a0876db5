//! Traces as Zipkin's version 2 JSON, mapped as OpenTelemetry says:
//! <https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/>.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Encoder;
use crate::otlp::INSTANCE_ID;
use crate::push::Transport;
use crate::trace::attribute::{Attribute, AttributeValue};
use crate::trace::config::TracesConfig;
use crate::trace::record::{SpanEvent, SpanKind, SpanRecord, SpanStatus, TraceRecord};

pub(super) const HTTP: Transport = Transport::Json { usual_path: "/api/v2/spans" };

pub(super) struct ZipkinEncoder {
    service_name: String,
    /// What is said of the resource, with every span: Zipkin knows no resources.
    resource: Vec<(String, String)>,
}

impl ZipkinEncoder {
    pub fn new(config: &TracesConfig) -> Self {
        let mut resource =
            vec![("service.version".to_owned(), config.service_version.clone()), ("service.instance.id".to_owned(), INSTANCE_ID.clone())];
        // A tag stands once, and the last counts.
        resource.extend(config.resource.iter().cloned());
        Self { service_name: config.service_name.clone(), resource }
    }

    fn encode_span<'a>(&'a self, record: &'a TraceRecord, span: &'a SpanRecord) -> ZipkinSpan<'a> {
        let mut tags: BTreeMap<&str, String> = self.resource.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        tags.extend(span.attributes.iter().map(|(attribute, value)| (attribute.as_str(), value.to_text().into_owned())));
        tags.insert("otel.scope.name", "watchgate".to_owned());
        tags.insert("otel.scope.version", env!("CARGO_PKG_VERSION").to_owned());
        if let SpanStatus::Error(message) = &span.status {
            tags.insert("otel.status_code", "ERROR".to_owned());
            tags.insert("error", message.clone().into_owned());
        }
        ZipkinSpan {
            trace_id: record.trace_id.to_string(),
            id: span.span_id.to_string(),
            parent_id: span.parent.map(|parent| parent.to_string()),
            name: &span.name,
            kind: match span.kind {
                SpanKind::Server => Some("SERVER"),
                SpanKind::Client => Some("CLIENT"),
                SpanKind::Internal => None,
            },
            timestamp: microseconds(span.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()).max(1),
            // Zipkin knows no shorter ones.
            duration: microseconds(span.duration).max(1),
            local_endpoint: Endpoint { service_name: Some(&self.service_name), ..Endpoint::default() },
            remote_endpoint: remote_endpoint(span),
            annotations: span.events.iter().map(Annotation::of).collect(),
            tags,
        }
    }
}

impl Encoder for ZipkinEncoder {
    fn encode(&self, batch: &[Arc<TraceRecord>]) -> Vec<u8> {
        let spans: Vec<_> = batch.iter().flat_map(|record| record.spans.iter().map(|span| self.encode_span(record, span))).collect();
        serde_json::to_vec(&spans).expect("memory takes any write and every member has a JSON form")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ZipkinSpan<'a> {
    trace_id: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    timestamp: u64,
    duration: u64,
    local_endpoint: Endpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_endpoint: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Annotation>,
    tags: BTreeMap<&'a str, String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<i64>,
}

#[derive(Serialize)]
struct Annotation {
    timestamp: u64,
    value: String,
}

impl Annotation {
    /// The name, and what there is to say of it as JSON.
    fn of(event: &SpanEvent) -> Self {
        let timestamp = microseconds(event.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        let name = event.name.as_str();
        if event.attributes.is_empty() {
            return Self { timestamp, value: name.to_owned() };
        }
        let attributes: serde_json::Map<_, _> =
            event.attributes.iter().map(|(attribute, value)| (attribute.as_str().to_owned(), value.to_text().into())).collect();
        Self { timestamp, value: serde_json::json!({ name: attributes }).to_string() }
    }
}

/// Whom the span spoke to.
fn remote_endpoint(span: &SpanRecord) -> Option<Endpoint<'_>> {
    let (address, port) = match span.kind {
        SpanKind::Client => (Attribute::ServerAddress, Attribute::ServerPort),
        SpanKind::Server => (Attribute::ClientAddress, Attribute::ClientPort),
        SpanKind::Internal => return None,
    };
    let AttributeValue::Str(host) = span.get(address)? else { return None };
    let port = match span.get(port) {
        Some(AttributeValue::Int(port)) => Some(*port),
        _ => None,
    };
    Some(match host.parse::<IpAddr>() {
        Ok(address) if address.is_ipv4() => Endpoint { ipv4: Some(address), port, ..Endpoint::default() },
        Ok(address) => Endpoint { ipv6: Some(address), port, ..Endpoint::default() },
        Err(_) => Endpoint { service_name: Some(host), port, ..Endpoint::default() },
    })
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
