//! Every attribute a span or event of ours may carry: a closed set, from which the reference is generated.

#![expect(deprecated, reason = "the conventions for MCP and GenAI moved to a repository of their own; these are the same names")]

use std::borrow::Cow;

use opentelemetry_semantic_conventions::attribute as semconv;
use serde::Serialize;

/// What the values of an attribute are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeKind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Yes or no.
    Bool,
}

impl AttributeKind {
    /// The word in the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Float => "double",
            Self::Bool => "boolean",
        }
    }
}

/// The value of an attribute. Serialized as what it is: a text, a number, or yes or no.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// Text. What comes from messages has passed the telemetry surface of the redaction plugins.
    Str(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// A number.
    Float(f64),
}

impl AttributeValue {
    /// What it is.
    pub const fn kind(&self) -> AttributeKind {
        match self {
            Self::Str(_) => AttributeKind::Text,
            Self::Int(_) => AttributeKind::Int,
            Self::Bool(_) => AttributeKind::Bool,
            Self::Float(_) => AttributeKind::Float,
        }
    }

    /// The value as text.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Str(text) => Cow::Borrowed(text),
            Self::Int(number) => number.to_string().into(),
            Self::Bool(yes) => Cow::Borrowed(if *yes { "true" } else { "false" }),
            Self::Float(number) => number.to_string().into(),
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        match self {
            Self::Str(Cow::Owned(text)) => text.capacity(),
            Self::Str(Cow::Borrowed(_)) | Self::Int(_) | Self::Bool(_) | Self::Float(_) => 0,
        }
    }
}

impl From<&'static str> for AttributeValue {
    fn from(text: &'static str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }
}

impl From<String> for AttributeValue {
    fn from(text: String) -> Self {
        Self::Str(Cow::Owned(text))
    }
}

impl From<Box<str>> for AttributeValue {
    fn from(text: Box<str>) -> Self {
        Self::Str(Cow::Owned(text.into()))
    }
}

