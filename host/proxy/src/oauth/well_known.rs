//! Where clients look for what a mounted server says of itself. Pure.
//!
//! RFC 8414 and RFC 9728 put the well-known part between the host and the path: for `https://gw/weather/mcp` a client asks for
//! `https://gw/.well-known/oauth-protected-resource/weather/mcp`, which is not below the mount.

use crate::endpoint_event::mounting::Mounting;
use crate::server_config::{Mount, ServerConfig};

/// Documents that are looked for in this way.
const DOCUMENTS: [&str; 3] =
    ["/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// What a path at the gateway's root stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WellKnown {
    /// Of the server, in the order given.
    pub(crate) index: usize,
    /// The path to ask it for, without query.
    pub(crate) path: String,
}

/// Finds the mounted server whose document a client looks for. A document of the root, which clients fall back to, is that of the only server
/// if it is mounted; with several, nobody could tell whose it is.
pub(crate) fn find<'a>(servers: impl Iterator<Item = &'a ServerConfig> + Clone, path: &str) -> Option<WellKnown> {
    let (document, rest) = DOCUMENTS.iter().find_map(|document| path.strip_prefix(document).map(|rest| (document, rest)))?;
    if matches!(rest, "" | "/") {
        let mut all = servers;
        let only = all.next().filter(|only| only.mount == Mount::Prefix && all.next().is_none());
        return only.map(|_| WellKnown { index: 0, path: path.to_owned() });
    }
    let name = rest.strip_prefix('/')?.split('/').next()?;
    let (index, server) = servers.enumerate().find(|(_, server)| server.mount == Mount::Prefix && server.name == name)?;
    let inner = Mounting::of(server).to_server(rest)?;
    let is_mount_itself = rest.trim_end_matches('/').len() == name.len() + 1;
    // An identifier's last slash is not part of where its document is.
    let inner = if is_mount_itself { inner.trim_end_matches('/') } else { &inner };
    Some(WellKnown { index, path: format!("{document}{inner}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_config::EndpointConfig;

    fn server(name: &str, path: &str, mount: Mount) -> ServerConfig {
        ServerConfig::new(name, EndpointConfig::http([127, 0, 0, 1].into(), 1), path, mount)
    }

    fn check(servers: &[ServerConfig], path: &str, expected: Option<(usize, &str)>) {
        let found = find(servers.iter(), path);
        assert_eq!(found.as_ref().map(|found| (found.index, found.path.as_str())), expected, "{path}");
    }

    #[test]
    fn the_mount_behind_the_document_names_the_server() {
        let servers = [server("a", "/mcp", Mount::Prefix), server("ab", "", Mount::Prefix), server("c", "/api/sse", Mount::Prefix)];
        for document in DOCUMENTS {
            let check = |rest: &str, expected: Option<(usize, &str)>| {
                let expected = expected.map(|(index, rest)| (index, format!("{document}{rest}")));
                check(&servers, &format!("{document}{rest}"), expected.as_ref().map(|(index, path)| (*index, path.as_str())));
            };
            check("/a", Some((0, "/mcp")));
            check("/a/", Some((0, "/mcp")));
            check("/a/x", Some((0, "/mcp/x")));
            check("/ab", Some((1, "")));
            check("/ab/mcp", Some((1, "/mcp")));
            check("/ab/mcp/", Some((1, "/mcp/")));
            check("/c", Some((2, "/api/sse")));
            check("/c/messages/", Some((2, "/api/messages/")));
            check("/abc", None);
            check("/a/../x", None);
            check("/a/%2e%2E/x", None);
            check("", None);
            check("/", None);
            check("x/a", None);
        }
        check(&servers, "/.well-known/mcp/a", None);
        check(&servers, "/a/.well-known/openid-configuration", None);
    }

    #[test]
    fn the_root_is_the_only_servers() {
        let root = "/.well-known/oauth-protected-resource";
        check(&[server("a", "/mcp", Mount::Prefix)], root, Some((0, root)));
        check(&[server("a", "/mcp", Mount::Root)], root, None);
        check(&[server("a", "/mcp", Mount::Prefix), server("b", "", Mount::Root)], root, None);
        check(&[server("a", "/mcp", Mount::Prefix), server("b", "", Mount::Prefix)], root, None);
        check(&[server("b", "", Mount::Root), server("a", "/mcp", Mount::Prefix)], &format!("{root}/a"), Some((1, &format!("{root}/mcp"))));
    }
}
