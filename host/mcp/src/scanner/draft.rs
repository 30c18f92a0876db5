//! What a message has shown of itself so far, until its end decides what it is.
//!
//! A key that comes again resets what its earlier value left, all that stood below it included: the last one counts.

use super::listed::Lists;
use super::role::{Role, Side};
use crate::envelope::{ContentCounts, Envelope, MessageKind, MethodText, ResultType};
use crate::json::{decode, decode_lossy};
use crate::method::{self, NameField};
use crate::request_id::{MAX_ID_BYTES, RequestId, integer};

const MAX_METHOD_BYTES: usize = 128;
const MAX_NAME_BYTES: usize = 256;
const MAX_VERSION_BYTES: usize = 64;
const MAX_PEER_BYTES: usize = 128;
const MAX_TRACEPARENT_BYTES: usize = 128;
const MAX_ERROR_MESSAGE_BYTES: usize = 260;

/// Text that may be a surplus candidate is boxed only once, when captured.
type Text = Option<Box<str>>;

#[derive(Default)]
pub(super) struct Draft {
    /// One bit for each key of [`identity_bit`] that has come.
    seen: u16,
    is_ambiguous: bool,
    jsonrpc: bool,
    id: Id,
    method: Method,
    params: Params,
    result: Option<ResultPart>,
    error: Option<ErrorPart>,
}

#[derive(Default)]
enum Id {
    #[default]
    Absent,
    Null,
    Captured(RequestId),
    /// A string or integer that is too long to keep.
    TooLong,
    /// Anything an id may not be.
    Wrong,
}

#[derive(Default)]
enum Method {
    #[default]
    Absent,
    Text(MethodText),
    Wrong,
}

#[derive(Default)]
struct Params {
    name: Text,
    uri: Text,
    task_id: Text,
    reference_name: Text,
    reference_uri: Text,
    progress_token: Option<RequestId>,
    cancelled_id: Option<RequestId>,
    argument_bytes: u64,
    peer: Peer,
    meta: Meta,
}

#[derive(Default)]
struct Peer {
    protocol_version: Text,
    name: Text,
}

#[derive(Default)]
struct Meta {
    peer: Peer,
    progress_token: Option<RequestId>,
    traceparent: Text,
    has_trace_context: bool,
}

#[derive(Default)]
struct ResultPart {
    is_error: bool,
    result_type: ResultType,
    bytes: u64,
    content: ContentCounts,
    item_type: ItemType,
    lists: Lists,
    peer: Peer,
    meta_peer_name: Text,
}

#[derive(Clone, Copy, Default)]
enum ItemType {
    Text,
    Image,
    Audio,
    Resource,
    ResourceLink,
    #[default]
    Other,
}

#[derive(Default)]
struct ErrorPart {
    is_object: bool,
    code: Option<i64>,
    message: Text,
}

/// A bit for each key that says what a message is. Those below `params` stay set when `params` comes again, which is ambiguous by itself.
fn identity_bit(role: Role) -> Option<u16> {
    Some(match role {
        Role::Jsonrpc => 1,
        Role::Id => 1 << 1,
        Role::Method => 1 << 2,
        Role::Params => 1 << 3,
        Role::Name => 1 << 4,
        Role::Uri => 1 << 5,
        Role::TaskId => 1 << 6,
        Role::Reference => 1 << 7,
        Role::ReferenceName => 1 << 8,
        Role::ReferenceUri => 1 << 9,
        Role::Result => 1 << 10,
        Role::Error => 1 << 11,
        _ => return None,
    })
}

impl Draft {
    /// A value in this role begins: forget what an earlier one of the same key left.
    pub(super) fn begin(&mut self, role: Role) {
        if let Some(bit) = identity_bit(role) {
            self.is_ambiguous |= self.seen & bit != 0;
            self.seen |= bit;
        }
        match role {
            Role::Jsonrpc => self.jsonrpc = false,
            Role::Id => self.id = Id::Wrong,
            Role::Method => self.method = Method::Wrong,
            Role::Params => self.params = Params::default(),
            Role::Result => self.result = Some(ResultPart::default()),
            Role::Error => self.error = Some(ErrorPart::default()),
            Role::Arguments => self.params.argument_bytes = 0,
            Role::ProgressToken => self.params.progress_token = None,
            Role::CancelledId => self.params.cancelled_id = None,
            Role::MetaProgressToken => self.params.meta.progress_token = None,
            Role::Reference => {
                self.params.reference_name = None;
                self.params.reference_uri = None;
            }
            Role::Meta(Side::Params) => self.params.meta = Meta::default(),
            Role::ErrorCode => self.error_part().code = None,
            Role::Traceparent | Role::Tracestate | Role::Baggage => self.params.meta.has_trace_context = true,
            _ => self.begin_in_result(role),
        }
        if let Some((text, _)) = self.text(role) {
            *text = None;
        }
    }

    /// Others may read it as another message.
    pub(super) fn mark_ambiguous(&mut self) {
        self.is_ambiguous = true;
    }

