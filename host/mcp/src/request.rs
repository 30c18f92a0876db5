//! The small requests of a client that probes a server or calls it for a plugin, and reading the answer.

use crate::json::{Member, decode, escape_into, object_members};
use crate::method;
use crate::request_id::RequestId;
use std::ops::Range;

/// The newest revision with an `initialize` handshake.
pub const LEGACY_VERSION: &str = "2025-11-25";
/// The revision whose requests describe themselves.
pub const MODERN_VERSION: &str = "2026-07-28";

const CLIENT_INFO: &str = concat!(r#"{"name":"watchgate","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// The members that 2026-07-28 requires in `_meta`, and the client's name.
const MODERN_META: [(&str, &str); 3] = [
    ("io.modelcontextprotocol/protocolVersion", r#""2026-07-28""#),
    ("io.modelcontextprotocol/clientCapabilities", "{}"),
    ("io.modelcontextprotocol/clientInfo", CLIENT_INFO),
];

/// The parameters of a call cannot be used. The caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParams {
    /// They are not a JSON object.
    #[error("the parameters are not a JSON object")]
    NotAnObject,
    /// Their `_meta` is not a JSON object.
    #[error("the parameters' _meta is not a JSON object")]
    MetaNotAnObject,
}

/// An `initialize` request of the newest legacy revision, without capabilities.
pub fn initialize(id: impl Into<RequestId>) -> Vec<u8> {
    let params = format!(r#"{{"protocolVersion":"{LEGACY_VERSION}","capabilities":{{}},"clientInfo":{CLIENT_INFO}}}"#);
    request(&id.into(), method::INITIALIZE, Some(&params))
}

/// The notification that follows a legacy `initialize`.
pub fn initialized() -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, method::NOTIFICATIONS_INITIALIZED).into_bytes()
}

/// A modern `server/discover` request.
pub fn server_discover(id: impl Into<RequestId>) -> Vec<u8> {
    call(id, method::SERVER_DISCOVER, None, true).expect("no parameters are an object of the gateway's own")
}

/// A request for any method. `params_json` is a JSON object; with `modern` it gains the members of `_meta` that 2026-07-28 requires,
/// except those it already has.
///
/// # Errors
/// When `params_json`, or its `_meta` that must be extended, is not a JSON object.
pub fn call(id: impl Into<RequestId>, method: &str, params_json: Option<&str>, modern: bool) -> Result<Vec<u8>, InvalidParams> {
    let params = match params_json {
        Some(params) if modern => Some(with_modern_meta(params)?),
        None if modern => Some(with_modern_meta("{}")?),
        Some(params) => {
            object_members(params.as_bytes()).ok_or(InvalidParams::NotAnObject)?;
            Some(params.to_owned())
        }
        None => None,
    };
    Ok(request(&id.into(), method, params.as_deref()))
}

fn request(id: &RequestId, method: &str, params: Option<&str>) -> Vec<u8> {
    let mut out = br#"{"jsonrpc":"2.0","id":"#.to_vec();
    out.extend_from_slice(id.as_json().as_bytes());
    out.extend_from_slice(br#","method":""#);
    escape_into(&mut out, method);
    out.push(b'"');
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        out.extend_from_slice(params.as_bytes());
    }
    out.push(b'}');
    out
}

fn with_modern_meta(params: &str) -> Result<String, InvalidParams> {
    let members = object_members(params.as_bytes()).ok_or(InvalidParams::NotAnObject)?;
    let (metas, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|member| key_is(params, &member.key, "_meta"));
    let meta = metas.last().map_or("{}", |member| &params[member.value.clone()]);
    let given = object_members(meta.as_bytes()).ok_or(InvalidParams::MetaNotAnObject)?;
    let missing = MODERN_META.into_iter().filter(|(key, _)| !given.iter().any(|member| key_is(meta, &member.key, key)));

    let mut meta_members: Vec<String> = given.iter().map(|member| written(meta, member)).collect();
    meta_members.extend(missing.map(|(key, value)| format!(r#""{key}":{value}"#)));
    let mut all: Vec<String> = others.iter().map(|member| written(params, member)).collect();
    all.push(format!(r#""_meta":{{{}}}"#, meta_members.join(",")));
    Ok(format!("{{{}}}", all.join(",")))
}

fn written(json: &str, member: &Member) -> String {
    format!(r#""{}":{}"#, &json[member.key.clone()], &json[member.value.clone()])
}

fn key_is(json: &str, key: &Range<usize>, wanted: &str) -> bool {
    decode(&json.as_bytes()[key.clone()]).is_some_and(|key| key == wanted)
}

/// What a server answered: the range of the value in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value of `result`.
    Result(Range<usize>),
    /// The value of `error`.
    Error(Range<usize>),
}

/// The answer to request `id` that `body` is; `None` when it is anything else.
pub fn answer(body: &[u8], id: &RequestId) -> Option<Answer> {
    let (mut found_id, mut result, mut error) = (None, None, None);
    for member in object_members(body)? {
        match &*decode(&body[member.key])? {
            "id" => found_id = RequestId::from_json(&body[member.value]),
            "result" => result = Some(member.value),
            "error" => error = Some(member.value),
            "method" => return None,
            _ => {}
        }
    }
    match (result, error) {
        _ if found_id.as_ref() != Some(id) => None,
        (Some(result), None) => Some(Answer::Result(result)),
        (None, Some(error)) => Some(Answer::Error(error)),
        _ => None,
    }
}
