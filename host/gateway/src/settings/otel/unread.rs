//! Standard variables that change nothing here. Somebody who sets one believes otherwise, so each is said once, with what there is in its place.
//! Taken from the OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter Configuration"; what belongs to the SDK of
//! one language is meant for other programs and not among them.

/// A variable, the values that mean what the gateway does anyway, and what to do in its place.
struct Unread {
    name: &'static str,
    means_nothing: &'static [&'static str],
    remedy: &'static str,
}

const UNREAD: [Unread; 20] = [
    unread("OTEL_CONFIG_FILE", &[], "watchgate.toml says what it would"),
    unread("OTEL_EXPERIMENTAL_CONFIG_FILE", &[], "watchgate.toml says what it would"),
    unread("OTEL_EXPORTER_PROMETHEUS_HOST", &[], "`admin` of the configuration says where metrics are read"),
    unread("OTEL_EXPORTER_PROMETHEUS_PORT", &[], "`admin` of the configuration says where metrics are read"),
    unread("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", &["cumulative"], "metrics are cumulative; a collector can convert them"),
    unread(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        &["explicit_bucket_histogram"],
        "`[metrics.buckets]` says the buckets of histograms",
    ),
    unread("OTEL_METRICS_EXEMPLAR_FILTER", &["always_off"], "metrics have no exemplars"),
    unread("OTEL_EXPORTER_JAEGER_ENDPOINT", &[], "Jaeger takes OTLP: OTEL_EXPORTER_OTLP_ENDPOINT"),
    unread("OTEL_EXPORTER_JAEGER_AGENT_HOST", &[], "Jaeger takes OTLP: OTEL_EXPORTER_OTLP_ENDPOINT"),
    unread("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", &[], LIMITS),
    unread("OTEL_ATTRIBUTE_COUNT_LIMIT", &[], LIMITS),
    unread("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", &[], LIMITS),
    unread("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", &[], LIMITS),
    unread("OTEL_SPAN_EVENT_COUNT_LIMIT", &[], LIMITS),
    unread("OTEL_SPAN_LINK_COUNT_LIMIT", &[], LIMITS),
    unread("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", &[], LIMITS),
    unread("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", &[], LIMITS),
    unread("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", &[], LIMITS),
    unread("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", &[], LIMITS),
    unread("OTEL_LOG_LEVEL", &["info"], "`logs.level` of the configuration says what is logged"),
];

const LIMITS: &str = "spans and log lines have bounds of their own; `logs.capture_bytes` is that of recorded arguments and results";

const fn unread(name: &'static str, means_nothing: &'static [&'static str], remedy: &'static str) -> Unread {
    Unread { name, means_nothing, remedy }
}

/// What there is to say of those that are set. `value` gives a variable that is set and not empty.
pub fn warnings(value: impl Fn(&str) -> Option<String>) -> impl Iterator<Item = String> {
    UNREAD.iter().filter_map(move |unread| {
        let value = value(unread.name)?.to_ascii_lowercase();
        (!unread.means_nothing.contains(&value.as_str()))
            .then(|| format!("the environment variable {} changes nothing here: {}", unread.name, unread.remedy))
    })
}
