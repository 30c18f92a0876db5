//! What metrics and labels are called: closed enums, so that documents, dashboards and tests can be checked against them.

use std::borrow::Cow;

use opentelemetry_semantic_conventions::metric;

use crate::buckets::BucketGroup;
use crate::families::TABLE;
use crate::trace::Attribute;

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

    /// As OpenTelemetry writes it: by UCUM. Not `1` for [`Self::None`], which is for ratios.
    pub const fn as_ucum(self) -> &'static str {
        match self {
            Self::None => "",
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

    /// The OpenTelemetry name: that of the conventions where they have one, else the Prometheus name without unit and `_total`,
    /// which whoever translates it back adds.
    #[expect(deprecated, reason = "the MCP conventions moved to a repository of their own, and the crate has not followed")]
    pub fn otlp_name(&self) -> Cow<'static, str> {
        let conventional = match self.id {
            MetricName::ServerOperationDuration => metric::MCP_SERVER_OPERATION_DURATION,
            MetricName::ClientOperationDuration => metric::MCP_CLIENT_OPERATION_DURATION,
            MetricName::SessionDuration => metric::MCP_SERVER_SESSION_DURATION,
            MetricName::ProcessCpu => metric::PROCESS_CPU_TIME,
            MetricName::ProcessResident => metric::PROCESS_MEMORY_USAGE,
            MetricName::ProcessVirtual => metric::PROCESS_MEMORY_VIRTUAL,
            MetricName::ProcessOpenFds => metric::PROCESS_UNIX_FILE_DESCRIPTOR_COUNT,
            MetricName::ProcessThreads => metric::PROCESS_THREAD_COUNT,
            MetricName::Uptime => metric::PROCESS_UPTIME,
            _ => return self.plain_otlp_name().into(),
        };
        conventional.into()
    }

    fn plain_otlp_name(&self) -> String {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let name = name.strip_suffix(self.unit().as_str()).unwrap_or(name).trim_end_matches('_');
        name.replacen('_', ".", 1)
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
    ($($variant:ident = $name:literal, $otlp:expr, $meaning:literal;)*) => {
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

            /// The name of the attribute in OTLP: as on spans, where they have it.
            pub const fn otlp_name(self) -> &'static str {
                match self {
                    $(Self::$variant => $otlp,)*
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
    Server = "server", Attribute::Server.as_str(), "The configured name of the MCP server.";
    Method = "method", Attribute::HttpRequestMethod.as_str(), "The HTTP method: `GET`, `POST`, `DELETE`, `OPTIONS` or `_other`.";
    Status = "status", Attribute::HttpResponseStatusCode.as_str(), "The HTTP status sent to the client: a registered code, `none` when the client left before a head was sent, or `_other`.";
    Outcome = "outcome", Attribute::Outcome.as_str(), "How it ended: `ok`, `tool_error`, `rpc_error`, `http_error`, `denied`, `timeout`, `unreachable`, `cancelled` (the client left) or `aborted` (the upstream cut it off).";
    Direction = "direction", Attribute::Direction.as_str(), "`client-to-server` or `server-to-client`.";
    Initiator = "initiator", Attribute::Initiator.as_str(), "Who sent the request or notification: `client` or `server`.";
    Tool = "tool", Attribute::GenAiToolName.as_str(), "A tool that the server listed (500 a server) or, without listing it, answered without error (100 a server); else `_other`.";
    McpMethodName = "mcp_method_name", Attribute::McpMethodName.as_str(), "A method that the MCP specification defines, else `_other`.";
    GenAiToolName = "gen_ai_tool_name", Attribute::GenAiToolName.as_str(), "As `tool`; empty when the method names no tool.";
    GenAiPromptName = "gen_ai_prompt_name", Attribute::GenAiPromptName.as_str(), "A prompt that the server listed (500 a server) or, without listing it, answered without error (100 a server); else `_other`; empty when the method names no prompt.";
    ErrorType = "error_type", Attribute::ErrorType.as_str(), "Empty without an error; else the JSON-RPC error code, `tool_error`, the HTTP status, or one of the gateway's own words below; codes that neither the specification nor the gateway defines are `_other`.";
    RpcResponseStatusCode = "rpc_response_status_code", Attribute::RpcResponseStatusCode.as_str(), "The code of a JSON-RPC error in the answer, also where it is no `error_type`: one that the specification or the gateway defines, else `_other`; empty without one.";
    McpProtocolVersion = "mcp_protocol_version", Attribute::McpProtocolVersion.as_str(), "The MCP revision in use; empty when unknown.";
    Plugin = "plugin", Attribute::Plugin.as_str(), "The plugin's name: its file name without `.wasm` (1000 names, then `_other`).";
    Kind = "kind", Attribute::PluginKind.as_str(), "The plugin kind that was called: `redaction`, `derivation`, `health` or `alerting`.";
    State = "state", "state", "One of the plugin states or check statuses: the current one has the value 1, the others 0. For a circuit breaker the state it came into: `closed`, `open` or `half_open`.";
    Result = "result", "result", "What came of it, from the closed set below.";
    Endpoint = "endpoint", Attribute::Endpoint.as_str(), "Host and port of one of the server's endpoints, the port only where it is not the scheme's own (1000 endpoints, then `_other`).";
    Limit = "limit", "limit", "Which bound it was: `rate`, `concurrency`, `streams` (at once, of one client), `request_size`, `request_headers` or `answer_size`.";
    Client = "client", Attribute::ClientName.as_str(), "The name of the client's key, or `jwt:` and the name in its token (500 names, then `_other`).";
    ClientInfo = "client_info", "client_info", "The name in the client's `clientInfo` (100 names, then `_other`; one that came once gives way to a new one after an hour, any other after a day without it); empty without one.";
    Name = "name", "name", "Whose certificate it is: the name of a listener or server (1000 names, then `_other`).";
    Reason = "reason", "reason", "Why, from the closed set below; empty where there is nothing to explain.";
    Signal = "signal", "signal", "Which kind of telemetry: `access_log` and `logs` (written), `otlp_logs` (lines of both for export), `traces` and `metrics` (for export), `recent_traces`, `trace_fields` (text of a trace that was left out), `operation_text` (text for derivation plugins).";
    Check = "check", "check", "The name of the health check (1000 names, then `_other`).";
    Severity = "severity", "severity", "The severity named in the alert rule.";
    Action = "action", "action", "The alert plugin that was asked to notify.";
    Version = "version", "version", "The version of the gateway.";
}
