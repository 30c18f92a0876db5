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
mod tests;
