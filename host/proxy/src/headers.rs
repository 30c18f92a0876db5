//! Header rules of a reverse proxy: hop-by-hop fields go, everything else stays.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use watchgate_hooks::MirroredHeader;
use watchgate_mcp::header as mcp_header;

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

/// Removes what must not cross the proxy. The order of what stays is kept: `HeaderMap::remove` would move the last field into the gap, so a map
/// with something to remove is built anew.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    let drops_te = headers.get(header::TE).is_some_and(|te| te != "trailers");
    let goes = |name: &HeaderName| HOP_BY_HOP.contains(name) || named.contains(name) || (drops_te && name == header::TE);
    if !headers.keys().any(goes) {
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

/// Says the length of a body that is here in full, in the place where it was said before. Where it was not, hyper adds it.
pub(crate) fn rewrite_length(headers: &mut HeaderMap, length: usize) {
    if headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The request headers that mirror message content, decoded.
pub(crate) fn mirrored(headers: &HeaderMap) -> Vec<MirroredHeader> {
    let mut found = Vec::new();
    for (name, value) in headers {
        let name = name.as_str();
        if name == mcp_header::MCP_NAME || name.starts_with(mcp_header::MCP_PARAM_PREFIX) {
            // What does not decode is shown as it stands: it is content all the same.
            let value = match mcp_header::decode(value.as_bytes()) {
                Ok(decoded) => decoded.into_owned(),
                Err(_) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            found.push(MirroredHeader { name: name.into(), value: value.into() });
        }
    }
    found
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

/// Reads `Content-Type`.
pub(crate) fn content(headers: &HeaderMap) -> Content {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Content::Other };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        Content::Json
    } else if essence.eq_ignore_ascii_case(b"text/event-stream") {
        Content::EventStream
    } else {
        Content::Other
    }
}

/// Whether the body is compressed or otherwise encoded.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
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
        let mut found = mirrored(&headers);
        found.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(found[0], MirroredHeader { name: "mcp-name".into(), value: "é".into() });
        assert_eq!(found[1], MirroredHeader { name: "mcp-param-city".into(), value: "Oslo".into() });
        let mut written = HeaderMap::new();
        write_mirrored(&mut written, &found).unwrap();
        assert_eq!(written["mcp-name"], "=?base64?w6k=?=");
        assert_eq!(written["mcp-param-city"], "Oslo");
    }

    #[test]
    fn content_types_are_compared_without_parameters_and_case() {
        assert_eq!(content(&map(&[("content-type", "Application/JSON; charset=utf-8")])), Content::Json);
        assert_eq!(content(&map(&[("content-type", "text/event-stream;x")])), Content::EventStream);
        assert_eq!(content(&map(&[("content-type", "text/html")])), Content::Other);
        assert_eq!(content(&HeaderMap::new()), Content::Other);
    }
}
