//! Who may ask: token, `Host` and `Origin`. Pure.

use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Uri};

use crate::secret::Secret;

/// What is asked of every request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guard {
    /// Required on everything but `/health*`.
    pub token: Option<Secret>,
    /// On loopback a page in the operator's browser could reach this listener by pointing a name of its own at 127.0.0.1 (DNS rebinding).
    /// Its requests carry that name, which scripts cannot change.
    pub check_host: bool,
    /// Names besides `localhost` that are ours, lower case, without port.
    pub own_names: Vec<String>,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// `Host` is a foreign name or there twice.
    Host,
    /// A page of another origin asks.
    Origin,
    /// No token or a wrong one.
    Token,
}

impl Guard {
    /// Lets a request in or says why not. `open` paths need no token.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap, open: bool) -> Result<(), TurnedAway> {
        if self.check_host && !self.host_is_ours(uri, headers) {
            return Err(TurnedAway::Host);
        }
        if is_cross_site(headers) || (headers.contains_key(ORIGIN) && !same_origin(headers)) {
            return Err(TurnedAway::Origin);
        }
        match &self.token {
            Some(token) if !open && !bearer(headers).is_some_and(|guess| token.matches(guess)) => Err(TurnedAway::Token),
            _ => Ok(()),
        }
    }

    fn host_is_ours(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        // An absolute request target overrides `Host`, so it is held to the same.
        let target_is_ours = uri.host().is_none_or(|host| self.is_own_name(host));
        // Browsers always send `Host`; simple probes (HTTP/1.0) may not.
        let host_is_ours = !headers.contains_key(HOST) || only(headers, HOST).is_some_and(|host| self.is_own_name(without_port(host)));
        target_is_ours && host_is_ours
    }

    /// Addresses cannot be rebound, names can.
    fn is_own_name(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        bare.parse::<std::net::IpAddr>().is_ok() || host == "localhost" || self.own_names.contains(&host)
    }
}

/// The value of a header that is there exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// A page served by this listener itself names the same host and port in both headers.
fn same_origin(headers: &HeaderMap) -> bool {
    let (Some(origin), Some(host)) = (only(headers, ORIGIN), only(headers, HOST)) else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// A page elsewhere has a browser ask (Fetch Metadata). Of a plain `GET`, as an image or a frame makes it, this is all that tells: it has no `Origin`, and it
/// may start a profile. What a person types or has bookmarked says `none`; what is no browser says nothing.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = HeaderName::from_static("sec-fetch-site");
    headers.get_all(site).iter().any(|site| site != "same-origin" && site != "none")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect::<Vec<_>>()
            .into_iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn loopback() -> Guard {
        Guard { token: None, check_host: true, own_names: vec!["watchgate.internal".to_owned()] }
    }

    #[test]
    fn on_loopback_only_addresses_and_own_names_are_hosts() {
        let check = |host: &str, expected: Result<(), TurnedAway>| {
            assert_eq!(loopback().admit(&Uri::from_static("/metrics"), &headers(&[("host", host)]), false), expected, "{host}");
        };
        for own in
            ["localhost", "LocalHost:9090", "localhost.:9090", "127.0.0.1:9090", "10.0.0.7", "[::1]:9090", "[::1]", "watchgate.internal:1"]
        {
            check(own, Ok(()));
        }
        for foreign in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[::1",
            "localhost:x",
            "a@localhost",
        ] {
            check(foreign, Err(TurnedAway::Host));
        }
    }

    #[test]
    fn host_is_there_at_most_once_and_an_absolute_target_is_held_to_the_same() {
        let check = |target: &'static str, pairs: &[(&'static str, &str)], expected| {
            assert_eq!(loopback().admit(&Uri::from_static(target), &headers(pairs), false), expected, "{target} {pairs:?}");
        };
        check("/metrics", &[], Ok(()));
        check("/metrics", &[("host", "localhost"), ("host", "evil.example")], Err(TurnedAway::Host));
        check("http://evil.example/metrics", &[("host", "localhost")], Err(TurnedAway::Host));
        check("http://localhost/metrics", &[("host", "localhost")], Ok(()));
    }

    #[test]
    fn pages_of_other_origins_are_turned_away() {
        let check = |origin: &str, expected| {
            let sent = headers(&[("host", "localhost:9090"), ("origin", origin)]);
            assert_eq!(loopback().admit(&Uri::from_static("/api/plugins/reload"), &sent, false), expected, "{origin}");
        };
        check("http://localhost:9090", Ok(()));
        check("http://evil.example", Err(TurnedAway::Origin));
        check("http://localhost:1234", Err(TurnedAway::Origin));
        check("null", Err(TurnedAway::Origin));
    }

    #[test]
    fn pages_elsewhere_are_turned_away_though_they_name_no_origin() {
        let check = |site: &str, expected| {
            let sent = headers(&[("host", "localhost:9090"), ("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]);
            assert_eq!(loopback().admit(&Uri::from_static("/debug/pprof/profile"), &sent, false), expected, "{site}");
        };
        check("same-origin", Ok(()));
        check("none", Ok(()));
        check("cross-site", Err(TurnedAway::Origin));
        check("same-site", Err(TurnedAway::Origin));
        check("", Err(TurnedAway::Origin));
    }

    #[test]
    fn the_token_opens_everything_and_open_paths_need_none() {
        let guard = Guard { token: Secret::new("t0ken"), ..loopback() };
        let check = |authorization: Option<&str>, open: bool, expected| {
            let mut pairs = vec![("host", "localhost")];
            pairs.extend(authorization.map(|value| ("authorization", value)));
            assert_eq!(guard.admit(&Uri::from_static("/"), &headers(&pairs), open), expected, "{authorization:?}");
        };
        check(Some("Bearer t0ken"), false, Ok(()));
        check(Some("bearer  t0ken"), false, Ok(()));
        check(None, true, Ok(()));
        check(None, false, Err(TurnedAway::Token));
        check(Some("Bearer t0ke"), false, Err(TurnedAway::Token));
        check(Some("Basic t0ken"), false, Err(TurnedAway::Token));
        check(Some("t0ken"), false, Err(TurnedAway::Token));
        check(Some("Bearer "), false, Err(TurnedAway::Token));
    }
}
