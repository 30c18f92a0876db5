//! The address of the client behind trusted proxies, and what a server is told of it: `X-Forwarded-*`, `Forwarded`, `Host`.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::{ClientAddresses, Forwarded, HostHeader};

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
        remove(headers, |name| CLAIMS.contains(name) && !replaced(name));
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

/// Removes fields and keeps the order of the others, which `HeaderMap::remove` does not.
fn remove(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    /// The connection comes from 10.0.0.1.
    fn check_ip(trusted_hops: u8, fields: &[(&str, &str)], expected: &str) {
        let found = client_ip(&ClientAddresses { trusted_hops }, "10.0.0.1".parse().unwrap(), &headers(fields));
        assert_eq!(found.to_string(), expected, "{trusted_hops} {fields:?}");
    }

    #[test]
    fn without_trusted_hops_only_the_connection_counts() {
        check_ip(0, &[], "10.0.0.1");
        check_ip(0, &[("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")], "10.0.0.1");
        let mapped = client_ip(&ClientAddresses::default(), "::ffff:10.0.0.1".parse().unwrap(), &HeaderMap::new());
        assert_eq!(mapped.to_string(), "10.0.0.1");
    }

    #[test]
    fn the_entry_of_the_outermost_trusted_proxy_counts() {
        let x = "x-forwarded-for";
        check_ip(1, &[(x, "1.2.3.4")], "1.2.3.4");
        check_ip(1, &[(x, "6.6.6.6, 1.2.3.4")], "1.2.3.4");
        check_ip(2, &[(x, "6.6.6.6, 1.2.3.4, 10.0.0.2")], "1.2.3.4");
        check_ip(2, &[(x, "6.6.6.6"), (x, "1.2.3.4"), (x, "10.0.0.2")], "1.2.3.4");
        check_ip(2, &[(x, "6.6.6.6, 1.2.3.4"), (x, ",10.0.0.2 ,")], "1.2.3.4");
        check_ip(1, &[(x, "1.2.3.4:5678")], "1.2.3.4");
        check_ip(1, &[(x, "2001:db8::1")], "2001:db8::1");
        check_ip(1, &[(x, "[2001:db8::1]")], "2001:db8::1");
        check_ip(1, &[(x, "[2001:db8::1]:443")], "2001:db8::1");
        check_ip(1, &[(x, "::ffff:1.2.3.4")], "1.2.3.4");
        // Proxies append to one of the two; the other is the client's.
        check_ip(1, &[(x, "1.2.3.4"), ("forwarded", "for=6.6.6.6")], "1.2.3.4");
    }

    #[test]
    fn forwarded_is_read_where_the_other_is_missing() {
        let f = "forwarded";
        check_ip(1, &[(f, "for=1.2.3.4;proto=https")], "1.2.3.4");
        check_ip(1, &[(f, "for=6.6.6.6, proto=https; For = \"1.2.3.4:80\"")], "1.2.3.4");
        check_ip(1, &[(f, "by=x;for=\"[2001:db8::1]:4711\"")], "2001:db8::1");
        check_ip(2, &[(f, "for=6.6.6.6"), (f, "for=1.2.3.4, for=10.0.0.2")], "1.2.3.4");
        // A quote that the client opened and never closed.
        check_ip(1, &[(f, "for=\"6.6.6.6, for=1.2.3.4")], "1.2.3.4");
        check_ip(1, &[(f, "for=6.6.6.6;x=\"\\"), (f, "for=1.2.3.4")], "1.2.3.4");
    }

    #[test]
    fn what_is_no_address_falls_back_to_the_connection() {
        for text in [
            "unknown",
            "_hidden",
            "",
            ",",
            "1.2.3",
            "1.2.3.4:",
            "1.2.3.4:99999",
            "[1.2.3.4]",
            "[::1",
            "fe80::1%eth0",
            "1.2.3.4 5.6.7.8",
            "\u{ff}",
            "localhost",
        ] {
            check_ip(1, &[("x-forwarded-for", text)], "10.0.0.1");
            check_ip(1, &[("forwarded", &format!("for={text}"))], "10.0.0.1");
        }
        check_ip(1, &[("forwarded", "proto=https")], "10.0.0.1");
        check_ip(1, &[("forwarded", "for=\"1.2.3.4")], "10.0.0.1");
        check_ip(1, &[], "10.0.0.1");
        check_ip(3, &[("x-forwarded-for", "6.6.6.6, 1.2.3.4")], "10.0.0.1");
        check_ip(255, &[("x-forwarded-for", &"6.6.6.6,".repeat(200))], "10.0.0.1");
    }

    fn check_written(forwarded: Forwarded, trusted_hops: u8, prefix: Option<&str>, before: &[(&str, &str)], after: &[(&str, &str)]) {
        let mut written = headers(before);
        let host = HeaderValue::from_static("mcp.test:8080");
        let context = Context { peer: "::ffff:1.2.3.4".parse().unwrap(), scheme: "https", host: Some(&host), prefix };
        write_forwarded(&mut written, forwarded, &ClientAddresses { trusted_hops }, context);
        let written: Vec<_> = written
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let expected: Vec<_> = after.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(written, expected, "{forwarded:?} {trusted_hops} {before:?}");
    }

    const CLAIMED: &[(&str, &str)] = &[
        ("accept", "a"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("b", "1"),
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-prefix", "/evil"),
        ("b", "2"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil.test"),
        ("z", "z"),
    ];

    #[test]
    fn off_touches_nothing() {
        for hops in [0, 1] {
            let mut written = headers(CLAIMED);
            let context = Context { peer: "1.2.3.4".parse().unwrap(), scheme: "http", host: None, prefix: Some("/x") };
            write_forwarded(&mut written, Forwarded::Off, &ClientAddresses { trusted_hops: hops }, context);
            assert_eq!(written, headers(CLAIMED));
        }
    }

    #[test]
    fn a_clients_claims_are_replaced() {
        check_written(
            Forwarded::XForwarded,
            0,
            None,
            CLAIMED,
            &[
                ("accept", "a"),
                ("x-forwarded-for", "1.2.3.4"),
                ("b", "1"),
                ("b", "2"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "mcp.test:8080"),
                ("z", "z"),
            ],
        );
        check_written(
            Forwarded::Forwarded,
            0,
            Some("/weather"),
            CLAIMED,
            &[("accept", "a"), ("b", "1"), ("b", "2"), ("forwarded", "for=1.2.3.4;host=\"mcp.test:8080\";proto=https"), ("z", "z")],
        );
        check_written(
            Forwarded::Both,
            0,
            Some("/weather"),
            &[("a", "a"), ("z", "z")],
            &[
                ("a", "a"),
                ("z", "z"),
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "mcp.test:8080"),
                ("x-forwarded-prefix", "/weather"),
                ("forwarded", "for=1.2.3.4;host=\"mcp.test:8080\";proto=https"),
            ],
        );
    }

    #[test]
    fn what_trusted_proxies_said_is_continued() {
        check_written(
            Forwarded::Both,
            1,
            Some("/weather"),
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("x-forwarded-for", "7.7.7.7, 8.8.8.8"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "public.test"),
                ("x-forwarded-prefix", "/outer/"),
                ("forwarded", "for=8.8.8.8"),
                ("x-real-ip", "8.8.8.8"),
            ],
            &[
                ("x-forwarded-for", "6.6.6.6, 7.7.7.7, 8.8.8.8, 1.2.3.4"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "public.test"),
                ("x-forwarded-prefix", "/outer/weather"),
                ("forwarded", "for=8.8.8.8, for=1.2.3.4;host=\"mcp.test:8080\";proto=https"),
                ("x-real-ip", "8.8.8.8"),
            ],
        );
        check_written(
            Forwarded::XForwarded,
            1,
            None,
            &[],
            &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "mcp.test:8080")],
        );
    }

    #[test]
    fn an_element_cannot_be_broken_out_of() {
        let check = |peer: &str, host: Option<&str>, expected: &str| {
            let host = host.map(|host| HeaderValue::from_bytes(host.as_bytes()).unwrap());
            let peer = peer.parse().unwrap();
            assert_eq!(element(peer, &Context { peer, scheme: "http", host: host.as_ref(), prefix: None }), expected);
        };
        check("2001:db8::1", Some("a.test"), "for=\"[2001:db8::1]\";host=a.test;proto=http");
        check("1.2.3.4", Some("[::1]:80"), "for=1.2.3.4;host=\"[::1]:80\";proto=http");
        check("1.2.3.4", Some("a\";for=6.6.6.6"), "for=1.2.3.4;proto=http");
        check("1.2.3.4", Some("a, for=6.6.6.6"), "for=1.2.3.4;proto=http");
        check("1.2.3.4", Some("\u{fc}"), "for=1.2.3.4;proto=http");
        check("1.2.3.4", Some(""), "for=1.2.3.4;proto=http");
        check("1.2.3.4", None, "for=1.2.3.4;proto=http");
    }

    #[test]
    fn the_host_follows_the_setting() {
        let check = |setting: HostHeader, client: Option<&'static str>, is_tls: bool, expected: &str| {
            let client = client.map(HeaderValue::from_static);
            let host = host_for(&setting, client.as_ref(), &HeaderValue::from_static("endpoint:1"), is_tls);
            assert_eq!(host, expected, "{setting:?} {is_tls}");
        };
        check(HostHeader::Auto, Some("client"), false, "client");
        check(HostHeader::Auto, Some("client"), true, "endpoint:1");
        check(HostHeader::Auto, None, false, "endpoint:1");
        check(HostHeader::Preserve, Some("client"), true, "client");
        check(HostHeader::Preserve, None, true, "endpoint:1");
        check(HostHeader::Upstream, Some("client"), false, "endpoint:1");
        check(HostHeader::Fixed("fixed.test".to_owned()), Some("client"), true, "fixed.test");
        check(HostHeader::Fixed("fi\nxed".to_owned()), Some("client"), true, "endpoint:1");
    }
}
