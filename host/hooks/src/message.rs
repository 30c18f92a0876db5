//! One message as a redaction policy sees it, and what the policy may answer.

use bytes::Bytes;
use watchgate_mcp::Direction;

/// Where the message is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// On to the other side of the conversation.
    Wire,
    /// Out of the gateway as telemetry; the body is a JSON object of field -> text.
    Telemetry,
}

/// What the body holds (`kind` in `wit/messages.wit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A JSON-RPC request.
    Request,
    /// A JSON-RPC notification.
    Notification,
    /// A JSON-RPC response with `result`.
    Response,
    /// A JSON-RPC response with `error`.
    Error,
    /// Telemetry fields.
    Fields,
    /// Anything else.
    Opaque,
}

/// A request header that mirrors message content (`mcp-name`, `mcp-param-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirroredHeader {
    /// Lower-case name.
    pub name: Box<str>,
    /// Decoded value.
    pub value: Box<str>,
}

/// One message, owned and cheap to clone: `body` is reference counted, the rest is small.
#[derive(Clone, Debug)]
pub struct Message {
    /// Exactly one JSON-RPC message, telemetry fields, or opaque bytes.
    pub body: Bytes,
    /// What the body holds.
    pub kind: Kind,
    /// Who sent it.
    pub direction: Direction,
    /// Where it is going.
    pub surface: Surface,
    /// The configured name of the server.
    pub server: std::sync::Arc<str>,
    /// The method, of the message or of the request it answers.
    pub method: Option<Box<str>>,
    /// The tool, prompt, URI or task named by the request.
    pub name: Option<Box<str>>,
    /// Headers that count as content.
    pub headers: Vec<MirroredHeader>,
}

/// One change that a policy asked for. Offsets are bytes into the body that the policy saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Replace `start..end`, inside one JSON string's content, by this text (the host escapes it).
    Mask {
        /// First byte replaced.
        start: usize,
        /// First byte kept.
        end: usize,
        /// Unescaped text.
        replacement: String,
    },
    /// Replace the value at this JSON Pointer.
    SetJson {
        /// RFC 6901 pointer.
        pointer: String,
        /// One JSON text.
        json: String,
    },
    /// Replace everything.
    SetBody(Bytes),
}

/// What a policy decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On it goes, with the edits.
    Pass,
    /// It does not go on. For operators only.
    Deny(String),
}

/// A policy's whole answer. Edits count only with [`Verdict::Pass`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The decision.
    pub verdict: Verdict,
    /// The edits, in the order they were made; each was accepted when made, all are checked again together.
    pub edits: Vec<Edit>,
}
