//! The three signals: their tables in the file and their variables in the environment.

/// One signal.
pub struct Signal {
    /// Its table.
    pub table: &'static str,
    /// The table of TLS inside it.
    pub tls_table: &'static str,
    /// Put behind a base that all signals share, with OTLP over HTTP.
    pub path: &'static str,
    /// The variable that names exporters.
    pub exporter: &'static str,
    /// Its own variables, in the order of [`OTLP`].
    pub own: [&'static str; 9],
}

/// What OTLP variables are about, with the one for all signals.
pub const OTLP: [(&str, &str); 9] = [
    ("ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ("HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
    ("TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
    ("COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"),
    ("CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    ("CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
    ("CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"),
    ("INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"),
];

/// `[traces]`.
pub const TRACES: Signal = Signal {
    table: "traces",
    tls_table: "traces.tls",
    path: "/v1/traces",
    exporter: "OTEL_TRACES_EXPORTER",
    own: [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    ],
};
/// `[metrics.otlp]`.
pub const METRICS: Signal = Signal {
    table: "metrics.otlp",
    tls_table: "metrics.otlp.tls",
    path: "/v1/metrics",
    exporter: "OTEL_METRICS_EXPORTER",
    own: [
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
    ],
};
/// `[logs.otlp]`.
pub const LOGS: Signal = Signal {
    table: "logs.otlp",
    tls_table: "logs.otlp.tls",
    path: "/v1/logs",
    exporter: "OTEL_LOGS_EXPORTER",
    own: [
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
        "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
        "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION",
        "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_LOGS_INSECURE",
    ],
};
