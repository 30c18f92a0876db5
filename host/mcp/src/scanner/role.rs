//! Which places of a message matter: the exact paths whose values the envelope is made of.

use crate::envelope::ListKind;

/// What a value is, by the path it stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Anything that is not captured.
    Content,
    Batch,
    Message,
    // Of a message.
    Jsonrpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    // Of params.
    Name,
    Uri,
    TaskId,
    Arguments,
    ProgressToken,
    CancelledId,
    Reference,
    ReferenceName,
    ReferenceUri,
    // Of params or result, themselves or their `_meta`.
    Meta(Side),
    ProtocolVersion(Side),
    MetaProtocolVersion,
    PeerInfo(Side),
    MetaPeerInfo(Side),
    PeerName(Side),
    MetaPeerName(Side),
    MetaProgressToken,
    Traceparent,
    Tracestate,
    Baggage,
    // Of result.
    IsError,
    ResultType,
    ContentList,
    ContentItem,
    ContentType,
    List(ListKind),
    Listed(ListKind),
    ListedName(ListKind),
    // Of error.
    ErrorCode,
    ErrorMessage,
}

/// Whether a value stands under `params` or under `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Params,
    Result,
}

/// No key that matters is longer, escapes included.
pub(super) const MAX_KEY_BYTES: usize = 6 * "io.modelcontextprotocol/protocolVersion".len();

impl Role {
    /// The role of the member `key` (decoded) of an object in this role.
    pub(super) fn member(self, key: &[u8]) -> Self {
        match self {
            Self::Message => message_member(key),
            Self::Params => params_member(key),
            Self::Result => result_member(key),
            Self::Error if key == b"code" => Self::ErrorCode,
            Self::Error if key == b"message" => Self::ErrorMessage,
            Self::Reference if key == b"name" => Self::ReferenceName,
            Self::Reference if key == b"uri" => Self::ReferenceUri,
            Self::Meta(side) => meta_member(side, key),
            Self::PeerInfo(side) if key == b"name" => Self::PeerName(side),
            Self::MetaPeerInfo(side) if key == b"name" => Self::MetaPeerName(side),
            Self::ContentItem if key == b"type" => Self::ContentType,
            Self::Listed(ListKind::ResourceTemplate) if key == b"uriTemplate" => Self::ListedName(ListKind::ResourceTemplate),
            Self::Listed(kind @ (ListKind::Tool | ListKind::Prompt)) if key == b"name" => Self::ListedName(kind),
            _ => Self::Content,
        }
    }

    /// The role of the elements of an array in this role.
    pub(super) const fn element(self) -> Self {
        match self {
            Self::Batch => Self::Message,
            Self::ContentList => Self::ContentItem,
            Self::List(kind) => Self::Listed(kind),
            _ => Self::Content,
        }
    }

    /// Whether members of an object in this role may matter.
    pub(super) const fn opens_object(self) -> bool {
        matches!(
            self,
            Self::Message
                | Self::Params
                | Self::Result
                | Self::Error
                | Self::Reference
                | Self::Meta(_)
                | Self::PeerInfo(_)
                | Self::MetaPeerInfo(_)
                | Self::ContentItem
                | Self::Listed(_)
        )
    }

    /// Whether elements of an array in this role may matter.
    pub(super) const fn opens_array(self) -> bool {
        matches!(self, Self::Batch | Self::ContentList | Self::List(_))
    }

    /// Whether a string or scalar in this role is captured.
    pub(super) const fn is_captured(self) -> bool {
        !self.opens_object() && !self.opens_array() && !matches!(self, Self::Content | Self::Arguments)
    }
}

fn message_member(key: &[u8]) -> Role {
    match key {
        b"jsonrpc" => Role::Jsonrpc,
        b"id" => Role::Id,
        b"method" => Role::Method,
        b"params" => Role::Params,
        b"result" => Role::Result,
        b"error" => Role::Error,
        _ => Role::Content,
    }
}

fn params_member(key: &[u8]) -> Role {
    match key {
        b"name" => Role::Name,
        b"uri" => Role::Uri,
        b"taskId" => Role::TaskId,
        b"arguments" => Role::Arguments,
        b"_meta" => Role::Meta(Side::Params),
        b"progressToken" => Role::ProgressToken,
        b"requestId" => Role::CancelledId,
        b"ref" => Role::Reference,
        b"protocolVersion" => Role::ProtocolVersion(Side::Params),
        b"clientInfo" => Role::PeerInfo(Side::Params),
        _ => Role::Content,
    }
}

fn result_member(key: &[u8]) -> Role {
    match key {
        b"isError" => Role::IsError,
        b"resultType" => Role::ResultType,
        b"content" => Role::ContentList,
        b"tools" => Role::List(ListKind::Tool),
        b"prompts" => Role::List(ListKind::Prompt),
        b"resourceTemplates" => Role::List(ListKind::ResourceTemplate),
        b"_meta" => Role::Meta(Side::Result),
        b"protocolVersion" => Role::ProtocolVersion(Side::Result),
        b"serverInfo" => Role::PeerInfo(Side::Result),
        _ => Role::Content,
    }
}

fn meta_member(side: Side, key: &[u8]) -> Role {
    match (side, key) {
        (Side::Params, b"progressToken") => Role::MetaProgressToken,
        (Side::Params, b"traceparent") => Role::Traceparent,
        (Side::Params, b"tracestate") => Role::Tracestate,
        (Side::Params, b"baggage") => Role::Baggage,
        (Side::Params, b"io.modelcontextprotocol/protocolVersion") => Role::MetaProtocolVersion,
        (Side::Params, b"io.modelcontextprotocol/clientInfo") => Role::MetaPeerInfo(side),
        (Side::Result, b"io.modelcontextprotocol/serverInfo") => Role::MetaPeerInfo(side),
        _ => Role::Content,
    }
}
