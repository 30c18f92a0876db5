//! Which server a path belongs to, and what the path is there. Pure.

use http::Uri;
use http::uri::PathAndQuery;

use crate::config::{Mount, ServerConfig};

/// Finds the server for a path: its index in `servers`, and the path and query to ask it for. `None` when no server is
/// mounted there.
pub(crate) fn route(servers: &[ServerConfig], uri: &Uri) -> Option<(usize, PathAndQuery)> {
    let path = uri.path();
    for (index, server) in servers.iter().enumerate() {
        match server.mount {
            Mount::Root => return Some((index, uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))),
            Mount::Prefix => {
                if let Some(rest) = below(path, &server.name) {
                    return Some((index, mounted(server, rest, uri.query())?));
                }
            }
        }
    }
    None
}

/// The part of `path` after `/NAME`: empty, or beginning with `/`.
fn below<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let rest = path.strip_prefix('/')?.strip_prefix(name)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn mounted(server: &ServerConfig, rest: &str, query: Option<&str>) -> Option<PathAndQuery> {
    // Below a mount is below its URL: a server that resolved these would be asked for what lies beside it.
    if rest.split('/').any(|segment| matches!(segment, "." | "..") || is_encoded_dots(segment)) {
        return None;
    }
    // `/NAME/` alone means the URL that was configured, as it was written: what users paste into a client.
    let (base, rest) = match rest {
        "" | "/" => (server.path.as_str(), if server.path.is_empty() { rest } else { "" }),
        rest => (server.path.trim_end_matches('/'), rest),
    };
    let mut path = String::with_capacity(base.len() + rest.len() + query.map_or(0, |query| query.len() + 1) + 1);
    path.push_str(base);
    path.push_str(rest);
    if path.is_empty() {
        path.push('/');
    }
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(path)).ok()
}

/// `.` and `..` with any dot written as `%2e`.
fn is_encoded_dots(segment: &str) -> bool {
    segment.len() <= 6 && matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, path: &str, mount: Mount) -> ServerConfig {
        ServerConfig { name: name.into(), authority: "h:1".into(), host: "h".into(), port: 1, path: path.into(), mount }
    }

    fn check(servers: &[ServerConfig], uri: &str, expected: Option<(usize, &str)>) {
        let found = route(servers, &uri.parse().unwrap());
        assert_eq!(found.as_ref().map(|(index, path)| (*index, path.as_str())), expected, "{uri}");
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
        check(&servers, "/a/x...y/..z", Some((0, "/mcp/x...y/..z")));
        check(&[server("a", "/mcp/", Mount::Prefix)], "/a/", Some((0, "/mcp/")));
        check(&[server("a", "/mcp/", Mount::Prefix)], "/a/x", Some((0, "/mcp/x")));
        check(&servers, "/abc", None);
        check(&servers, "/", None);
        check(&servers, "//a/", None);
    }
}
