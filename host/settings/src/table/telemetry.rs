//! Logs, metrics and traces.

use super::{DEADLINE, MANY, SPAN, TEXT};
use crate::form::Form;
use crate::section::Absent::{Is, Said};
use crate::section::{Key, Section, Shape};

/// Less than one record would keep nothing.
const MEMORY: Form = Form::Size(64 << 10, 1 << 30);

pub(super) const LOGS: Section = Section {
    prefix: "logs.",
    shape: Shape::Table,
    meaning: "The gateway's own log, and the access log.",
    keys: &[
        Key::new(
            "level",
            Form::Text(
                "`error`, `warn`, `info`, `debug`, `trace`, `off`, or some for single modules, such as `info,watchgate_proxy=debug`",
            ),
            Is("\"info\""),
            "of the own log",
        ),
        Key::new("format", Form::OneOf(&["pretty", "json"]), Is("\"pretty\""), "of the own log").at_start(),
        Key::new(
            "output",
            Form::Text("`stderr`, `-` for stdout, or a file, relative to the working folder"),
            Is("\"stderr\""),
            "where the own log goes",
        )
        .at_start(),
        Key::new("access_log", Form::Text("a file, `-` for stdout, or `off`"), Is("\"-\""), "one JSON object an exchange").at_start(),
        Key::new(
            "access_fields",
            Form::Texts("members of the access line, see the telemetry reference"),
            Said("all there are"),
            "what an access line says, in this order",
        )
        .at_start(),
        Key::new(
            "max_size",
            Form::Size(64 << 10, 1 << 40),
            Said("a file grows"),
            "bytes of a log file, after which it is put aside as `FILE.1`, the one before as `FILE.2` and so on",
        )
        .at_start(),
        Key::new("max_files", Form::Count(0, 1000), Said("5, with `max_size`"), "files put aside that are kept").at_start(),
        Key::new(
            "slow_call_threshold",
            SPAN,
            Is("\"300ms\""),
            "calls that take at least so long are said as warnings, with where their time went; `0s` says none",
        )
        .at_start(),
        Key::new(
            "masked_fields",
            Form::Texts("names, in any case; a name masks also what ends in it after `_`, `-` or `.`"),
            Said("none"),
            "fields whose values are shown as `***`, beside passwords, tokens, secrets, keys, credentials, cookies and authorizations by their usual names",
        )
        .at_start(),
        Key::new(
            "capture",
            Form::OneOf(&["none", "on_error", "all"]),
            Is("\"none\""),
            "of which tool calls arguments and results are recorded: in a log line with target `capture`, and in their traces; masked, and redacted by the plugins",
        )
        .at_start(),
        Key::new("capture_bytes", Form::Size(64, 16 << 10), Is("\"4KiB\""), "after which arguments, and the result, are cut").at_start(),
        Key::new("recent_lines", Form::Count(0, 1_000_000), Is("4096"), "lines of both logs that are remembered; with 0 none are")
            .at_start(),
        Key::new("recent_bytes", MEMORY, Is("\"4MiB\""), "bytes that they hold in memory at most").at_start(),
    ],
};

pub(super) const LOGS_OTLP: Section = Section {
    prefix: "logs.otlp.",
    shape: Shape::Table,
    meaning: "Where the lines of both logs are pushed to, beside being written. The resource is that of `[traces]`.",
    keys: &[
        PROTOCOL,
        ENDPOINT,
        HEADERS,
        COMPRESSION,
        TIMEOUT,
        Key::new("queue", MANY, Is("8192"), "lines that may wait to be pushed; more are dropped and counted").at_start(),
        Key::new("batch", MANY, Is("512"), "lines in one request at most, no more than `queue`").at_start(),
        Key::new("interval", DEADLINE, Is("\"1s\""), "how long a line waits at most for a batch to fill").at_start(),
    ],
};

pub(super) const LOGS_OTLP_TLS: Section =
    Section { prefix: "logs.otlp.tls.", shape: Shape::Table, meaning: "For an `https` endpoint of `[logs.otlp]`.", keys: TLS };

