//! The address of the client behind trusted proxies, and what a server is told of it: `X-Forwarded-*`, `Forwarded`, `Host`.

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::ClientAddresses;
use crate::headers::remove_where;
use crate::server_config::{Forwarded, HostHeader};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What a client could say about itself. Servers read one or another of these, so where one is told by the gateway none of a client's may pass.
const CLAIMS: [HeaderName; 7] = [
    header::FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_PREFIX,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

/// How a request arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The host that the client asked for.
    pub(crate) host: Option<&'a HeaderValue>,
    /// The mount that was taken off the path, such as `/weather`.
    pub(crate) prefix: Option<&'a str>,
}

/// The client's address. With trusted proxies in front it is the entry that the outermost of them appended to `X-Forwarded-For`, or to
/// `Forwarded` when the former is missing; where that is missing or is no address, it is the connection's.
pub(crate) fn client_ip(clients: &ClientAddresses, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let peer = peer.to_canonical();
    let Some(skipped) = clients.trusted_hops.checked_sub(1).map(usize::from) else { return peer };
    let claimed = if headers.contains_key(X_FORWARDED_FOR) {
        from_right(headers, &X_FORWARDED_FOR, skipped).and_then(parse_node)
    } else {
        from_right(headers, &header::FORWARDED, skipped).and_then(forwarded_for).and_then(parse_node)
    };
    claimed.map_or(peer, |address| address.to_canonical())
}

/// The element of a list that stands `skipped` places before its end. Read from the end and without regard for quotes, so that nothing a client
/// wrote at the beginning, such as a quote that it never closes, changes how the elements of the trusted proxies are read.
fn from_right<'a>(headers: &'a HeaderMap, name: &HeaderName, skipped: usize) -> Option<&'a str> {
    headers
        .get_all(name)
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .nth(skipped)
        .and_then(|element| std::str::from_utf8(element).ok())
}

/// The value of `for` in an element of `Forwarded`, unquoted.
fn forwarded_for(element: &str) -> Option<&str> {
    let value =
        element.split(';').filter_map(|pair| pair.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?.1.trim();
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`.
fn parse_node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(bare) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    text.parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// Tells the server how the request arrived. Fields that were there keep their place, new ones come last.
pub(crate) fn write_forwarded(headers: &mut HeaderMap, forwarded: Forwarded, clients: &ClientAddresses, context: Context<'_>) {
    let (writes_x, writes_standard) = match forwarded {
        Forwarded::Off => return,
        Forwarded::XForwarded => (true, false),
        Forwarded::Forwarded => (false, true),
        Forwarded::Both => (true, true),
    };
    let trusts = clients.trusted_hops > 0;
    let peer = context.peer.to_canonical();
    let replaced = |name: &HeaderName| {
        let by_x = *name == X_FORWARDED_FOR
            || *name == X_FORWARDED_PROTO
            || (*name == X_FORWARDED_HOST && context.host.is_some())
            || (*name == X_FORWARDED_PREFIX && context.prefix.is_some());
        (writes_x && by_x) || (writes_standard && *name == header::FORWARDED)
    };
    if !trusts {
        remove_where(headers, |name| CLAIMS.contains(name) && !replaced(name));
    }
    if writes_x {
        let address = peer.to_string();
        put(headers, X_FORWARDED_FOR, if trusts { append(headers, &X_FORWARDED_FOR, &address) } else { legal(&address) });
        // What the outermost trusted proxy saw is what the client used; ours is only the last leg.
        if !trusts || !headers.contains_key(X_FORWARDED_PROTO) {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(context.scheme));
        }
        if !trusts || !headers.contains_key(X_FORWARDED_HOST) {
            put(headers, X_FORWARDED_HOST, context.host.cloned());
        }
        if let Some(prefix) = context.prefix {
            let value = if trusts { below(headers.get(X_FORWARDED_PREFIX), prefix) } else { legal(prefix) };
            put(headers, X_FORWARDED_PREFIX, value);
        }
    }
    if writes_standard {
        let element = element(peer, &context);
        let value = if trusts { append(headers, &header::FORWARDED, &element) } else { legal(&element) };
        put(headers, header::FORWARDED, value);
    }
}

/// An element of `Forwarded` (RFC 7239, 4).
fn element(peer: IpAddr, context: &Context<'_>) -> String {
    let mut element = match peer {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    let is_plain = |host: &&str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    // A host that is none could end the quotes early; it is left out.
    if let Some(host) = context.host.and_then(|host| host.to_str().ok()).filter(is_plain) {
        let quote = if host.contains([':', '[']) { "\"" } else { "" };
        write!(element, ";host={quote}{host}{quote}").expect("writing to a string does not fail");
    }
    element.push_str(";proto=");
    element.push_str(context.scheme);
    element
}

/// All values of a list field as one line, with `last` at its end.
fn append(headers: &HeaderMap, name: &HeaderName, last: &str) -> Option<HeaderValue> {
    let mut line = Vec::new();
    for value in headers.get_all(name) {
        line.extend_from_slice(value.as_bytes());
        line.extend_from_slice(b", ");
    }
    line.extend_from_slice(last.as_bytes());
    HeaderValue::from_bytes(&line).ok()
}

/// The prefix that a proxy in front took off, then our own.
fn below(outer: Option<&HeaderValue>, prefix: &str) -> Option<HeaderValue> {
    let outer = outer.and_then(|outer| outer.to_str().ok()).unwrap_or_default().trim_end_matches('/');
    legal(&format!("{outer}{prefix}"))
}

fn legal(value: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(value).ok()
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

/// The `Host` for a server. A fixed one that is no legal value, and a client's that is missing, give way to the endpoint's.
pub(crate) fn host_for(
    setting: &HostHeader,
    client_host: Option<&HeaderValue>,
    endpoint_authority: &HeaderValue,
    endpoint_is_tls: bool,
) -> HeaderValue {
    let host = match setting {
        HostHeader::Auto if endpoint_is_tls => None,
        HostHeader::Auto | HostHeader::Preserve => client_host.cloned(),
        HostHeader::Upstream => None,
        HostHeader::Fixed(host) => legal(host),
    };
    host.unwrap_or_else(|| endpoint_authority.clone())
}
