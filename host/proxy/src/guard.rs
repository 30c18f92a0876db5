//! Who may ask at all: allow-lists of `Host` and `Origin`, the defence against DNS rebinding.

use std::net::Ipv6Addr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Scheme, Uri};

use crate::config::GuardConfig;

/// The allow-lists, ready to compare with.
pub(crate) struct Guard {
    hosts: Option<Box<[HostPattern]>>,
    origins: Option<Box<[OriginPattern]>>,
}

/// What a request is refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Its host is not on the list, is missing, or is given twice and differently.
    Host,
    /// Its origin is not on the list.
    Origin,
}

impl Guard {
    /// An entry that is not a host or an origin matches nothing.
    pub(crate) fn new(config: &GuardConfig) -> Self {
        Self {
            hosts: config.hosts.as_ref().map(|hosts| hosts.iter().map(|host| HostPattern::new(host)).collect()),
            origins: config.origins.as_ref().map(|origins| origins.iter().filter_map(|origin| OriginPattern::new(origin)).collect()),
        }
    }

    /// Whether the request may go on. Allocates nothing.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), Stranger> {
        if let Some(hosts) = &self.hosts
            && !is_host_allowed(hosts, &request.uri, &request.headers)
        {
            return Err(Stranger::Host);
        }
        if let Some(origins) = &self.origins
            && !is_origin_allowed(origins, &request.headers)
            && !is_own_origin(&request.uri, &request.headers)
        {
            return Err(Stranger::Origin);
        }
        Ok(())
    }
}

fn is_host_allowed(allowed: &[HostPattern], uri: &Uri, headers: &HeaderMap) -> bool {
    let Ok(header) = only(headers, &header::HOST) else { return false };
    let named = header.map(|value| value.to_str().ok().and_then(Authority::parse));
    // Absolute form (RFC 9112, 3.2.2) and `:authority` go before `Host`; a request that names two hosts means harm.
    let authority = match (uri.authority(), named) {
        (_, Some(None)) | (None, None) => None,
        (None, Some(named)) => named,
        (Some(target), named) => Authority::parse(target.as_str()).filter(|target| {
            let default_port = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
            named.flatten().is_none_or(|named| named.is_same(target, default_port))
        }),
    };
    authority.is_some_and(|authority| allowed.iter().any(|pattern| pattern.matches(authority.host)))
}

fn is_origin_allowed(allowed: &[OriginPattern], headers: &HeaderMap) -> bool {
    match only(headers, &header::ORIGIN) {
        Ok(None) => true,
        Ok(Some(origin)) => {
            let origin = origin.to_str().unwrap_or_default();
            let parsed = Origin::parse(origin);
            allowed.iter().any(|pattern| match pattern {
                OriginPattern::Any => true,
                OriginPattern::Null => origin == "null",
                OriginPattern::Of { scheme, host, port } => {
                    parsed.as_ref().is_some_and(|origin| origin.is_of(scheme) && host.matches(origin.authority.host) && origin.is_at(*port))
                }
            })
        }
        Err(Several) => allowed.iter().any(|pattern| matches!(pattern, OriginPattern::Any)),
    }
}

/// Whether the page that asks came from the very host it asks. Whether that host is one of ours is the question of the other list.
fn is_own_origin(uri: &Uri, headers: &HeaderMap) -> bool {
    let text = |name| only(headers, name).ok().flatten().and_then(|value| value.to_str().ok());
    let Some(origin) = text(&header::ORIGIN).and_then(Origin::parse) else { return false };
    let asked = uri.authority().map(http::uri::Authority::as_str).or_else(|| text(&header::HOST)).and_then(Authority::parse);
    let is_https = origin.is_of("https");
    let default_port = if is_https { 443 } else { 80 };
    (is_https || origin.is_of("http")) && asked.is_some_and(|asked| asked.is_same(&origin.authority, default_port))
}

/// A field that may stand once stands more than once.
struct Several;

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Several),
        (value, None) => Ok(value),
    }
}

/// One entry of the list of hosts.
enum HostPattern {
    Any,
    Name(Box<str>),
    /// With its leading dot.
    Below(Box<str>),
    Address(Ipv6Addr),
}

impl HostPattern {
    fn new(entry: &str) -> Self {
        let entry = entry.trim().to_ascii_lowercase();
        let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(&entry);
        if entry == "*" {
            Self::Any
        } else if let Some(parent) = entry.strip_prefix('*').filter(|parent| parent.starts_with('.') && parent.len() > 1) {
            Self::Below(parent.into())
        } else if let Ok(address) = bare.parse() {
            Self::Address(address)
        } else {
            Self::Name(entry.into())
        }
    }

