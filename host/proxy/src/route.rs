//! Which server a path belongs to, and what the path is there. Pure.

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Uri, header};

use crate::endpoint_event::mounting::Mounting;
use crate::oauth::well_known;
use crate::server_config::{Mount, ServerConfig};

/// Finds the server for a request: its index in `servers`, and the path and query to ask it for. `None` when no server is mounted there. A host
/// name counts for more than a path, and a path for more than the server that gets every path.
pub(crate) fn route<'a>(
    servers: impl Iterator<Item = (&'a ServerConfig, &'a Mounting)> + Clone,
    host: Option<&str>,
    uri: &Uri,
) -> Option<(usize, PathAndQuery)> {
    let whole = || uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let (mut below_mount, mut root) = (None, None);
    for (index, (server, mounting)) in servers.clone().enumerate() {
        match &server.mount {
            Mount::Hosts(hosts) => {
                if host.is_some_and(|host| hosts.iter().any(|known| known.eq_ignore_ascii_case(host))) {
                    return Some((index, whole()));
                }
            }
            Mount::Prefix if below_mount.is_none() && is_below(uri.path(), &server.name) => below_mount = Some((index, mounting)),
            Mount::Root if root.is_none() => root = Some(index),
            Mount::Prefix | Mount::Root => {}
        }
    }
    if let Some((index, mounting)) = below_mount {
        return Some((index, with_query(mounting.to_server(uri.path())?, uri.query())?));
    }
    if uri.path().starts_with("/.well-known/")
        && let Some(found) = well_known(servers.map(|(server, _)| server), uri.path())
    {
        return Some((found.index, with_query(found.path, uri.query())?));
    }
    Some((root?, whole()))
}

/// Whether a path is `/NAME` or below it.
fn is_below(path: &str, name: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(name));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn with_query(mut path: String, query: Option<&str>) -> Option<PathAndQuery> {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(path)).ok()
}

/// The host that a request is for, without port: of its target where that has one, else of `Host`.
pub(crate) fn requested_host(parts: &Parts) -> Option<&str> {
    if let Some(host) = parts.uri.host() {
        return Some(host);
    }
    let host = parts.headers.get(header::HOST)?.to_str().ok()?;
    // An IPv6 address has colons of its own.
    Some(match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_config::EndpointConfig;

    fn server(name: &str, path: &str, mount: Mount) -> ServerConfig {
        ServerConfig::new(name, EndpointConfig::http([127, 0, 0, 1].into(), 1), path, mount)
    }

    fn check(servers: &[ServerConfig], uri: &str, expected: Option<(usize, &str)>) {
        check_for(servers, None, uri, expected);
    }

    fn check_for(servers: &[ServerConfig], host: Option<&str>, uri: &str, expected: Option<(usize, &str)>) {
        let mountings: Vec<Mounting> = servers.iter().map(Mounting::of).collect();
        let found = route(servers.iter().zip(&mountings), host, &uri.parse().unwrap());
        assert_eq!(found.as_ref().map(|(index, path)| (*index, path.as_str())), expected, "{host:?} {uri}");
    }

    #[test]
    fn a_host_counts_for_more_than_a_path_and_a_path_for_more_than_the_root() {
        let hosts = Mount::Hosts(vec!["a.example".into(), "b.example".into()]);
        let servers = [server("all", "", Mount::Root), server("x", "/mcp", Mount::Prefix), server("named", "", hosts)];
        check_for(&servers, Some("B.example"), "/x/y", Some((2, "/x/y")));
        check_for(&servers, Some("c.example"), "/x/y", Some((1, "/mcp/y")));
        check_for(&servers, None, "/z", Some((0, "/z")));
    }

    fn check_host(uri: &str, header: Option<&str>, expected: Option<&str>) {
        let mut request = http::Request::builder().uri(uri);
        if let Some(header) = header {
            request = request.header("host", header);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(requested_host(&parts), expected, "{uri} {header:?}");
    }

    #[test]
    fn the_requested_host_has_no_port() {
        check_host("/", Some("a.example:8080"), Some("a.example"));
        check_host("/", Some("[::1]:80"), Some("[::1]"));
        check_host("/", Some("[::1]"), Some("[::1]"));
        check_host("http://b.example:1/", Some("a.example"), Some("b.example"));
        check_host("/", None, None);
    }

    #[test]
    fn an_unmounted_server_keeps_every_path() {
        let servers = [server("default", "/mcp", Mount::Root)];
        check(&servers, "/mcp?x=1", Some((0, "/mcp?x=1")));
        check(&servers, "/.well-known/oauth-protected-resource", Some((0, "/.well-known/oauth-protected-resource")));
        check(&servers, "/", Some((0, "/")));
    }

    #[test]
    fn mounts_are_whole_segments_and_replaced_by_the_urls_path() {
        let servers = [server("a", "/mcp", Mount::Prefix), server("ab", "", Mount::Prefix)];
        check(&servers, "/a", Some((0, "/mcp")));
        check(&servers, "/a/", Some((0, "/mcp")));
        check(&servers, "/a?q=1", Some((0, "/mcp?q=1")));
        check(&servers, "/a/x/y?q", Some((0, "/mcp/x/y?q")));
        check(&servers, "/ab/mcp", Some((1, "/mcp")));
        check(&servers, "/ab", Some((1, "/")));
        check(&servers, "/ab/", Some((1, "/")));
        check(&servers, "/a/../../x", None);
        check(&servers, "/a/x/%2E%2e/y", None);
        for out in ["..%2fx", "%2e%2E%2Fx", "x/..%5cy", "..;/x", "..%3Bv=1/x", "x%2f..", ".%5c", "%252e%252e/x", "..%252fx", "%25252e./x"] {
            check(&servers, &format!("/a/{out}"), None);
        }
        for below in ["x%2fy", "x;v=..", "..x", "x..;v", "%2ea", "100%25", "%252", "%25", "a%5cb", "%C3%A9"] {
            check(&servers, &format!("/a/{below}"), Some((0, &format!("/mcp/{below}"))));
        }
        check(&servers, "/a/x...y/..z", Some((0, "/mcp/x...y/..z")));
        check(&[server("a", "/mcp/", Mount::Prefix)], "/a/", Some((0, "/mcp/")));
        check(&[server("a", "/mcp/", Mount::Prefix)], "/a/x", Some((0, "/mcp/x")));
        check(&servers, "/abc", None);
        check(&servers, "/", None);
        check(&servers, "//a/", None);
    }
}