impl From<Cow<'static, str>> for AttributeValue {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Str(text)
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for AttributeValue {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u16> for AttributeValue {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for AttributeValue {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<f64> for AttributeValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

macro_rules! attributes {
    ($($variant:ident $kind:ident $name:expr, $meaning:literal;)*) => {
        /// An attribute of a span or event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Attribute {
            $(#[doc = $meaning] $variant,)*
        }

        impl Attribute {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Every attribute, in the order of the reference.
            pub fn all() -> impl Iterator<Item = Self> {
                Self::ALL.iter().copied()
            }

            /// The name, as exported.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What its values are.
            pub const fn kind(self) -> AttributeKind {
                match self {
                    $(Self::$variant => AttributeKind::$kind,)*
                }
            }

            /// One or two sentences: what it says, and on which spans.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

attributes! {
    McpMethodName Text semconv::MCP_METHOD_NAME,
        "The method of the JSON-RPC request or notification; `_other` when the specification does not define it. On spans of operations.";
    McpProtocolVersion Text semconv::MCP_PROTOCOL_VERSION,
        "The MCP revision in use, where it is known. On spans of operations.";
    McpSessionId Text semconv::MCP_SESSION_ID,
        "The first eight bytes of the SHA-256 of the session's id, since the id is a credential. On spans of operations of revisions before 2026-07-28.";
    McpResourceUri Text semconv::MCP_RESOURCE_URI,
        "The URI of the resource that the method names, redacted, with users and telling parameters in it masked. On spans of operations with resources.";
    JsonrpcRequestId Text semconv::JSONRPC_REQUEST_ID,
        "The id of the JSON-RPC request, numbers written as text, redacted. On spans of requests; not of notifications.";
    RpcResponseStatusCode Text semconv::RPC_RESPONSE_STATUS_CODE,
        "The code of the JSON-RPC error in the answer, for example `-32602`. On the SERVER span, and on the CLIENT span where the other side gave it.";
    ErrorType Text semconv::ERROR_TYPE,
        "Why the span is an error: the JSON-RPC error code, `tool_error`, an HTTP status, or the gateway's own word; on `connect` spans a `cause` of the access log. Absent without an error; on SERVER spans the codes -32700, -32600, -32601, -32602 and -32002 are none.";
    GenAiOperationName Text semconv::GEN_AI_OPERATION_NAME,
        "`execute_tool`, on spans of tools/call.";
    GenAiToolName Text semconv::GEN_AI_TOOL_NAME,
        "The tool that is called, redacted. On spans of tools/call.";
    GenAiPromptName Text semconv::GEN_AI_PROMPT_NAME,
        "The prompt that is asked for, redacted. On spans of prompts/get.";
    GenAiToolCallArguments Text semconv::GEN_AI_TOOL_CALL_ARGUMENTS,
        "The arguments of the call as JSON, masked, redacted and cut to the configured size. On SERVER spans of tools/call, where `logs.capture` wants it.";
    GenAiToolCallResult Text semconv::GEN_AI_TOOL_CALL_RESULT,
        "The result or error that answered the call as JSON, masked, redacted and cut to the configured size. On SERVER spans of tools/call, where `logs.capture` wants it.";
    NetworkTransport Text semconv::NETWORK_TRANSPORT,
        "`tcp`. On SERVER and CLIENT spans.";
    NetworkProtocolName Text semconv::NETWORK_PROTOCOL_NAME,
        "`http`. On SERVER and CLIENT spans.";
    NetworkProtocolVersion Text semconv::NETWORK_PROTOCOL_VERSION,
        "`1.0`, `1.1` or `2`. On SERVER and CLIENT spans.";
    ClientAddress Text semconv::CLIENT_ADDRESS,
        "The client's IP address, by forwarding headers where the configuration trusts them. On SERVER spans.";
    ClientPort Int semconv::CLIENT_PORT,
        "The client's port. On SERVER spans of clients that connect directly.";
    ServerAddress Text semconv::SERVER_ADDRESS,
        "The host of the endpoint that the request went to. On CLIENT spans.";
    ServerPort Int semconv::SERVER_PORT,
        "The port of that endpoint. On CLIENT spans.";
    HttpRequestMethod Text semconv::HTTP_REQUEST_METHOD,
        "The HTTP method, or `_OTHER`. On SERVER and CLIENT spans.";
    HttpResponseStatusCode Int semconv::HTTP_RESPONSE_STATUS_CODE,
        "The HTTP status of the answer. On SERVER and CLIENT spans that were answered.";
    HttpRoute Text semconv::HTTP_ROUTE,
        "Where the server is mounted, for example `/weather/`. On SERVER spans.";
    HttpRequestResendCount Int semconv::HTTP_REQUEST_RESEND_COUNT,
        "Which retry this is, counted from 1. On CLIENT spans, but for the first attempt.";
    HttpRequestBodySize Int semconv::HTTP_REQUEST_BODY_SIZE,
        "Bytes of the request's body. On SERVER spans.";
    HttpResponseBodySize Int semconv::HTTP_RESPONSE_BODY_SIZE,
        "Bytes of the answer's body. On SERVER spans.";
    UrlScheme Text semconv::URL_SCHEME,
        "`http` or `https`. On SERVER spans of exchanges and CLIENT spans.";
    Server Text "watchgate.server",
        "The configured name of the MCP server. On SERVER spans.";
    Outcome Text "watchgate.outcome",
        "How it ended: `ok`, `tool_error`, `rpc_error`, `http_error`, `denied`, `timeout`, `unreachable`, `cancelled` or `aborted`. On SERVER spans.";
    Initiator Text "watchgate.initiator",
        "Who sent the request or notification: `client` or `server`. On spans of operations.";
    ClientName Text "watchgate.client",
        "The name of the client's key, or `jwt:` and the name in its token. On SERVER spans.";
    RequestId Text "watchgate.request_id",
        "`X-Request-ID`, as received or made, redacted. On SERVER spans.";
    ErrorId Text "watchgate.error_id",
        "The id that the client got in the gateway's own error. On SERVER spans.";
    Fault Text "watchgate.fault",
        "Whose fault an error is: `client`, `upstream`, `plugin` or `gateway`. On SERVER spans.";
    Operations Int "watchgate.operations",
        "How many JSON-RPC requests and notifications the exchange carried, where it is not one. On SERVER spans.";
    Forced Bool "watchgate.forced",
        "True where `X-Debug-Trace` asked for the trace. On SERVER spans.";
    Endpoint Text "watchgate.endpoint",
        "The authority of the chosen endpoint. On CLIENT spans.";
    ConnectionReused Bool "watchgate.connection.reused",
        "Whether the request went over a connection that was open already. On CLIENT spans.";
    Plugin Text "watchgate.plugin",
        "The name of the plugin. On spans of plugin calls.";
    PluginKind Text "watchgate.plugin.kind",
        "What the plugin was called as, for example `redaction`. On spans of plugin calls.";
    PluginVerdict Text "watchgate.plugin.verdict",
        "`unchanged`, `changed`, `denied` or `failed`. On spans of plugin calls.";
    PluginReason Text "watchgate.plugin.reason",
        "Why the call failed, from a closed set. On spans of plugin calls that failed.";
    Direction Text "watchgate.direction",
        "`client-to-server` or `server-to-client`. On spans of plugin calls.";
    RetryReason Text "watchgate.retry.reason",
        "Why the attempt before is not the last. On `retry` events.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Attribute;

    #[test]
    fn names_are_distinct_and_those_of_our_own_are_marked() {
        let names: HashSet<&str> = Attribute::all().map(Attribute::as_str).collect();
        assert_eq!(names.len(), Attribute::all().count());
        for attribute in Attribute::all() {
            let (name, meaning) = (attribute.as_str(), attribute.meaning());
            assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'.' | b'_')), "{name}");
            assert!(meaning.ends_with('.'), "{name}");
        }
    }
}