pub(super) const METRICS: Section = Section {
    prefix: "metrics.",
    shape: Shape::Table,
    meaning: "The metrics that Prometheus reads.",
    keys: &[Key::new(
        "path",
        Form::Text("a path such as `/metrics`"),
        Is("\"/metrics\""),
        "where the admin listener has them; they are at `/metrics` too",
    )
    .at_start()],
};

pub(super) const METRICS_OTLP: Section = Section {
    prefix: "metrics.otlp.",
    shape: Shape::Table,
    meaning: "Where the same values are pushed to, beside being there to read. The resource is that of `[traces]`.",
    keys: &[
        PROTOCOL,
        ENDPOINT,
        HEADERS,
        COMPRESSION,
        TIMEOUT,
        Key::new("interval", DEADLINE, Is("\"1m\""), "between two pushes").at_start(),
    ],
};

pub(super) const METRICS_OTLP_TLS: Section =
    Section { prefix: "metrics.otlp.tls.", shape: Shape::Table, meaning: "For an `https` endpoint of `[metrics.otlp]`.", keys: TLS };

const PROTOCOL: Key = Key::new(
    "protocol",
    Form::OneOf(&["none", "grpc", "http"]),
    Is("\"none\""),
    "how OTLP travels; `none` pushes nothing. `OTEL_METRICS_EXPORTER` and `OTEL_LOGS_EXPORTER` with `otlp`, or an endpoint of their own, switch it on, too",
)
.at_start();
const ENDPOINT: Key = Key::new(
    "endpoint",
    Form::Text("`http` or `https` URL"),
    Said("`http://localhost` with port 4317 for gRPC, 4318 for HTTP"),
    "of the collector; a URL without a path gets the usual one of the signal",
)
.at_start();
const HEADERS: Key = Key::new("headers", Form::Secrets("header names"), Said("none"), "sent with every request to it").at_start();
const COMPRESSION: Key = Key::new("compression", Form::OneOf(&["none", "gzip"]), Is("\"none\""), "of what is sent to it").at_start();
const TIMEOUT: Key = Key::new("timeout", DEADLINE, Is("\"10s\""), "for one request to it, connecting included").at_start();

const fn buckets(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key::new(name, Form::Rising, Is(default), meaning).at_start()
}

pub(super) const METRICS_BUCKETS: Section = Section {
    prefix: "metrics.buckets.",
    shape: Shape::Table,
    meaning: "Upper bounds of the buckets of histograms, 1 to 50 of each; `+Inf` is added by itself. Each bound is a series for each combination of labels.",
    keys: &[
        buckets(
            "operation",
            "[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]",
            "JSON-RPC operations and tool calls, seconds; those of the OpenTelemetry MCP conventions",
        ),
        buckets(
            "http",
            "[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300]",
            "HTTP exchanges and their upstream part, seconds",
        ),
        buckets(
            "overhead",
            "[0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1]",
            "time in the gateway itself and in plugins, seconds",
        ),
        buckets(
            "connect",
            "[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]",
            "opening connections and running checks, seconds",
        ),
        buckets(
            "plugin",
            "[0.000002, 0.000005, 0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1, 1, 10]",
            "calls of plugins, seconds",
        ),
        buckets("reload", "[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]", "the reload of a plugin, seconds"),
        buckets("session", "[1, 10, 60, 300, 900, 3600, 14400, 43200, 86400, 604800]", "sessions, seconds"),
        buckets("bytes", "[64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]", "sizes of messages, bytes"),
    ],
};

