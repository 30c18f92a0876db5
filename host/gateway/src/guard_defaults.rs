//! Whose requests are let in when the configuration does not say. Pure.

use http::Uri;
use watchgate_proxy::{GuardConfig, ListenerConfig, Mount, ServerConfig};

use crate::file::access::GuardSettings;

/// What `[guard]` comes to with these listeners and servers.
///
/// A page in a browser can give a name of its own the address of this gateway (DNS rebinding) and then send requests with that name as `Host`.
/// On loopback only the machine itself is a client, so its names can be listed. Elsewhere the names under which clients know the gateway
/// are not known, so every one is let in unless some are listed; pages of foreign origins are not.
pub fn guard(settings: GuardSettings, listeners: &[ListenerConfig], servers: &[ServerConfig]) -> GuardConfig {
    let on_loopback = listeners.iter().all(|listener| is_loopback(&listener.address));
    let own = if on_loopback { GuardConfig::loopback() } else { GuardConfig { hosts: None, origins: Some(Vec::new()) } };
    let hosts = settings.hosts.map(unless_all).unwrap_or_else(|| {
        own.hosts.map(|mut hosts| {
            hosts.extend(servers.iter().flat_map(mounted_hosts).chain(servers.iter().filter_map(public_host)));
            hosts
        })
    });
    let origins = settings.origins.map(unless_all).unwrap_or_else(|| {
        own.origins.map(|mut origins| {
            origins.extend(servers.iter().filter_map(public_origin));
            origins
        })
    });
    GuardConfig { hosts, origins }
}

/// Whether only this machine can reach an address. A name is trusted to be what `localhost` says.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn unless_all(listed: Vec<String>) -> Option<Vec<String>> {
    (!listed.iter().any(|entry| entry == "*")).then_some(listed)
}

fn mounted_hosts(server: &ServerConfig) -> Vec<String> {
    match &server.mount {
        Mount::Hosts(hosts) => hosts.clone(),
        Mount::Root | Mount::Prefix => Vec::new(),
    }
}

fn public_uri(server: &ServerConfig) -> Option<Uri> {
    server.public_url.as_ref()?.parse().ok()
}

fn public_host(server: &ServerConfig) -> Option<String> {
    public_uri(server)?.host().map(str::to_ascii_lowercase)
}

fn public_origin(server: &ServerConfig) -> Option<String> {
    let uri = public_uri(server)?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?.as_str().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::listeners::cleartext;
    use crate::server_url;

    fn list(entries: &[&str]) -> Option<Vec<String>> {
        Some(entries.iter().map(|entry| (*entry).to_owned()).collect())
    }

    fn check(address: &str, settings: GuardSettings, expected: (Option<&[&str]>, Option<&[&str]>)) {
        let mut named = server_url::parse("a", "http://h", Mount::Hosts(vec!["a.test".to_owned()])).unwrap();
        named.public_url = Some("https://Mcp.test:8443/a".to_owned());
        let found = guard(settings, &[cleartext(address.to_owned())], &[named]);
        let expected = GuardConfig { hosts: expected.0.and_then(list), origins: expected.1.and_then(list) };
        assert_eq!(found, expected, "{address}");
    }

    #[test]
    fn defaults_follow_from_the_listeners_and_what_is_said_wins() {
        let said = |hosts, origins| GuardSettings { hosts, origins };
        let loopback = GuardConfig::loopback();
        let (hosts, origins) = (loopback.hosts.unwrap(), loopback.origins.unwrap());
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).chain(["a.test", "mcp.test"]).collect();
        let origins: Vec<&str> = origins.iter().map(String::as_str).chain(["https://mcp.test:8443"]).collect();
        for address in ["127.0.0.1:8080", "localhost:1", "[::1]:0"] {
            check(address, said(None, None), (Some(&hosts), Some(&origins)));
        }
        check("0.0.0.0:80", said(None, None), (None, Some(&["https://mcp.test:8443"])));
        check("0.0.0.0:80", said(list(&["b.test"]), None), (Some(&["b.test"]), Some(&["https://mcp.test:8443"])));
        check("127.0.0.1:80", said(list(&["*"]), list(&["https://c.test"])), (None, Some(&["https://c.test"])));
        check("127.0.0.1:80", said(list(&["b.test"]), list(&["x://y", "*"])), (Some(&["b.test"]), None));
    }
}