    /// `host` as [`Authority`] has it: legal, without port.
    fn matches(&self, host: &str) -> bool {
        // `localhost.` is the same name with its root written.
        let name = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Any => true,
            Self::Name(allowed) => name.eq_ignore_ascii_case(allowed),
            Self::Below(parent) => name
                .len()
                .checked_sub(parent.len())
                .filter(|label| *label > 0)
                .is_some_and(|label| name.as_bytes()[label..].eq_ignore_ascii_case(parent.as_bytes())),
            Self::Address(allowed) => host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .and_then(|host| host.parse::<Ipv6Addr>().ok())
                .is_some_and(|address| address == *allowed),
        }
    }
}

/// One entry of the list of origins.
enum OriginPattern {
    Any,
    Null,
    /// Without a port: at every port.
    Of {
        scheme: Box<str>,
        host: HostPattern,
        port: Option<u16>,
    },
}

impl OriginPattern {
    fn new(entry: &str) -> Option<Self> {
        let entry = entry.trim();
        match entry {
            "*" => return Some(Self::Any),
            "null" => return Some(Self::Null),
            _ => {}
        }
        let (scheme, rest) = entry.split_once("://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The port is split off here, since a wildcard is no legal authority.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (rest, None),
        };
        Some(Self::Of { scheme: scheme.into(), host: HostPattern::new(host), port })
    }
}

