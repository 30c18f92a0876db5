//! Logs, metrics and traces.

use super::SPAN;
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
            "fields whose values are shown as `***`, beside `password`, `token`, `secret`, `key`, `authorization` and `cookie`",
        )
        .at_start(),
        Key::new("recent_lines", Form::Count(0, 1_000_000), Is("4096"), "lines of both logs that are remembered; with 0 none are")
            .at_start(),
        Key::new("recent_bytes", MEMORY, Is("\"4MiB\""), "bytes that they hold in memory at most").at_start(),
    ],
};

pub(super) const METRICS: Section = Section { prefix: "metrics.", shape: Shape::Table, meaning: "The metrics of `/metrics`.", keys: &[] };

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
