//! What traces, metrics and logs have in common when they go out by OTLP: who says it, and how values are written.

pub(crate) mod logs;
pub(crate) mod metrics;
mod record;

use std::sync::LazyLock;
use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::resource as semconv;

use crate::trace::{TraceId, TracesConfig};

/// Tells this process from all others that call themselves alike: without it two replicas would push the same series. A random UUID (RFC 9562,
/// version 4).
pub(crate) static INSTANCE_ID: LazyLock<String> = LazyLock::new(|| {
    let bits = u128::from_be_bytes(TraceId::random().to_bytes());
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
});

/// Who says it. What the operator says replaces what we would say; a key stands once.
pub(crate) fn resource(config: &TracesConfig) -> Resource {
    let mut attributes = vec![
        text(semconv::SERVICE_NAME, &config.service_name),
        text(semconv::SERVICE_VERSION, &config.service_version),
        text(semconv::SERVICE_INSTANCE_ID, &INSTANCE_ID),
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

#[cfg(test)]
mod tests {
    use super::{INSTANCE_ID, resource};
    use crate::trace::TracesConfig;

    #[test]
    fn a_process_has_an_id_unless_the_operator_gives_it_one() {
        let id_of = |config: &TracesConfig| {
            let resource = resource(config);
            let mut found = resource.attributes.into_iter().filter(|attribute| attribute.key == "service.instance.id");
            let id = found.next().unwrap();
            assert!(found.next().is_none(), "a key stands once");
            format!("{:?}", id.value)
        };
        let own = id_of(&TracesConfig::default());
        assert!(own.contains(INSTANCE_ID.as_str()) && own == id_of(&TracesConfig::default()));
        let parts: Vec<&str> = INSTANCE_ID.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
        assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{}", *INSTANCE_ID);
        let resource = vec![("service.instance.id".to_owned(), "pod-7".to_owned())];
        assert!(id_of(&TracesConfig { resource, ..TracesConfig::default() }).contains("pod-7"));
    }
}
