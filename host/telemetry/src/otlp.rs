//! What traces, metrics and logs have in common when they go out by OTLP: who says it, and how values are written.

pub(crate) mod logs;
pub(crate) mod metrics;
mod record;

use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::resource as semconv;

use crate::trace::TracesConfig;

/// Who says it. What the operator says replaces what we would say; a key stands once.
pub(crate) fn resource(config: &TracesConfig) -> Resource {
    let mut attributes = vec![
        text(semconv::SERVICE_NAME, &config.service_name),
        text(semconv::SERVICE_VERSION, &config.service_version),
        text(semconv::TELEMETRY_SDK_NAME, "watchgate"),
        text(semconv::TELEMETRY_SDK_LANGUAGE, "rust"),
        text(semconv::TELEMETRY_SDK_VERSION, env!("CARGO_PKG_VERSION")),
    ];
    for (name, value) in &config.resource {
        attributes.retain(|known| known.key != *name);
        attributes.push(text(name, value));
    }
    Resource { attributes, ..Resource::default() }
}

/// Which part of it said it.
pub(crate) fn scope(name: &str) -> InstrumentationScope {
    InstrumentationScope { name: name.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), ..InstrumentationScope::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, Value::StringValue(value.to_owned()))
}

pub(crate) fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Nanoseconds since 1970; 0 before.
pub(crate) fn nanoseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
