//! What the gateway knows of one message: the envelope, never the content.

use crate::request_id::RequestId;
use std::fmt;

/// What a message is. Decided when all of it has been seen, because keys come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Answers a request with a result.
    Result,
    /// Answers a request with an error; the id may be absent.
    Error,
    /// JSON, but not a JSON-RPC 2.0 message: no object, no `"jsonrpc":"2.0"`, a method that is no string, an id that is neither
    /// string nor integer, or members that contradict each other.
    Invalid,
}

impl MessageKind {
    /// The kind in lower case, for labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Notification => "notification",
            Self::Result => "result",
            Self::Error => "error",
            Self::Invalid => "invalid",
        }
    }
}

/// A method name; only the known ones may become label values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MethodText {
    /// A name of [`crate::method::ALL`].
    Known(&'static str),
    /// Any other name, cut at 128 bytes.
    Other(Box<str>),
}

impl MethodText {
    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for MethodText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `result.resultType` (2026-07-28).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResultType {
    /// `complete`, or absent.
    #[default]
    Complete,
    /// `input_required`: neither an error nor the end; the client asks again under another id.
    InputRequired,
    /// A value of an extension, such as `task`.
    Other,
}

/// How many elements of each type `result.content` has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentCounts {
    /// Elements of type `text`.
    pub text: u32,
    /// Elements of type `image`.
    pub image: u32,
    /// Elements of type `audio`.
    pub audio: u32,
    /// Elements of type `resource`: embedded.
    pub resource: u32,
    /// Elements of type `resource_link`.
    pub resource_link: u32,
    /// Every other element, those without a type included.
    pub other: u32,
}

/// Which list of a server a name stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// `result.tools[].name`.
    Tool,
    /// `result.prompts[].name`.
    Prompt,
    /// `result.resourceTemplates[].uriTemplate`.
    ResourceTemplate,
}

/// A name that a server lists as its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListedName {
    /// The list it stands in.
    pub kind: ListKind,
    /// The decoded name, at most 256 bytes; longer names are not kept.
    pub name: Box<str>,
}

/// The envelope of one JSON-RPC message. Texts are decoded; none of it has been cleared by a redaction policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// What the message is.
    pub kind: MessageKind,
    /// `id`, when it is a string of at most 256 bytes or an integer within `i64`.
    pub id: Option<RequestId>,
    /// `method`.
    pub method: Option<MethodText>,
    /// What the method acts on (see [`crate::method::name_field`]), cut at 256 bytes.
    pub name: Option<Box<str>>,
    /// `params.protocolVersion`, `params._meta["io.modelcontextprotocol/protocolVersion"]` or `result.protocolVersion`, cut at 64 bytes.
    pub protocol_version: Option<Box<str>>,
    /// The sender's own name: `clientInfo.name` or `serverInfo.name`, also under `_meta`, cut at 128 bytes. Self-reported: for display only.
    pub peer_name: Option<Box<str>>,
    /// A key that says what the message is (`jsonrpc`, `id`, `method`, `params`, `result`, `error`, or what names its target) stands more than
    /// once, or beside one that some receivers take for it (`Method`, `name\0`): others may read it as another message than this one.
    pub is_ambiguous: bool,
    /// `params._meta.progressToken` of a request, `params.progressToken` of `notifications/progress`, as canonical JSON text
    /// like [`RequestId::as_json`].
    pub progress_token: Option<Box<str>>,
    /// `params._meta.traceparent`, cut at 128 bytes and not checked.
    pub traceparent: Option<Box<str>>,
    /// `params._meta` has a `traceparent`, `tracestate` or `baggage`, whatever their values are.
    pub has_trace_context: bool,
    /// `params.requestId` of `notifications/cancelled`.
    pub cancelled_id: Option<RequestId>,
    /// `error.code`, when it is an integer.
    pub error_code: Option<i64>,
    /// `error.message`, when it is a string, cut at 260 bytes.
    pub error_message: Option<Box<str>>,
    /// `result.isError` is `true`.
    pub is_error: bool,
    /// `result.resultType`.
    pub result_type: ResultType,
    /// Length in bytes of the value of `params.arguments`; 0 when absent.
    pub argument_bytes: u64,
    /// Length in bytes of the value of `result`; 0 when absent.
    pub result_bytes: u64,
    /// `result.content[].type`.
    pub content: ContentCounts,
    /// Names the result lists, at most 500 of at most 256 bytes: tools, then prompts, then resource templates.
    pub listed: Vec<ListedName>,
    /// Names that the result lists beyond those bounds.
    pub listed_dropped: u32,
    /// Length in bytes of the message itself, without white space around it.
    pub bytes: u64,
}

impl Envelope {
    /// The method's name, if there is one.
    pub fn method_str(&self) -> Option<&str> {
        self.method.as_ref().map(MethodText::as_str)
    }

    /// Whether the message answers a request.
    pub const fn is_answer(&self) -> bool {
        matches!(self.kind, MessageKind::Result | MessageKind::Error)
    }
}