pub(super) const TRACES: Section = Section {
    prefix: "traces.",
    shape: Shape::Table,
    meaning: "Which exchanges are traced, what is kept of them in the gateway, and where traces go. The standard variables `OTEL_*` of the environment win over this table.",
    keys: &[
        Key::new(
            "exporter",
            Form::OneOf(&["none", "otlp-grpc", "otlp-http", "zipkin", "console"]),
            Said("`\"none\"`; with `OTEL_EXPORTER_OTLP_ENDPOINT` in the environment OTLP"),
            "where finished traces go; `console` is one JSON object a trace on stdout",
        )
        .at_start(),
        Key::new(
            "endpoint",
            Form::Text("`http` or `https` URL"),
            Said("`http://localhost` with port 4317 for gRPC, 4318 for HTTP, 9411 for Zipkin"),
            "of the collector; a URL without a path gets the usual one, such as `/v1/traces`",
        )
        .at_start(),
        HEADERS,
        COMPRESSION,
        TIMEOUT,
        Key::new("queue", MANY, Is("2048"), "traces that may wait to be exported; more are dropped and counted").at_start(),
        Key::new("batch", MANY, Is("512"), "traces in one request at most, no more than `queue`").at_start(),
        Key::new("interval", DEADLINE, Is("\"5s\""), "how long a trace waits at most for a batch to fill").at_start(),
        Key::new("ratio", Form::Share, Is("0.1"), "the share of traces without a sampled parent that is recorded and exported").at_start(),
        Key::new("parent_based", Form::Flag, Is("true"), "whether the client's sampled flag decides, where it sends one").at_start(),
        Key::new("export_errors", Form::Flag, Is("true"), "whether failed exchanges are exported though they were not sampled").at_start(),
        Key::new("export_slow", Form::Flag, Is("true"), "whether slow ones are").at_start(),
        Key::new("slow", DEADLINE, Said("`logs.slow_call_threshold`"), "from when on a call is slow: a POST whose message is no `subscriptions/listen`")
            .at_start(),
        Key::new(
            "debug_header",
            Form::Flag,
            Is("true"),
            "whether `X-Debug-Trace: true` has an exchange traced and its answer say the trace's id; never for clients that are turned away",
        )
        .at_start(),
        Key::new("service_name", TEXT, Is("\"watchgate\""), "the resource attribute `service.name`").at_start(),
        Key::new("service_version", TEXT, Said("the gateway's own"), "the resource attribute `service.version`").at_start(),
        Key::new(
            "resource",
            Form::Labels,
            Said("none"),
            "more resource attributes, such as `{ \"deployment.environment.name\" = \"staging\" }`",
        )
        .at_start(),
        Key::new("recent_count", Form::Count(0, 1_000_000), Is("2000"), "exchanges that the gateway keeps itself; with 0 none").at_start(),
        Key::new("recent_bytes", MEMORY, Is("\"16MiB\""), "bytes that they hold in memory at most").at_start(),
        Key::new(
            "propagate",
            Form::Text("`\"auto\"`, `true` or `false`"),
            Is("\"auto\""),
            "whether `traceparent` and `tracestate` to servers name the gateway's own span, or pass as the client sent them; `auto`: with an exporter",
        ),
        Key::new(
            "meta",
            Form::OneOf(&["keep", "rewrite", "add"]),
            Is("\"keep\""),
            "the same for `params._meta.traceparent` of requests: left as it is, put in its place, or put in also where there is none, with `params` for it if need be",
        ),
        Key::new(
            "request_ids",
            Form::Text("`\"auto\"`, `true` or `false`"),
            Is("\"auto\""),
            "whether a request without `X-Request-ID` gets one, and every answer tells it; one that a client sends always goes on. `auto`: with an exporter",
        ),
    ],
};

pub(super) const TRACES_TLS: Section =
    Section { prefix: "traces.tls.", shape: Shape::Table, meaning: "For an `https` endpoint of `[traces]`.", keys: TLS };

const TLS: &[Key] = &[
    Key::new("ca", Form::File, Said("the system's"), "PEM: authorities to trust in place of the public ones").at_start(),
    Key::new("certificate", Form::File, Said("none"), "PEM: the client certificate to show, then its chain").at_start(),
    Key::new("key", Form::File, Said("none"), "PEM: its private key").at_start(),
];
