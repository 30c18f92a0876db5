//! Lines of both logs as OTLP log records.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::SCHEMA_URL;
use prost::Message;
use tracing::Level;

use super::record::{Any, RecordWriter, append_bytes};
use super::{nanoseconds, scope};
use crate::access_log::{AccessField, AccessRecord, Members};
use crate::log::{self, FieldValue};
use crate::trace::{SpanId, TraceId};

/// A record in its wire form, and who said it: the module, or the access log.
pub(crate) struct ScopedRecord {
    scope: &'static str,
    record: Box<[u8]>,
}

/// The scope of access lines.
const ACCESS: &str = "access";

impl ScopedRecord {
    /// An event of the own log.
    pub fn of_event(event: &log::LogRecord) -> Self {
        let mut attributes = Attributes::default();
        let time = nanoseconds(event.time);
        attributes.record.times(time, time);
        attributes.severity(event.level);
        attributes.record.body(&event.message);
        for (name, value) in &event.fields {
            match value {
                FieldValue::Text(value) => attributes.id_or_text(name, value),
                FieldValue::Signed(number) => attributes.signed(name, *number),
                FieldValue::Unsigned(number) => attributes.unsigned(name, *number),
                FieldValue::Number(number) => attributes.number(name, *number),
                FieldValue::Flag(flag) => attributes.flag(name, *flag),
            }
        }
        for (name, value) in event.context_members() {
            attributes.id_or_text(name, &value);
        }
        Self { scope: event.target, record: attributes.record.finish() }
    }

    /// An access line, with the members that are configured as attributes.
    pub fn of_exchange(exchange: &AccessRecord, fields: &[AccessField]) -> Self {
        let mut attributes = Attributes::default();
        attributes.record.times(nanoseconds(exchange.started), nanoseconds(exchange.started + exchange.duration.min(MOST)));
        attributes.severity(exchange.level());
        let mut said = std::mem::take(&mut attributes.scratch);
        // Writing to a string cannot fail.
        let _ = write!(said, "{} {} {}", exchange.http_method.as_str(), exchange.names.server(), exchange.outcome);
        attributes.record.body(&said);
        attributes.scratch = said;
        for field in fields {
            match field {
                // What has a place of its own in a record is no attribute.
                AccessField::Time | AccessField::Type | AccessField::Level => {}
                AccessField::TraceId => exchange.line.trace_id.iter().for_each(|id| attributes.record.trace_id(&id.to_bytes())),
                AccessField::SpanId => exchange.line.span_id.iter().for_each(|id| attributes.record.span_id(&id.to_bytes())),
                field => exchange.tell(*field, &mut attributes),
            }
        }
        Self { scope: ACCESS, record: attributes.record.finish() }
    }

    /// The bytes it holds on to.
    pub fn bytes(&self) -> usize {
        self.record.len()
    }
}

/// An hour: adding more to a time could go past the end of it.
const MOST: std::time::Duration = std::time::Duration::from_secs(3600);

/// A batch as one `ExportLogsServiceRequest` in its wire form, by scope.
pub(crate) fn request<'a>(resource: &Resource, batch: impl IntoIterator<Item = &'a ScopedRecord>) -> Bytes {
    let mut by_scope: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for said in batch {
        let scope_logs = by_scope.entry(said.scope).or_insert_with_key(|name| {
            let mut begun = Vec::new();
            append_bytes(&mut begun, 1, &scope(name).encode_to_vec());
            append_bytes(&mut begun, 3, SCHEMA_URL.as_bytes());
            begun
        });
        append_bytes(scope_logs, 2, &said.record);
    }
    let mut resource_logs = Vec::new();
    append_bytes(&mut resource_logs, 1, &resource.encode_to_vec());
    append_bytes(&mut resource_logs, 3, SCHEMA_URL.as_bytes());
    by_scope.values().for_each(|scope_logs| append_bytes(&mut resource_logs, 2, scope_logs));
    let mut request = Vec::with_capacity(resource_logs.len() + 8);
    append_bytes(&mut request, 1, &resource_logs);
    request.into()
}

/// A record that gets its attributes.
#[derive(Default)]
struct Attributes {
    record: RecordWriter,
    scratch: String,
}

impl Attributes {
    fn severity(&mut self, level: Level) {
        let number = match level {
            Level::ERROR => SeverityNumber::Error,
            Level::WARN => SeverityNumber::Warn,
            Level::INFO => SeverityNumber::Info,
            Level::DEBUG => SeverityNumber::Debug,
            Level::TRACE => SeverityNumber::Trace,
        };
        self.record.severity(number.into(), level.as_str());
    }

    /// Puts the ids of trace and span in their places; what else there is becomes an attribute.
    fn id_or_text(&mut self, name: &str, value: &str) {
        let (trace_id, span_id) = match name {
            "trace_id" => (TraceId::parse(value.as_bytes()), None),
            "span_id" => (None, SpanId::parse(value.as_bytes())),
            _ => (None, None),
        };
        match (trace_id, span_id) {
            (Some(id), _) => self.record.trace_id(&id.to_bytes()),
            (_, Some(id)) => self.record.span_id(&id.to_bytes()),
            (None, None) => self.record.attribute(name, Any::Text(value)),
        }
    }
}

impl Members for Attributes {
    fn text(&mut self, name: &'static str, value: &str) {
        self.record.attribute(name, Any::Text(value));
    }

    fn shown(&mut self, name: &'static str, value: impl fmt::Display) {
        self.scratch.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.scratch, "{value}");
        self.record.attribute(name, Any::Text(&self.scratch));
    }

    fn signed(&mut self, name: &'static str, value: i64) {
        self.record.attribute(name, Any::Int(value));
    }

    /// OTLP has no numbers without a sign.
    fn unsigned(&mut self, name: &'static str, value: u64) {
        self.record.attribute(name, Any::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn number(&mut self, name: &'static str, value: f64) {
        self.record.attribute(name, Any::Number(value));
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.record.attribute(name, Any::Flag(value));
    }
}
