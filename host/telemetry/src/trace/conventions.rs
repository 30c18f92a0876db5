//! The OpenTelemetry conventions for MCP and HTTP: what spans are called, and which failures make a span an error.
//!
//! <https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md>, with the rule of August 2026 for
//! codes that are the caller's mistake.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use super::attribute::Attribute;
use super::ids::SpanId;
use super::record::{SpanEvent, SpanKind, SpanRecord, SpanStatus};
use crate::error_type::ErrorType;
use crate::facts::HttpMethod;
use crate::intern::OTHER;

/// What HTTP's conventions call a method that they do not list.
const OTHER_HTTP_METHOD: &str = "_OTHER";

/// One kind of span, for the reference.
#[derive(Clone, Copy, Debug)]
pub struct SpanDefinition {
    /// Its name; what stands in braces is filled in.
    pub name: &'static str,
    /// Which side of a call it is.
    pub kind: SpanKind,
    /// One or two sentences: what it covers, and when there is one.
    pub meaning: &'static str,
}

macro_rules! spans {
    ($($(#[doc = $meaning:literal])+ $shape:ident = $kind:ident $name:literal;)+) => {
        /// The spans there are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum SpanShape {
            $($(#[doc = $meaning])+ $shape,)+
        }

        impl SpanShape {
            /// Every span, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$shape,)+];

            /// What the reference says of it.
            pub const fn definition(self) -> SpanDefinition {
                match self {
                    $(Self::$shape => SpanDefinition {
                        name: $name,
                        kind: SpanKind::$kind,
                        meaning: concat!($($meaning,)+),
                    },)+
                }
            }
        }
    };
}

spans! {
    /// A JSON-RPC request or notification, from its arrival to the last byte of its answer. The target is the tool or prompt, where it names one.
    Operation = Server "{mcp.method.name} {target}";
    /// An HTTP exchange without a single JSON-RPC message: event streams, batches, what is not MCP.
    Exchange = Server "{http.request.method} {http.route}";
    /// One attempt to have the other side answer the operation, from its sending to the last byte of the answer.
    OperationAttempt = Client "{mcp.method.name} {target}";
    /// One attempt to have the upstream server answer an HTTP request that is no single JSON-RPC message.
    ExchangeAttempt = Client "{http.request.method}";
    /// Opening a connection to the endpoint, TLS included; below the attempt that needed it.
    Connect = Internal "connect";
    /// One call of a redaction plugin for a message.
    Redact = Internal "redact {watchgate.plugin}";
}

macro_rules! events {
    ($($(#[doc = $meaning:literal])+ $event:ident = $name:literal;)+) => {
        /// The events there are on spans.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventName {
            $($(#[doc = $meaning])+ $event,)+
        }

        impl EventName {
            /// Every event, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$event,)+];

            /// The name, as exported.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$event => $name,)+
                }
            }

            /// One sentence: when there is one.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$event => concat!($($meaning,)+),)+
                }
            }
        }
    };
}

events! {
    /// The attempt before failed, and there will be another. On SERVER spans.
    Retry = "retry";
}

/// What an operation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationTarget<'a> {
    /// Nothing.
    None,
    /// A tool.
    Tool(&'a str),
    /// A prompt.
    Prompt(&'a str),
    /// A resource, by its URI; never part of a span's name.
    Resource(&'a str),
}

/// Whose conventions decide what is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanProtocol {
    /// Those for MCP: every HTTP status from 400 fails the operation.
    Mcp,
    /// Those for HTTP: statuses below 500 are no error of the server.
    Http,
}

impl SpanRecord {
    /// The span of a JSON-RPC request or notification with the attributes that name it. A method that the specification does
    /// not define is `_other`.
    pub fn operation(
        span_id: SpanId,
        kind: SpanKind,
        method: Option<&'static str>,
        target: OperationTarget<'_>,
        started: SystemTime,
        duration: Duration,
    ) -> Self {
        let method = method.unwrap_or(OTHER);
        let name = match target {
            OperationTarget::Tool(target) | OperationTarget::Prompt(target) => Cow::Owned(format!("{method} {target}")),
            OperationTarget::Resource(_) | OperationTarget::None => Cow::Borrowed(method),
        };
        let mut span = Self::new(span_id, kind, name, started, duration);
        span.set(Attribute::McpMethodName, method);
        match target {
            OperationTarget::None => {}
            OperationTarget::Tool(tool) => span.set(Attribute::GenAiToolName, tool.to_owned()),
            OperationTarget::Prompt(prompt) => span.set(Attribute::GenAiPromptName, prompt.to_owned()),
            OperationTarget::Resource(uri) => span.set(Attribute::McpResourceUri, uri.to_owned()),
        }
        if method == "tools/call" {
            span.set(Attribute::GenAiOperationName, "execute_tool");
        }
        span
    }

    /// The span of an HTTP request that is no single JSON-RPC message; SERVER spans are named by their route.
    pub fn http(span_id: SpanId, kind: SpanKind, method: HttpMethod, route: Option<&str>, started: SystemTime, duration: Duration) -> Self {
        let verb = if method == HttpMethod::Other { "HTTP" } else { method.as_str() };
        let name = match route {
            Some(route) => Cow::Owned(format!("{verb} {route}")),
            None => Cow::Borrowed(verb),
        };
        let mut span = Self::new(span_id, kind, name, started, duration);
        span.set_http_method(method);
        if let Some(route) = route {
            span.set(Attribute::HttpRoute, route.to_owned());
        }
        span
    }

    /// The span of opening a connection.
    pub fn connect(span_id: SpanId, started: SystemTime, duration: Duration) -> Self {
        Self::new(span_id, SpanKind::Internal, SpanShape::Connect.definition().name, started, duration)
    }

    /// The span of one call of a redaction plugin; `verdict` and `direction` as [`Attribute::PluginVerdict`] and
    /// [`Attribute::Direction`] list them.
    pub fn redact(
        span_id: SpanId,
        plugin: &str,
        verdict: &'static str,
        direction: &'static str,
        started: SystemTime,
        duration: Duration,
    ) -> Self {
        let mut span = Self::new(span_id, SpanKind::Internal, format!("redact {plugin}"), started, duration);
        span.set(Attribute::Plugin, plugin.to_owned());
        span.set(Attribute::PluginKind, "redaction");
        span.set(Attribute::PluginVerdict, verdict);
        span.set(Attribute::Direction, direction);
        span
    }

    /// Says by which HTTP method the span's request came or went.
    pub fn set_http_method(&mut self, method: HttpMethod) {
        let word = if method == HttpMethod::Other { OTHER_HTTP_METHOD } else { method.as_str() };
        self.set(Attribute::HttpRequestMethod, word);
    }

    /// Says that what the span covers failed, as far as that is an error of its side: `error.type`, the status with `message`,
    /// and, whichever side it is, `rpc.response.status_code`. The message is redacted by the caller.
    pub fn fail(&mut self, protocol: SpanProtocol, error: ErrorType, message: Option<Cow<'static, str>>) {
        if let ErrorType::Rpc(code) = error {
            self.set(Attribute::RpcResponseStatusCode, code.to_string());
        }
        if is_error(self.kind, protocol, error) {
            self.set(Attribute::ErrorType, error_type(error));
            self.status = SpanStatus::Error(message.unwrap_or_default());
        }
    }

    /// Whether it ended with an error.
    pub fn is_error(&self) -> bool {
        matches!(self.status, SpanStatus::Error(_))
    }
}

impl SpanEvent {
    /// An attempt failed for `reason`, and there will be another.
    pub fn retry(at: SystemTime, reason: &'static str) -> Self {
        Self { name: EventName::Retry, at, attributes: vec![(Attribute::RetryReason, reason.into())] }
    }
}

fn is_error(kind: SpanKind, protocol: SpanProtocol, error: ErrorType) -> bool {
    match (kind, error) {
        (SpanKind::Server, ErrorType::Http(status)) if protocol == SpanProtocol::Http => status >= 500,
        (SpanKind::Server, error) => error.is_server_error(),
        (SpanKind::Client | SpanKind::Internal, _) => true,
    }
}

/// Codes and statuses stand as they came: a span is no series, so nothing is folded into `_other`.
fn error_type(error: ErrorType) -> Cow<'static, str> {
    match error {
        ErrorType::Rpc(code) => code.to_string().into(),
        ErrorType::ToolError => "tool_error".into(),
        ErrorType::Http(status) => status.to_string().into(),
        ErrorType::Named(word) => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{OperationTarget, SpanProtocol};
    use crate::error_type::ErrorType;
    use crate::facts::HttpMethod;
    use crate::trace::{Attribute, SpanId, SpanKind, SpanRecord, SpanStatus};

    fn operation(kind: SpanKind, method: Option<&'static str>, target: OperationTarget<'_>) -> SpanRecord {
        SpanRecord::operation(SpanId::random(), kind, method, target, SystemTime::UNIX_EPOCH, Duration::ZERO)
    }

    fn attributes(span: &SpanRecord) -> Vec<(&'static str, String)> {
        span.attributes.iter().map(|(attribute, value)| (attribute.as_str(), value.to_text().into_owned())).collect()
    }

    fn check_name(method: Option<&'static str>, target: OperationTarget<'_>, name: &str, expected: &[(&str, &str)]) {
        let span = operation(SpanKind::Server, method, target);
        assert_eq!(span.name, name);
        let expected: Vec<_> = expected.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!(attributes(&span), expected);
    }

    #[test]
    fn operations_are_named_by_method_and_target() {
        check_name(
            Some("tools/call"),
            OperationTarget::Tool("echo"),
            "tools/call echo",
            &[("mcp.method.name", "tools/call"), ("gen_ai.tool.name", "echo"), ("gen_ai.operation.name", "execute_tool")],
        );
        check_name(
            Some("prompts/get"),
            OperationTarget::Prompt("greet"),
            "prompts/get greet",
            &[("mcp.method.name", "prompts/get"), ("gen_ai.prompt.name", "greet")],
        );
        check_name(
            Some("resources/read"),
            OperationTarget::Resource("file:///a"),
            "resources/read",
            &[("mcp.method.name", "resources/read"), ("mcp.resource.uri", "file:///a")],
        );
        check_name(Some("ping"), OperationTarget::None, "ping", &[("mcp.method.name", "ping")]);
        check_name(None, OperationTarget::None, "_other", &[("mcp.method.name", "_other")]);
    }

    #[test]
    fn http_exchanges_are_named_by_method_and_route() {
        let check = |kind, method, route: Option<&str>, name: &str, word: &str| {
            let span = SpanRecord::http(SpanId::random(), kind, method, route, SystemTime::UNIX_EPOCH, Duration::ZERO);
            assert_eq!(span.name, name);
            assert_eq!(span.get(Attribute::HttpRequestMethod), Some(&word.to_owned().into()));
        };
        check(SpanKind::Server, HttpMethod::Get, Some("/weather/"), "GET /weather/", "GET");
        check(SpanKind::Server, HttpMethod::Other, Some("/weather/"), "HTTP /weather/", "_OTHER");
        check(SpanKind::Client, HttpMethod::Delete, None, "DELETE", "DELETE");
    }

    /// What each kind of span says of an error: its `error.type`, if it is one there.
    fn check_error(error: ErrorType, server: Option<&str>, http_server: Option<&str>, client: &str, code: Option<&str>) {
        for (kind, protocol, expected) in [
            (SpanKind::Server, SpanProtocol::Mcp, server),
            (SpanKind::Server, SpanProtocol::Http, http_server),
            (SpanKind::Client, SpanProtocol::Mcp, Some(client)),
            (SpanKind::Internal, SpanProtocol::Http, Some(client)),
        ] {
            let mut span = operation(kind, Some("ping"), OperationTarget::None);
            span.fail(protocol, error, Some("why".into()));
            let value = |attribute| span.get(attribute).map(|value| value.to_text().into_owned());
            assert_eq!(value(Attribute::ErrorType).as_deref(), expected, "{error:?} {kind:?} {protocol:?}");
            assert_eq!(value(Attribute::RpcResponseStatusCode).as_deref(), code, "{error:?}");
            let status = if expected.is_some() { SpanStatus::Error("why".into()) } else { SpanStatus::Unset };
            assert_eq!(span.status, status, "{error:?} {kind:?} {protocol:?}");
        }
    }

    #[test]
    fn the_callers_mistakes_are_no_errors_of_a_server() {
        for code in ["-32700", "-32600", "-32601", "-32602", "-32002"] {
            check_error(ErrorType::Rpc(code.parse().unwrap()), None, None, code, Some(code));
        }
        for code in ["-32603", "-32000", "-32001", "-31004", "7"] {
            check_error(ErrorType::Rpc(code.parse().unwrap()), Some(code), Some(code), code, Some(code));
        }
        check_error(ErrorType::ToolError, Some("tool_error"), Some("tool_error"), "tool_error", None);
        check_error(ErrorType::Http(404), Some("404"), None, "404", None);
        check_error(ErrorType::Http(503), Some("503"), Some("503"), "503", None);
        check_error(ErrorType::Named("timeout"), Some("timeout"), Some("timeout"), "timeout", None);
    }
}