/// A legal `host` or `host:port`.
#[derive(Clone, Copy)]
struct Authority<'a> {
    /// An IPv6 address with its brackets.
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let host_length = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (host, rest) = text.split_at(host_length);
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            // RFC 3986 allows the colon alone.
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        let is_legal = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
            // Without this `evil.test/.example.com` would end in a listed domain.
            None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')),
        };
        is_legal.then_some(Self { host, port })
    }

    fn is_same(&self, other: &Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// The origin of a page (RFC 6454).
struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        Some(Self { scheme, authority: Authority::parse(authority)? })
    }

    fn is_of(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    fn is_at(&self, port: Option<u16>) -> bool {
        let Some(port) = port else { return true };
        self.authority.port.map_or((self.is_of("https") && port == 443) || (self.is_of("http") && port == 80), |own| own == port)
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};

    use super::*;

    const IN: Result<(), Stranger> = Ok(());
    const HOST: Result<(), Stranger> = Err(Stranger::Host);
    const ORIGIN: Result<(), Stranger> = Err(Stranger::Origin);

    /// `target` as in the request line; fields as `name: value`.
    fn check(guard: &GuardConfig, target: &str, fields: &[&str], expected: Result<(), Stranger>) {
        let mut request = Request::builder().uri(target).version(Version::HTTP_11);
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(Guard::new(guard).check(&parts), expected, "{target} {fields:?}");
    }

    fn config(hosts: &[&str], origins: &[&str]) -> GuardConfig {
        let owned = |entries: &[&str]| (!entries.is_empty()).then(|| entries.iter().map(|&entry| entry.to_owned()).collect());
        GuardConfig { hosts: owned(hosts), origins: owned(origins) }
    }

    #[test]
    fn an_open_guard_lets_everything_in() {
        for fields in [&[][..], &["host: a", "host: b"], &["origin: null"], &["host: \u{fc}"], &["origin: x", "origin: y"]] {
            check(&GuardConfig::OPEN, "/mcp", fields, IN);
        }
    }

    #[test]
    fn on_loopback_only_names_and_pages_of_this_machine() {
        let guard = GuardConfig::loopback();
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "localhost.",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "[0:0:0:0:0:0:0:1]:9",
            "localhost:",
        ] {
            check(&guard, "/mcp", &[&format!("host: {host}")], IN);
        }
        for host in [
            "evil.test",
            "localhost.evil.test",
            "xlocalhost",
            "localhost@evil.test",
            "evil.test@localhost",
            "evil.test:80@localhost",
            "localhost, evil.test",
            "127.0.0.1.evil.test",
            "127.0.0.2",
            "::1",
            "[::1",
            "[::1]x",
            "[::2]",
            "[::1%25lo]",
            "localhost:80:80",
            "localhost:x",
            "localhost:99999",
            "localhost:+80",
            ":80",
            "",
            "localhost/",
            "local\u{131}host",
            "*",
        ] {
            check(&guard, "/mcp", &[&format!("host: {host}")], HOST);
        }
        for origin in ["http://localhost", "https://localhost:3000", "http://127.0.0.1:6274", "http://[::1]:6274", "HTTP://LocalHost"] {
            check(&guard, "/mcp", &["host: localhost", &format!("origin: {origin}")], IN);
        }
        for origin in [
            "null",
            "http://evil.test",
            "http://localhost.evil.test",
            "http://localhost@evil.test",
            "http://evil.test http://localhost",
            "http://localhost http://evil.test",
            "http://localhost/path",
            "ftp://localhost",
            "localhost",
            "http://",
            "",
            "\u{ff}",
        ] {
            check(&guard, "/mcp", &["host: localhost", &format!("origin: {origin}")], ORIGIN);
        }
        check(&guard, "/mcp", &["host: localhost", "origin: http://localhost", "origin: http://localhost"], ORIGIN);
        check(&guard, "/mcp", &["host: evil.test", "origin: http://evil.test"], HOST);
        check(&guard, "/mcp", &[], HOST);
    }

    #[test]
    fn the_target_names_the_host_where_it_has_one() {
        let guard = config(&["mcp.example.com"], &[]);
        check(&guard, "http://mcp.example.com/mcp", &[], IN);
        check(&guard, "http://mcp.example.com/mcp", &["host: MCP.example.com:80"], IN);
        check(&guard, "https://mcp.example.com/mcp", &["host: mcp.example.com:443"], IN);
        check(&guard, "http://mcp.example.com:8080/mcp", &["host: mcp.example.com:8080"], IN);
        check(&guard, "http://mcp.example.com:8080/mcp", &["host: mcp.example.com"], HOST);
        check(&guard, "https://mcp.example.com/mcp", &["host: mcp.example.com:80"], HOST);
        check(&guard, "http://evil.test/mcp", &["host: mcp.example.com"], HOST);
        check(&guard, "http://mcp.example.com/mcp", &["host: evil.test"], HOST);
        check(&guard, "http://mcp.example.com/mcp", &["host: mcp.example.com, evil.test"], HOST);
        check(&guard, "http://user@mcp.example.com/mcp", &[], HOST);
        check(&guard, "/mcp", &["host: mcp.example.com", "host: mcp.example.com"], HOST);
        check(&guard, "/mcp", &["host: mcp.example.com", "host: evil.test"], HOST);
    }

    #[test]
    fn wildcards_stand_for_one_label_or_more() {
        let guard =
            config(&["*.example.com", "::1"], &["https://*.example.com", "null", "https://app.test:8443", "https://plain.test:443"]);
        for host in ["a.example.com", "a.b.Example.COM:1", "a.example.com.", "[::1]"] {
            check(&guard, "/", &[&format!("host: {host}")], IN);
        }
        for host in
            ["example.com", ".example.com", "aexample.com", "a.example.com.evil.test", "evil.test/.example.com", "evil.test#.example.com"]
        {
            check(&guard, "/", &[&format!("host: {host}")], HOST);
        }
        for origin in ["https://a.example.com", "https://a.example.com:444", "null", "https://app.test:8443", "https://plain.test"] {
            check(&guard, "/", &["host: a.example.com", &format!("origin: {origin}")], IN);
        }
        for origin in [
            "http://a.example.com",
            "https://example.com",
            "https://app.test",
            "https://app.test:84",
            "http://plain.test",
            "Null",
            "https://evil.test?.example.com",
        ] {
            check(&guard, "/", &["host: a.example.com", &format!("origin: {origin}")], ORIGIN);
        }
    }

    #[test]
    fn a_star_takes_every_legal_host_and_any_origin_at_all() {
        let guard = config(&["*"], &["*"]);
        check(&guard, "/", &["host: anything.test", "origin: null"], IN);
        check(&guard, "/", &["host: anything.test", "origin: a", "origin: b"], IN);
        check(&guard, "/", &["host: any thing"], HOST);
        check(&guard, "/", &[], HOST);
    }

    #[test]
    fn pages_of_the_host_itself_are_always_let_in() {
        let guard = GuardConfig { hosts: None, origins: Some(Vec::new()) };
        let check = |target: &str, host: &str, origin: &str, expected| {
            check(&guard, target, &[&format!("host: {host}"), &format!("origin: {origin}")], expected);
        };
        check("/mcp", "mcp.test", "http://mcp.test", IN);
        check("/mcp", "MCP.test:80", "http://mcp.test", IN);
        check("/mcp", "mcp.test", "https://mcp.test", IN);
        check("/mcp", "10.0.0.7:8080", "http://10.0.0.7:8080", IN);
        check("http://mcp.test/mcp", "mcp.test", "http://mcp.test", IN);
        check("/mcp", "10.0.0.7:8080", "http://10.0.0.7", ORIGIN);
        check("/mcp", "mcp.test:8080", "https://mcp.test", ORIGIN);
        check("/mcp", "mcp.test", "http://app.test", ORIGIN);
        check("/mcp", "mcp.test", "ftp://mcp.test", ORIGIN);
        check("/mcp", "null", "null", ORIGIN);
    }

    #[test]
    fn an_empty_list_lets_nobody_in() {
        let guard = GuardConfig { hosts: Some(Vec::new()), origins: None };
        check(&guard, "/", &["host: localhost"], HOST);
        let guard = GuardConfig { hosts: None, origins: Some(vec!["nonsense".to_owned(), "http://a:x".to_owned()]) };
        check(&guard, "/", &["origin: nonsense"], ORIGIN);
        check(&guard, "/", &["origin: http://a:x"], ORIGIN);
        check(&guard, "/", &["host: x"], IN);
    }
}
