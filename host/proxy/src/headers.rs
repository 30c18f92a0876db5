//! Header rules of a reverse proxy: hop-by-hop fields go, everything else stays.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use watchgate_hooks::MirroredHeader;
use watchgate_mcp::header as mcp_header;
use watchgate_mcp::method::SUBSCRIPTIONS_LISTEN;

/// Fields that belong to one connection (RFC 9110, 7.6.1), besides those that `Connection` names. `Trailer` stays, because trailers do.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes what must not cross the proxy. The order of what stays is kept.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    // Trailers cross the proxy, so whoever takes them is known at the other end. `Connection` has to name `TE` (RFC 9110, 10.1.4), and that means
    // the transfer codings.
    let takes_trailers = takes_trailers(headers);
    let goes = |name: &HeaderName| HOP_BY_HOP.contains(name) || if name == header::TE { !takes_trailers } else { named.contains(name) };
    if takes_trailers && headers.get(header::TE).is_some_and(|te| te != "trailers") {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    remove_where(headers, goes);
}

/// Removes a field and keeps the order of the others.
pub(crate) fn remove(headers: &mut HeaderMap, field: &HeaderName) {
    if headers.contains_key(field) {
        remove_where(headers, |name| name == field);
    }
}

/// Removes fields and keeps the order of the others: `HeaderMap::remove` would move the last field into the gap, so a map with something to remove
/// is built anew.
pub(crate) fn remove_where(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    if !headers.keys().any(&goes) {
        return;
    }
    let mut kept = HeaderMap::with_capacity(headers.len());
    let mut current = None;
    for (name, value) in headers.drain() {
        // Further values of a field come without its name.
        if name.is_some() {
            current = name.filter(|name| !goes(name));
        }
        if let Some(name) = &current {
            kept.append(name.clone(), value);
        }
    }
    *headers = kept;
}

/// Whether the sender takes trailers.
fn takes_trailers(headers: &HeaderMap) -> bool {
    let members = headers.get_all(header::TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii).any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// The fields that `Connection` names.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        // By far the most usual values name no field.
        .filter(|name| !name.eq_ignore_ascii_case("keep-alive") && !name.eq_ignore_ascii_case("close"))
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        // A client may not talk the proxy into dropping what routes or frames a message.
        .filter(|name| name != header::HOST && name != header::CONTENT_LENGTH)
        .collect()
}

/// The first revision with mirrored headers.
const FIRST_MODERN: &[u8] = b"2026-07-28";

/// A mirrored header says that it is encoded, and is not: servers that are less strict may read what no policy could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable;

/// The request headers that mirror message content, decoded.
pub(crate) fn mirrored(headers: &HeaderMap) -> Result<Vec<MirroredHeader>, Undecodable> {
    let mut found = Vec::new();
    for (name, value) in headers {
        if is_mirrored(name) {
            let name = name.as_str();
            let decoded = mcp_header::decode(value.as_bytes()).map_err(|_| Undecodable)?;
            if decoded.as_bytes() == value.as_bytes() && looks_encoded(value.as_bytes()) {
                return Err(Undecodable);
            }
            found.push(MirroredHeader { name: name.into(), value: decoded.into() });
        }
    }
    Ok(found)
}

/// Whether a header mirrors content of a message.
fn is_mirrored(name: &HeaderName) -> bool {
    name.as_str() == mcp_header::MCP_NAME || name.as_str().starts_with(mcp_header::MCP_PARAM_PREFIX)
}

/// Takes off what mirrors the message.
pub(crate) fn remove_mirrored(headers: &mut HeaderMap) {
    remove_where(headers, is_mirrored);
}

/// Whether the request is of the era in which servers check mirrored headers. Revisions are dates.
pub(crate) fn is_modern(headers: &HeaderMap) -> bool {
    let version = headers.get(mcp_header::MCP_PROTOCOL_VERSION).map(HeaderValue::as_bytes);
    version.is_some_and(|version| version.len() == FIRST_MODERN.len() && version.is_ascii() && version >= FIRST_MODERN)
}

/// Whether it carries the marker of an encoded value, in any case.
fn looks_encoded(value: &[u8]) -> bool {
    value.get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"=?base64?")) && value.ends_with(b"?=")
}

/// Writes back the mirrored headers a redaction changed.
pub(crate) fn write_mirrored(headers: &mut HeaderMap, changed: &[MirroredHeader]) -> Result<(), http::Error> {
    for mirrored in changed {
        let name = HeaderName::from_bytes(mirrored.name.as_bytes())?;
        let value = HeaderValue::from_str(&mcp_header::encode(&mirrored.value))?;
        headers.insert(name, value);
    }
    Ok(())
}

