//! Lines of both logs as OTLP log records.

use std::collections::BTreeMap;
use std::fmt;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::SCHEMA_URL;
use tracing::Level;

use super::{key_value, nanoseconds, scope, text};
use crate::access_log::{AccessField, AccessRecord, Members};
use crate::log::{self, FieldValue};
use crate::trace::{SpanId, TraceId};

/// A record and who said it: the module, or the access log.
pub(crate) struct ScopedRecord {
    pub scope: &'static str,
    pub record: LogRecord,
}

/// The scope of access lines.
const ACCESS: &str = "access";

impl ScopedRecord {
    /// An event of the own log.
    pub fn of_event(event: &log::LogRecord) -> Self {
        let mut record = LogRecord { body: body(event.message.clone()), ..severe(event.level) };
        record.time_unix_nano = nanoseconds(event.time);
        record.observed_time_unix_nano = record.time_unix_nano;
        for (name, value) in &event.fields {
            match value {
                FieldValue::Text(text) if note_id(&mut record, name, text) => {}
                FieldValue::Text(value) => record.attributes.push(text(name, value)),
                FieldValue::Signed(number) => record.attributes.push(key_value(name, Value::IntValue(*number))),
                FieldValue::Unsigned(number) => record.attributes.push(key_value(name, unsigned(*number))),
                FieldValue::Number(number) => record.attributes.push(key_value(name, Value::DoubleValue(*number))),
                FieldValue::Flag(flag) => record.attributes.push(key_value(name, Value::BoolValue(*flag))),
            }
        }
        for (name, value) in event.context_members() {
            if !note_id(&mut record, name, &value) {
                record.attributes.push(text(name, &value));
            }
        }
        Self { scope: event.target, record }
    }

    /// An access line, with the members that are configured as attributes.
    pub fn of_exchange(exchange: &AccessRecord, fields: &[AccessField]) -> Self {
        let said = format!("{} {} {}", exchange.http_method.as_str(), exchange.names.server(), exchange.outcome);
        let mut record = LogRecord { body: body(said), ..severe(exchange.level()) };
        record.time_unix_nano = nanoseconds(exchange.started);
        record.observed_time_unix_nano = nanoseconds(exchange.started + exchange.duration.min(MOST));
        // What has a place of its own in a record is no attribute.
        let placed = [AccessField::Time, AccessField::Type, AccessField::Level];
        for field in fields.iter().filter(|field| !placed.contains(field)) {
            exchange.tell(*field, &mut Attributes(&mut record));
        }
        Self { scope: ACCESS, record }
    }
}

/// An hour: adding more to a time could go past the end of it.
const MOST: std::time::Duration = std::time::Duration::from_secs(3600);

/// A batch as one request, by scope.
pub(crate) fn request<'a>(resource: &Resource, batch: impl IntoIterator<Item = &'a ScopedRecord>) -> ExportLogsServiceRequest {
    let mut by_scope: BTreeMap<&str, Vec<LogRecord>> = BTreeMap::new();
    for said in batch {
        by_scope.entry(said.scope).or_default().push(said.record.clone());
    }
    let of_scope = |(name, log_records): (&str, Vec<LogRecord>)| ScopeLogs {
        scope: Some(scope(name)),
        log_records,
        schema_url: SCHEMA_URL.to_owned(),
    };
    let scope_logs = by_scope.into_iter().map(of_scope).collect();
    let resource_logs = vec![ResourceLogs { resource: Some(resource.clone()), scope_logs, schema_url: SCHEMA_URL.to_owned() }];
    ExportLogsServiceRequest { resource_logs }
}

/// Members of an access line as attributes.
struct Attributes<'a>(&'a mut LogRecord);

impl Members for Attributes<'_> {
    fn text(&mut self, name: &'static str, value: &str) {
        self.0.attributes.push(text(name, value));
    }

    fn shown(&mut self, name: &'static str, value: impl fmt::Display) {
        let value = value.to_string();
        if !note_id(self.0, name, &value) {
            self.0.attributes.push(text(name, &value));
        }
    }

    fn signed(&mut self, name: &'static str, value: i64) {
        self.0.attributes.push(key_value(name, Value::IntValue(value)));
    }

    fn unsigned(&mut self, name: &'static str, value: u64) {
        self.0.attributes.push(key_value(name, unsigned(value)));
    }

    fn number(&mut self, name: &'static str, value: f64) {
        self.0.attributes.push(key_value(name, Value::DoubleValue(value)));
    }

    fn flag(&mut self, name: &'static str, value: bool) {
        self.0.attributes.push(key_value(name, Value::BoolValue(value)));
    }
}

/// Puts the ids of trace and span in their places; `false` when it is something else.
fn note_id(record: &mut LogRecord, name: &str, value: &str) -> bool {
    match name {
        "trace_id" => TraceId::parse(value.as_bytes()).map(|id| record.trace_id = id.as_bytes().to_vec()).is_some(),
        "span_id" => SpanId::parse(value.as_bytes()).map(|id| record.span_id = id.as_bytes().to_vec()).is_some(),
        _ => false,
    }
}

fn body(text: String) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(text)) })
}

/// OTLP has no numbers without a sign.
fn unsigned(number: u64) -> Value {
    Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX))
}

fn severe(level: Level) -> LogRecord {
    let number = match level {
        Level::ERROR => SeverityNumber::Error,
        Level::WARN => SeverityNumber::Warn,
        Level::INFO => SeverityNumber::Info,
        Level::DEBUG => SeverityNumber::Debug,
        Level::TRACE => SeverityNumber::Trace,
    };
    LogRecord { severity_number: number.into(), severity_text: level.as_str().to_owned(), ..LogRecord::default() }
}