    fn begin_in_result(&mut self, role: Role) {
        match role {
            Role::Meta(Side::Result) => self.result_part().meta_peer_name = None,
            Role::PeerInfo(Side::Params) => self.params.peer.name = None,
            Role::PeerInfo(Side::Result) => self.result_part().peer.name = None,
            Role::MetaPeerInfo(Side::Params) => self.params.meta.peer.name = None,
            Role::MetaPeerInfo(Side::Result) => self.result_part().meta_peer_name = None,
            Role::IsError => self.result_part().is_error = false,
            // A value that is no string is none of the specification's.
            Role::ResultType => self.result_part().result_type = ResultType::Other,
            Role::ContentList => self.result_part().content = ContentCounts::default(),
            Role::ContentItem | Role::ContentType => self.result_part().item_type = ItemType::Other,
            Role::List(kind) => self.result_part().lists.begin_list(kind),
            Role::Listed(_) | Role::ListedName(_) => self.result_part().lists.begin_name(),
            _ => {}
        }
    }

    /// An object whose members may matter begins.
    pub(super) fn open(&mut self, role: Role) {
        if role == Role::Error {
            self.error_part().is_object = true;
        }
    }

    /// A value in this role has ended and is `bytes` long.
    pub(super) fn end(&mut self, role: Role, bytes: u64) {
        match role {
            Role::Arguments => self.params.argument_bytes = bytes,
            Role::Result => self.result_part().bytes = bytes,
            Role::ContentItem => {
                let result = self.result_part();
                let count = match result.item_type {
                    ItemType::Text => &mut result.content.text,
                    ItemType::Image => &mut result.content.image,
                    ItemType::Audio => &mut result.content.audio,
                    ItemType::Resource => &mut result.content.resource,
                    ItemType::ResourceLink => &mut result.content.resource_link,
                    ItemType::Other => &mut result.content.other,
                };
                *count = count.saturating_add(1);
            }
            Role::Listed(kind) => self.result_part().lists.end_element(kind),
            _ => {}
        }
    }

    /// A string in a captured role, its content raw.
    pub(super) fn string(&mut self, role: Role, raw: &[u8]) {
        match role {
            Role::Jsonrpc => self.jsonrpc = decodes_to(raw, "2.0"),
            Role::Id => {
                self.id = match RequestId::from_string_content(raw) {
                    Some(id) => Id::Captured(id),
                    None if decode_lossy(raw, MAX_ID_BYTES + 4).len() > MAX_ID_BYTES => Id::TooLong,
                    None => Id::Wrong,
                }
            }
            Role::Method => self.method = Method::Text(method_text(raw)),
            Role::ProgressToken => self.params.progress_token = RequestId::from_string_content(raw),
            Role::CancelledId => self.params.cancelled_id = RequestId::from_string_content(raw),
            Role::MetaProgressToken => self.params.meta.progress_token = RequestId::from_string_content(raw),
            Role::ResultType => {
                self.result_part().result_type = match () {
                    () if decodes_to(raw, "complete") => ResultType::Complete,
                    () if decodes_to(raw, "input_required") => ResultType::InputRequired,
                    () => ResultType::Other,
                }
            }
            Role::ContentType => self.result_part().item_type = item_type(raw),
            Role::ListedName(_) => self.result_part().lists.name(raw),
            _ => {
                if let Some((text, limit)) = self.text(role) {
                    *text = Some(decode_lossy(raw, limit).into());
                }
            }
        }
    }

    /// A number, `true`, `false` or `null` in a captured role; `whole` is false when `raw` is only the beginning of a long one.
    pub(super) fn scalar(&mut self, role: Role, raw: &[u8], whole: bool) {
        let integer = if whole { integer(raw) } else { None };
        match role {
            Role::Id => {
                self.id = match (integer, raw) {
                    (Some(id), _) => Id::Captured(id.into()),
                    (None, b"null") => Id::Null,
                    (None, _) if is_integer(raw) => Id::TooLong,
                    (None, _) => Id::Wrong,
                }
            }
            Role::ProgressToken => self.params.progress_token = integer.map(RequestId::from),
            Role::CancelledId => self.params.cancelled_id = integer.map(RequestId::from),
            Role::MetaProgressToken => self.params.meta.progress_token = integer.map(RequestId::from),
            Role::IsError => self.result_part().is_error = raw == b"true",
            Role::ErrorCode => self.error_part().code = integer,
            _ => {}
        }
    }

