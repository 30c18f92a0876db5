//! Which hosts are granted, and which addresses a granted name may stand for. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, Scheme};

use super::client::Route;

/// Addresses outside the link-local range at which clouds hand out credentials: Alibaba, Azure, AWS.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
];

/// One `host` or `host:port` of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HttpGrant {
    /// Lower case, without the brackets of an IPv6 address.
    host: String,
    /// `None`: the default port of the request's scheme.
    port: Option<u16>,
}

/// The hosts granted to one plugin.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpGrants(Arc<[HttpGrant]>);

impl HttpGrants {
    /// Reads grants as they stand in the settings; the first that is not an address is the error.
    pub(crate) fn parse(grants: &[String]) -> Result<Self, String> {
        grants.iter().map(|grant| parse(grant).ok_or_else(|| grant.clone())).collect::<Result<_, _>>().map(Self)
    }

    /// Where a request may go, or `None` when no grant covers it.
    pub(super) fn route(&self, uri: &Uri) -> Option<Route> {
        let tls = uri.scheme() == Some(&Scheme::HTTPS);
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = host_of(authority);
        let default_port = if tls { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(default_port);
        let covers = |grant: &HttpGrant| grant.host == host && grant.port.unwrap_or(default_port) == port;
        self.0.iter().any(covers).then_some(Route { host, port, tls })
    }
}

fn parse(grant: &str) -> Option<HttpGrant> {
    let authority: Authority = grant.parse().ok()?;
    let host = host_of(&authority);
    // What follows the host must be nothing, or a port that is a number.
    let rest = authority.as_str().strip_prefix(authority.host())?;
    let port_is_valid = rest.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
    let name_is_valid = !host.is_empty() && !host.contains('*');
    (port_is_valid && name_is_valid).then(|| HttpGrant { host, port: authority.port_u16() })
}

fn host_of(authority: &Authority) -> String {
    let host = authority.host().to_ascii_lowercase();
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.to_owned(),
        None => host,
    }
}

/// Whether a connection to `address` may be made for the granted `host`. A grant of an address means that address; a grant of a name
/// does not mean this machine, its link or its cloud's metadata service, whatever the name resolves to today.
pub(super) fn may_connect(host: &str, address: IpAddr) -> bool {
    let address = address.to_canonical();
    if let Ok(literal) = host.parse::<IpAddr>() {
        return literal.to_canonical() == address;
    }
    if address.is_loopback() {
        return host == "localhost";
    }
    let local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast() || address.octets()[0] == 0,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(local || address.is_unspecified() || address.is_multicast() || METADATA.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::{HttpGrants, may_connect};

    fn routed(grants: &[&str], uri: &str) -> bool {
        let grants: Vec<String> = grants.iter().map(|grant| (*grant).to_owned()).collect();
        HttpGrants::parse(&grants).unwrap().route(&uri.parse().unwrap()).is_some()
    }

    #[test]
    fn a_request_goes_only_where_a_grant_leads() {
        let check = |grant: &str, uri: &str, expected: bool| assert_eq!(routed(&[grant], uri), expected, "{grant} {uri}");
        check("hooks.example.com:443", "https://hooks.example.com/x", true);
        check("hooks.example.com:443", "https://HOOKS.example.com:443/x", true);
        check("hooks.example.com:443", "http://hooks.example.com/x", false);
        check("hooks.example.com:443", "https://hooks.example.com:8443/x", false);
        check("hooks.example.com:443", "https://example.com/x", false);
        check("hooks.example.com:443", "https://hooks.example.com.evil.org/x", false);
        check("hooks.example.com:443", "https://hooks.example.com:443@evil.org/x", false);
        check("hooks.example.com:443", "https://evil.org@hooks.example.com/x", false);
        check("hooks.example.com", "https://hooks.example.com/x", true);
        check("hooks.example.com", "http://hooks.example.com/x", true);
        check("hooks.example.com", "http://hooks.example.com:8080/x", false);
        check("[::1]:8080", "http://[::1]:8080/", true);
        check("127.0.0.1:8080", "http://127.0.0.1:8080/", true);
        check("127.0.0.1:8080", "http://localhost:8080/", false);
    }

    #[test]
    fn what_is_no_host_is_no_grant() {
        for grant in [
            "",
            "*.example.com",
            "https://example.com",
            "example.com:port",
            "example.com:",
            "example.com:0",
            "a b",
            "example.com:99999",
            "example.com/path",
        ] {
            assert_eq!(HttpGrants::parse(&[grant.to_owned()]).unwrap_err(), grant);
        }
    }

    #[test]
    fn a_name_does_not_lead_to_this_machine_or_its_link() {
        let check = |host: &str, address: &str, expected: bool| {
            assert_eq!(may_connect(host, address.parse().unwrap()), expected, "{host} {address}");
        };
        check("example.com", "93.184.216.34", true);
        check("intranet", "10.1.2.3", true);
        check("example.com", "127.0.0.1", false);
        check("example.com", "::1", false);
        check("example.com", "::ffff:127.0.0.1", false);
        check("localhost", "127.0.0.1", true);
        check("localhost", "::1", true);
        check("localhost", "169.254.169.254", false);
        check("127.0.0.1", "127.0.0.1", true);
        check("127.0.0.1", "127.0.0.2", false);
        check("example.com", "169.254.169.254", false);
        check("example.com", "::ffff:169.254.169.254", false);
        check("169.254.169.254", "169.254.169.254", true);
        check("example.com", "fe80::1", false);
        check("example.com", "fd00:ec2::254", false);
        check("example.com", "168.63.129.16", false);
        check("example.com", "0.0.0.0", false);
        check("example.com", "224.0.0.1", false);
        check("::1", "::1", true);
    }
}
