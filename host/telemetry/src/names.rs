//! What metrics and labels are called: closed enums, so that documents, dashboards and tests can be checked against them.

use std::fmt::Write;

use crate::buckets::BucketGroup;
use crate::families::TABLE;

pub use crate::families::MetricName;

/// How the values of a metric behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only rises; restarts from 0 with the process.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution over cumulative buckets, with `_sum` and `_count`.
    Histogram,
}

impl MetricKind {
    /// The word used in the text format and the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// In what the values of a metric are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// In nothing: how many, or which.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// The word in the reference, and at the end of Prometheus names; empty for [`Self::None`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }

    /// As OpenTelemetry writes it: by UCUM.
    pub const fn as_ucum(self) -> &'static str {
        match self {
            Self::None => "1",
            Self::Seconds => "s",
            Self::Bytes => "By",
        }
    }

    /// The unit that a Prometheus name ends in, `_total` aside.
    pub fn of_name(name: &str) -> Self {
        let name = name.strip_suffix("_total").unwrap_or(name);
        let ends_in = |unit: &Self| name.strip_suffix(unit.as_str()).is_some_and(|before| before.ends_with('_'));
        [Self::Seconds, Self::Bytes].into_iter().find(ends_in).unwrap_or(Self::None)
    }
}

/// One row of the table of metrics.
#[derive(Clone, Copy, Debug)]
pub struct MetricDefinition {
    /// Which metric.
    pub id: MetricName,
    /// The Prometheus name.
    pub name: &'static str,
    /// How its values behave.
    pub kind: MetricKind,
    /// One sentence: what is counted or measured.
    pub help: &'static str,
    /// Its labels, in the order in which code gives their values.
    pub labels: &'static [Label],
    /// The group whose bucket bounds it has, if it is a histogram.
    pub buckets: Option<BucketGroup>,
}

impl MetricDefinition {
    /// In what its values are counted.
    pub fn unit(&self) -> Unit {
        Unit::of_name(self.name)
    }
}

impl MetricName {
    /// The Prometheus name.
    pub fn as_str(self) -> &'static str {
        self.definition().name
    }

    /// The row of the table.
    pub fn definition(self) -> &'static MetricDefinition {
        &TABLE[self as usize]
    }

    /// Every metric of the core, in the order of the reference.
    pub fn all() -> impl Iterator<Item = &'static MetricDefinition> {
        TABLE.iter()
    }
}

macro_rules! labels {
    ($($variant:ident = $name:literal, $meaning:literal;)*) => {
        /// A label of a core metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Label {
            $(#[doc = $meaning] $variant,)*
        }

        impl Label {
            /// Every label, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in the text format.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// One sentence: which values it takes.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

labels! {
    Server = "server", "The configured name of the MCP server.";
    Method = "method", "The HTTP method: `GET`, `POST`, `DELETE`, `OPTIONS` or `_other`.";
    Status = "status", "The HTTP status sent to the client: a registered code, `none` when the client left before a head was sent, or `_other`.";
    Outcome = "outcome", "How it ended: `ok`, `tool_error`, `rpc_error`, `http_error`, `denied`, `timeout`, `unreachable`, `cancelled` (the client left) or `aborted` (the upstream cut it off).";
    Direction = "direction", "`client-to-server` or `server-to-client`.";
    Initiator = "initiator", "Who sent the request or notification: `client` or `server`.";
    Tool = "tool", "A tool that the server listed or answered without error (500 a server), else `_other`.";
    McpMethodName = "mcp_method_name", "A method that the MCP specification defines, else `_other`.";
    GenAiToolName = "gen_ai_tool_name", "As `tool`; empty when the method names no tool.";
    GenAiPromptName = "gen_ai_prompt_name", "A prompt that the server listed or answered without error (500 a server), else `_other`; empty when the method names no prompt.";
    ErrorType = "error_type", "Empty without an error; else the JSON-RPC error code, `tool_error`, the HTTP status, or the gateway's own word; codes that neither the specification nor the gateway defines are `_other`.";
    McpProtocolVersion = "mcp_protocol_version", "The MCP revision in use; empty when unknown.";
    Plugin = "plugin", "The plugin's name: its file name without `.wasm` (1000 names, then `_other`).";
    Kind = "kind", "The plugin kind that was called: `redaction`, `derivation`, `health` or `alerting`.";
    State = "state", "One of the plugin states or check statuses: the current one has the value 1, the others 0. For a circuit breaker the state it came into: `closed`, `open` or `half_open`.";
    Result = "result", "What came of it, from a closed set.";
    Endpoint = "endpoint", "Host and port of one of the server's endpoints, the port only where it is not the scheme's own (1000 endpoints, then `_other`).";
    Limit = "limit", "Which bound it was: `rate`, `concurrency`, `streams` (at once, of one client), `request_size`, `request_headers` or `answer_size`.";
    Client = "client", "The name that the client's key or token is bound to (500 names, then `_other`).";
    ClientInfo = "client_info", "The name in the client's `clientInfo` (the first 100 names, then `_other`); empty without one.";
    Name = "name", "Whose certificate it is: the name of a listener or server (1000 names, then `_other`).";
    Reason = "reason", "Why, from a closed set; empty where there is nothing to explain.";
    Signal = "signal", "Which kind of telemetry: `access_log`, `metrics` ...";
    Check = "check", "The name of the health check (1000 names, then `_other`).";
    Severity = "severity", "The severity named in the alert rule.";
    Action = "action", "The alert plugin that was asked to notify.";
    Version = "version", "The version of the gateway.";
}

/// The reference of every core metric and label as Markdown, generated from the table; `docs/metrics.md` holds it.
pub fn reference_markdown() -> String {
    let mut out = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for row in TABLE {
        let labels: Vec<String> = row.labels.iter().map(|label| format!("`{}`", label.as_str())).collect();
        writeln!(out, "| `{}` | {} | {} | {} |", row.name, row.kind.as_str(), labels.join(", "), cell(row.help))
            .expect("a String takes any text");
    }
    out.push_str("\n| label | values |\n|---|---|\n");
    for label in Label::ALL {
        writeln!(out, "| `{}` | {} |", label.as_str(), cell(label.meaning())).expect("a String takes any text");
    }
    out
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