    /// Where the text of this role goes, and how many bytes of it are kept.
    fn text(&mut self, role: Role) -> Option<(&mut Text, usize)> {
        Some(match role {
            Role::Name => (&mut self.params.name, MAX_NAME_BYTES),
            Role::Uri => (&mut self.params.uri, MAX_NAME_BYTES),
            Role::TaskId => (&mut self.params.task_id, MAX_NAME_BYTES),
            Role::ReferenceName => (&mut self.params.reference_name, MAX_NAME_BYTES),
            Role::ReferenceUri => (&mut self.params.reference_uri, MAX_NAME_BYTES),
            Role::ProtocolVersion(Side::Params) => (&mut self.params.peer.protocol_version, MAX_VERSION_BYTES),
            Role::ProtocolVersion(Side::Result) => (&mut self.result_part().peer.protocol_version, MAX_VERSION_BYTES),
            Role::MetaProtocolVersion => (&mut self.params.meta.peer.protocol_version, MAX_VERSION_BYTES),
            Role::PeerName(Side::Params) => (&mut self.params.peer.name, MAX_PEER_BYTES),
            Role::PeerName(Side::Result) => (&mut self.result_part().peer.name, MAX_PEER_BYTES),
            Role::MetaPeerName(Side::Params) => (&mut self.params.meta.peer.name, MAX_PEER_BYTES),
            Role::MetaPeerName(Side::Result) => (&mut self.result_part().meta_peer_name, MAX_PEER_BYTES),
            Role::Traceparent => (&mut self.params.meta.traceparent, MAX_TRACEPARENT_BYTES),
            Role::ErrorMessage => (&mut self.error_part().message, MAX_ERROR_MESSAGE_BYTES),
            _ => return None,
        })
    }

    fn result_part(&mut self) -> &mut ResultPart {
        self.result.get_or_insert_default()
    }

    fn error_part(&mut self) -> &mut ErrorPart {
        self.error.get_or_insert_default()
    }

    /// The message has ended and is `bytes` long.
    pub(super) fn finish(self, bytes: u64) -> Envelope {
        let kind = self.kind();
        let method = match self.method {
            Method::Text(method) => Some(method),
            Method::Absent | Method::Wrong => None,
        };
        let params = self.params;
        let result = self.result.unwrap_or_default();
        let error = self.error.unwrap_or_default();
        let method_name = method.as_ref().map_or("", MethodText::as_str);
        let progress_token = if method_name == method::NOTIFICATIONS_PROGRESS { params.progress_token } else { params.meta.progress_token };
        let name = match method::name_field(method_name) {
            Some(NameField::Name) => params.name,
            Some(NameField::Uri) => params.uri,
            Some(NameField::TaskId) => params.task_id,
            Some(NameField::Reference) => params.reference_name.or(params.reference_uri),
            None => None,
        };
        let (listed, listed_dropped) = result.lists.finish();
        Envelope {
            kind,
            is_ambiguous: self.is_ambiguous,
            name,
            protocol_version: params.peer.protocol_version.or(params.meta.peer.protocol_version).or(result.peer.protocol_version),
            peer_name: params.peer.name.or(params.meta.peer.name).or(result.peer.name).or(result.meta_peer_name),
            progress_token: progress_token.map(RequestId::into_json),
            traceparent: params.meta.traceparent,
            has_trace_context: params.meta.has_trace_context,
            cancelled_id: if method_name == method::NOTIFICATIONS_CANCELLED { params.cancelled_id } else { None },
            method,
            id: match self.id {
                Id::Captured(id) => Some(id),
                Id::Absent | Id::Null | Id::TooLong | Id::Wrong => None,
            },
            error_code: error.code,
            error_message: error.message,
            is_error: result.is_error,
            result_type: result.result_type,
            argument_bytes: params.argument_bytes,
            result_bytes: result.bytes,
            content: result.content,
            listed,
            listed_dropped,
            bytes,
        }
    }

    fn kind(&self) -> MessageKind {
        if !self.jsonrpc {
            return MessageKind::Invalid;
        }
        let has_id = matches!(self.id, Id::Captured(_) | Id::TooLong);
        match (&self.method, &self.result, &self.error) {
            (Method::Text(_), None, None) if has_id => MessageKind::Request,
            (Method::Text(_), None, None) if matches!(self.id, Id::Absent) => MessageKind::Notification,
            (Method::Absent, Some(_), None) if has_id => MessageKind::Result,
            (Method::Absent, None, Some(error)) if error.is_object && !matches!(self.id, Id::Wrong) => MessageKind::Error,
            _ => MessageKind::Invalid,
        }
    }
}

fn decodes_to(raw: &[u8], text: &str) -> bool {
    raw == text.as_bytes() || (raw.contains(&b'\\') && decode(raw).is_some_and(|decoded| decoded == text))
}

fn method_text(raw: &[u8]) -> MethodText {
    if let Some(known) = str::from_utf8(raw).ok().and_then(method::known) {
        return MethodText::Known(known);
    }
    let text = decode_lossy(raw, MAX_METHOD_BYTES);
    match method::known(&text) {
        Some(known) => MethodText::Known(known),
        None => MethodText::Other(text.into()),
    }
}

fn item_type(raw: &[u8]) -> ItemType {
    match &*decode(raw).unwrap_or_default() {
        "text" => ItemType::Text,
        "image" => ItemType::Image,
        "audio" => ItemType::Audio,
        "resource" => ItemType::Resource,
        "resource_link" => ItemType::ResourceLink,
        _ => ItemType::Other,
    }
}

/// Whether a number is written without fraction and exponent.
fn is_integer(raw: &[u8]) -> bool {
    matches!(raw, [b'-' | b'0'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit))
}