/// What an answer's body is, as far as the proxy reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    EventStream,
    /// Anything else, or encoded so that it cannot be read.
    Other,
}

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Whether it is this media type, in any case and whatever its parameters.
fn is_media_type(value: &[u8], wanted: &[u8]) -> bool {
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().eq_ignore_ascii_case(wanted)
}

/// Whether `Accept` names event streams.
pub(crate) fn accepts_events(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT).iter().flat_map(|accept| accept.as_bytes().split(|byte| *byte == b','));
    ranges.into_iter().any(|range| is_media_type(range, EVENT_STREAM))
}

/// Whether a request says of itself that it is a `subscriptions/listen`. Its body may say otherwise.
pub(crate) fn claims_to_listen(headers: &HeaderMap) -> bool {
    headers.get(mcp_header::MCP_METHOD).is_some_and(|method| method == SUBSCRIPTIONS_LISTEN)
}

/// Reads `Content-Type`.
pub(crate) fn content(headers: &HeaderMap) -> Content {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Content::Other };
    if is_media_type(value.as_bytes(), b"application/json") {
        Content::Json
    } else if is_media_type(value.as_bytes(), EVENT_STREAM) {
        Content::EventStream
    } else {
        Content::Other
    }
}

/// Whether a request's bytes are not its text: compressed, or in another charset than UTF-8. No policy can read such a body, but its receiver can.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_coded = codings.map(<[u8]>::trim_ascii).any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    is_coded || has_foreign_charset(headers)
}

/// Whether a body is in another charset than UTF-8.
pub(crate) fn has_foreign_charset(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_TYPE).iter().any(|value| names_foreign_charset(value.as_bytes()))
}

/// Whether bytes that may be JSON are in another encoding than UTF-8, whatever the head says: receivers that look at the bytes (Python's `json.loads` among
/// them) find UTF-16 and UTF-32 by themselves. RFC 8259, 8.1, allows neither.
pub(crate) fn is_foreign_text(headers: &HeaderMap, body: &[u8]) -> bool {
    let is_wide = body.starts_with(b"\xfe\xff") || body.starts_with(b"\xff\xfe") || body.iter().take(4).any(|byte| *byte == 0);
    let may_be_json = !headers.contains_key(header::CONTENT_TYPE) || content(headers) == Content::Json;
    is_wide || (may_be_json && str::from_utf8(body).is_err())
}

/// What UTF-8 is called in the wild (Encoding Standard, 4.2), and what it contains.
const OWN_CHARSETS: [&[u8]; 5] = [b"utf-8", b"utf8", b"unicode-1-1-utf-8", b"us-ascii", b"ascii"];

fn names_foreign_charset(content_type: &[u8]) -> bool {
    content_type.split(|byte| *byte == b';').skip(1).any(|parameter| {
        let mut halves = parameter.splitn(2, |byte| *byte == b'=');
        let name = halves.next().unwrap_or_default().trim_ascii();
        let value = halves.next().unwrap_or_default().trim_ascii();
        let value = value.strip_prefix(b"\"").unwrap_or(value);
        let value = value.strip_suffix(b"\"").unwrap_or(value);
        name.eq_ignore_ascii_case(b"charset") && !OWN_CHARSETS.iter().any(|own| value.eq_ignore_ascii_case(own))
    })
}

/// Whether the body comes in a coding besides `chunked`, which only the connection's two ends could agree on.
pub(crate) fn has_foreign_transfer_coding(headers: &HeaderMap) -> bool {
    headers.get_all(header::TRANSFER_ENCODING).iter().any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// How long the server says that it keeps an unused connection (`Keep-Alive: timeout=5`).
pub(crate) fn keep_alive_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| part.trim().strip_prefix("timeout=")?.parse().ok())?;
    Some(Duration::from_secs(seconds))
}

/// Makes one field of the cookies that HTTP/2 clients may send in several (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Makes `Content-Length` of an answer say what the body is: `length` where that is known, nothing where it is not. A server that sends
/// `Transfer-Encoding` with it, or several of them, would otherwise put the client out of step.
pub(crate) fn settle_length(headers: &mut HeaderMap, length: Option<u64>) {
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return;
    }
    match length {
        Some(length) => drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
        None => remove(headers, &header::CONTENT_LENGTH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn check_removed(fields: &[(&'static str, &'static str)], expected: &[&str]) {
        let mut headers = map(fields);
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn hop_by_hop_fields_go_and_named_ones_too() {
        check_removed(&[("connection", "x-a, keep-alive"), ("x-a", "1"), ("keep-alive", "5"), ("x-b", "2")], &["x-b"]);
        check_removed(&[("te", "gzip"), ("trailer", "x"), ("transfer-encoding", "chunked")], &["trailer"]);
        check_removed(&[("te", "trailers"), ("upgrade", "h2c")], &["te"]);
        check_removed(&[("te", "gzip, Trailers"), ("connection", "te")], &["te"]);
        check_removed(&[("te", "gzip"), ("connection", "te")], &[]);
    }

    #[test]
    fn connection_cannot_remove_framing_or_host() {
        check_removed(&[("connection", "host, content-length, \""), ("host", "h"), ("content-length", "1")], &["content-length", "host"]);
    }

    #[test]
    fn the_order_of_what_stays_is_kept() {
        let mut headers =
            map(&[("a", "1"), ("transfer-encoding", "chunked"), ("b", "2"), ("b", "3"), ("connection", "c"), ("c", "4"), ("d", "5")]);
        remove_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("a", "1"), ("b", "2"), ("b", "3"), ("d", "5")]);
    }

    #[test]
    fn mirrored_headers_decode_and_encode() {
        let headers = map(&[("mcp-name", "=?base64?w6k=?="), ("mcp-param-city", "Oslo"), ("x-other", "1")]);
        let mut found = mirrored(&headers).unwrap();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(found[0], MirroredHeader { name: "mcp-name".into(), value: "é".into() });
        assert_eq!(found[1], MirroredHeader { name: "mcp-param-city".into(), value: "Oslo".into() });
        let mut written = HeaderMap::new();
        write_mirrored(&mut written, &found).unwrap();
        assert_eq!(written["mcp-name"], "=?base64?w6k=?=");
        assert_eq!(written["mcp-param-city"], "Oslo");
    }

    #[test]
    fn a_mirrored_header_that_only_looks_encoded_is_refused() {
        for value in ["=?base64?QUtJQQ?=", "=?BASE64?QUtJQQ==?=", "=?base64?!?="] {
            assert_eq!(mirrored(&map(&[("mcp-param-x", value)])), Err(Undecodable), "{value}");
        }
    }

    fn check_encoded(fields: &[(&'static str, &'static str)], expected: bool) {
        assert_eq!(is_encoded(&map(fields)), expected, "{fields:?}");
    }

    #[test]
    fn what_no_policy_can_read_is_encoded() {
        check_encoded(&[("content-encoding", "identity"), ("content-encoding", "gzip")], true);
        check_encoded(&[("content-encoding", "identity, br")], true);
        check_encoded(&[("content-encoding", "Identity")], false);
        check_encoded(&[("content-type", "application/json; charset=utf-16le")], true);
        check_encoded(&[("content-type", "text/event-stream; x=y; Charset=\"UTF-7\"")], true);
        check_encoded(&[("content-type", "application/json; charset=\"UTF-8\"")], false);
        check_encoded(&[("content-type", "application/json;charset=Utf8")], false);
        check_encoded(&[], false);
    }

    #[test]
    fn text_that_is_no_utf_8_is_told_by_its_bytes() {
        let json = [("content-type", "application/json")];
        let check = |fields: &[(&'static str, &'static str)], body: &[u8], expected: bool| {
            assert_eq!(is_foreign_text(&map(fields), body), expected, "{fields:?} {body:?}");
        };
        check(&json, "{\"a\":\"é\"}".as_bytes(), false);
        check(&json, b"\xef\xbb\xbf{}", false);
        let wide: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(&json, &wide, true);
        check(&[], &wide, true);
        check(&[("content-type", "text/plain")], &wide, true);
        check(&json, &[b"\xff\xfe".as_slice(), &wide].concat(), true);
        check(&json, b"\0\0\0{", true);
        check(&json, b"{\"a\":\"\xe9\"}", true);
        // What is no JSON by its type may be anything.
        check(&[("content-type", "application/octet-stream")], b"PK\x03\xe9\xff", false);
        check(&json, b"", false);
    }

    #[test]
    fn a_servers_patience_is_read() {
        assert_eq!(keep_alive_timeout(&map(&[("keep-alive", "max=3, timeout=5")])), Some(Duration::from_secs(5)));
        assert_eq!(keep_alive_timeout(&map(&[("keep-alive", "x")])), None);
    }

    #[test]
    fn content_types_are_compared_without_parameters_and_case() {
        assert_eq!(content(&map(&[("content-type", "Application/JSON; charset=utf-8")])), Content::Json);
        assert_eq!(content(&map(&[("content-type", "text/event-stream;x")])), Content::EventStream);
        assert_eq!(content(&map(&[("content-type", "text/html")])), Content::Other);
        assert_eq!(content(&HeaderMap::new()), Content::Other);
    }
}
