//! How paths below a mount and paths of the server belong together, in both directions. Pure but for one thing that is learned of the server.

use std::sync::atomic::{AtomicBool, Ordering};

use std::borrow::Cow;

use crate::server_config::{Forwarded, Mount, ServerConfig};

/// Where a server says things about itself (RFC 8615): always at the root of its origin.
const WELL_KNOWN: &str = "/.well-known/";

/// The two views of one server's paths. Paths are without query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounting {
    /// `None` where clients use the server's own paths.
    below: Option<Below>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Below {
    /// `/NAME`.
    mount: String,
    /// The mount as clients see it: with what a proxy in front of the gateway puts before it, if `public_url` tells of one.
    seen: String,
    /// The path of the server's URL as configured: what the mount itself stands for.
    exact: String,
    /// What the mount stands for in longer paths. Ends without `/`.
    base: String,
    /// The server is told of the mount by `X-Forwarded-Prefix`, and may put it before its paths itself.
    told: bool,
    other_slash: OtherSlash,
}

/// Whether the server sends whoever asks for `exact` to the same path with, or without, a slash at its end: then that is what the mount stands for. It
/// is no part of what two mountings are compared by.
#[derive(Debug, Default)]
struct OtherSlash(AtomicBool);

impl Clone for OtherSlash {
    fn clone(&self) -> Self {
        Self(AtomicBool::new(self.0.load(Ordering::Relaxed)))
    }
}

impl PartialEq for OtherSlash {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for OtherSlash {}

impl Mounting {
    /// As configured.
    pub(crate) fn of(server: &ServerConfig) -> Self {
        let Mount::Prefix = server.mount else { return Self { below: None } };
        let mount = format!("/{}", server.name);
        let seen = server.public_url.as_deref().and_then(|url| url.split_once("://")?.1.split_once('/')).map(|(_, path)| path);
        let seen = seen.map_or_else(|| mount.clone(), |path| format!("/{path}").trim_end_matches('/').to_owned());
        let told = matches!(server.forwarded, Forwarded::XForwarded | Forwarded::Both);
        Self {
            below: Some(Below {
                mount,
                seen,
                base: base(&server.path).to_owned(),
                exact: server.path.clone(),
                told,
                other_slash: OtherSlash::default(),
            }),
        }
    }

    /// The mount as clients see it, without `/` at its end; `None` where they use the server's own paths.
    pub(crate) fn seen_mount(&self) -> Option<&str> {
        self.below.as_ref().map(|below| below.seen.as_str())
    }

    /// The path to ask the server for, of a path that a client asked the gateway for. `None` when it is not below the mount, or leads out of it.
    pub(crate) fn to_server(&self, path: &str) -> Option<String> {
        match &self.below {
            None => Some(path.to_owned()),
            Some(below) => below.reach(path.strip_prefix(&*below.mount)?),
        }
    }

    /// As [`Self::to_server`], of a path as clients see it: a proxy in front of the gateway takes off what `public_url` has before the mount.
    pub(crate) fn seen_to_server(&self, path: &str) -> Option<String> {
        let seen = || self.below.as_ref().and_then(|below| below.reach(path.strip_prefix(&*below.seen)?));
        self.to_server(path).or_else(seen)
    }

    /// The path that a client uses for a path of the server; `None` when none leads there.
    pub(crate) fn to_client(&self, path: &str) -> Option<String> {
        let Some(below) = &self.below else { return Some(path.to_owned()) };
        let mut candidates =
            [(path == below.meant_now()).then_some(""), path.starts_with(WELL_KNOWN).then_some(path), path.strip_prefix(&*below.base)];
        let leads_there = |rest: &&str| below.reach(rest).as_deref() == Some(path);
        let rest = candidates.iter_mut().find_map(|rest| rest.take().filter(leads_there))?;
        Some(format!("{}{rest}", below.seen))
    }

    /// The server has sent a client on from `asked` to `path`. Where `asked` is what the mount stands for, and the other differs by a slash at its end alone,
    /// the mount stands for that from now on, and this is the path that the client uses.
    pub(crate) fn follow(&self, asked: &str, path: &str) -> Option<String> {
        let below = self.below.as_ref()?;
        let is_turned = below.other_slash.0.load(Ordering::Relaxed);
        if asked != below.meant(is_turned) || path != below.meant(!is_turned) {
            return None;
        }
        below.other_slash.0.store(!is_turned, Ordering::Relaxed);
        Some(format!("{}/", below.seen))
    }

    /// The path that a client uses for a path that the server has put the mount before itself, because it was told of it.
    pub(crate) fn told(&self, path: &str) -> Option<String> {
        let below = self.below.as_ref().filter(|below| below.told)?;
        let rest = path.strip_prefix(&*below.mount).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{}{rest}", below.seen))
    }
}

impl Below {
    /// What the mount alone stands for now.
    fn meant_now(&self) -> String {
        self.meant(self.other_slash.0.load(Ordering::Relaxed))
    }

    /// The URL's path, or the same with, or without, the slash at its end.
    fn meant(&self, is_turned: bool) -> String {
        if is_turned { other_slash(&self.exact) } else { self.exact.clone() }
    }

    /// `rest` is what follows the mount.
    fn reach(&self, rest: &str) -> Option<String> {
        // Below a mount is below its URL: a server that resolved these would be asked for what lies beside it.
        if leads_out(rest) {
            return None;
        }
        let path = match rest {
            // The mount alone means the URL that was configured, as it was written: what users paste into a client.
            "" | "/" if self.exact.is_empty() => "/".to_owned(),
            "" | "/" => self.meant_now(),
            rest if !rest.starts_with('/') => return None,
            rest if rest.starts_with(WELL_KNOWN) => rest.to_owned(),
            rest => format!("{}{rest}", self.base),
        };
        Some(path)
    }
}

fn other_slash(path: &str) -> String {
    path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned)
}

/// What the mount stands for in longer paths: the path of the URL. A URL that names the stream of HTTP+SSE, `…/sse`, has nothing below it, and
/// the messages beside it (`…/message`, `…/messages/`): there it is the folder that the stream lies in.
fn base(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some((folder, last)) if last.eq_ignore_ascii_case("sse") => folder,
        _ => path,
    }
}

/// Whether a server may take part of a path for `.` or `..`. Servers do not agree on what separates segments and in which order they decode: some
/// take an encoded slash or a backslash for one, cut a segment at `;`, or decode twice.
fn leads_out(path: &str) -> bool {
    let decoded = if path.contains('%') { Cow::Owned(decoded(path)) } else { Cow::Borrowed(path) };
    decoded.split(['/', '\\']).any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// The path with what dots and separators may be written as decoded, however often it is encoded; the rest as it is.
fn decoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        // `%25` is the sign itself, which may begin another code.
        let code = piece.trim_start_matches("25");
        let plain = code.get(..2).and_then(|code| match code.to_ascii_lowercase().as_str() {
            "2e" => Some('.'),
            "2f" => Some('/'),
            "5c" => Some('\\'),
            "3b" => Some(';'),
            _ => None,
        });
        out.push(plain.unwrap_or('%'));
        out.push_str(if plain.is_some() { &code[2..] } else { code });
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;
    use crate::server_config::EndpointConfig;

    fn mounting(path: &str) -> Mounting {
        Mounting::of(&ServerConfig::new("weather", EndpointConfig::http([127, 0, 0, 1].into(), 1), path, Mount::Prefix))
    }

    /// Both ways.
    fn check(url_path: &str, client: &str, server: &str) {
        check_in(url_path, client, Some(server));
        assert_eq!(mounting(url_path).to_client(server).as_deref(), Some(client), "{url_path:?} {server}");
    }

    fn check_in(url_path: &str, client: &str, server: Option<&str>) {
        assert_eq!(mounting(url_path).to_server(client).as_deref(), server, "{url_path:?} {client}");
    }

    fn check_unreachable(url_path: &str, server: &str) {
        assert_eq!(mounting(url_path).to_client(server), None, "{url_path:?} {server}");
    }

    #[test]
    fn a_mount_is_replaced_by_the_urls_path() {
        check("", "/weather/message", "/message");
        check("", "/weather/", "/");
        check_in("", "/weather", Some("/"));
        check("/mcp", "/weather", "/mcp");
        check_in("/mcp", "/weather/", Some("/mcp"));
        check("/mcp", "/weather/x/y", "/mcp/x/y");
        check("/mcp/", "/weather", "/mcp/");
        check("/mcp/", "/weather/x", "/mcp/x");
        check("/", "/weather", "/");
        check("/", "/weather/x", "/x");
        check_in("/mcp", "/weatherman", None);
        check_in("/mcp", "/other", None);
    }

    #[test]
    fn a_server_that_wants_a_slash_gets_it() {
        for (exact, other) in [("/mcp", "/mcp/"), ("/mcp/", "/mcp")] {
            let mounting = mounting(exact);
            assert_eq!(mounting.follow(exact, "/mcp/x"), None);
            assert_eq!(mounting.to_server("/weather/").as_deref(), Some(exact));
            assert_eq!(mounting.follow(exact, other).as_deref(), Some("/weather/"));
            assert_eq!(mounting.to_server("/weather/").as_deref(), Some(other));
            assert_eq!((mounting.to_client(other).as_deref(), mounting.to_client(exact)), (Some("/weather"), None));
            assert_eq!(mounting.follow(exact, other), None);
            // And back, when it thinks better of it.
            assert_eq!(mounting.follow(other, exact).as_deref(), Some("/weather/"));
            assert_eq!(mounting.to_server("/weather").as_deref(), Some(exact));
        }
        assert_eq!(Mounting { below: None }.follow("/mcp", "/mcp/"), None);
    }

    #[test]
    fn messages_beside_a_stream_are_reached() {
        check("/sse", "/weather", "/sse");
        check("/sse", "/weather/message", "/message");
        check("/sse", "/weather/messages/", "/messages/");
        check("/api/SSE/", "/weather", "/api/SSE/");
        check("/api/sse", "/weather/messages/", "/api/messages/");
        check_unreachable("/api/sse", "/messages/");
    }

    #[test]
    fn nothing_else_beside_the_url_is_reached() {
        check_unreachable("/mcp", "/message");
        check_unreachable("/mcp", "/mcpx");
        check_unreachable("/mcp", "/mcp/../x");
        for hostile in ["/weather/..", "/weather/x/../../y", "/weather/%2e%2E/x", "/weather/.%2e/x", "/weather/."] {
            check_in("/mcp", hostile, None);
            check_in("/sse", hostile, None);
        }
        check_in("/mcp", "/weather/x...y/..z", Some("/mcp/x...y/..z"));
    }

    #[test]
    fn well_known_paths_are_at_the_root() {
        check("/mcp", "/weather/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource/mcp");
        check("", "/weather/.well-known/mcp.json", "/.well-known/mcp.json");
        check("/api/sse", "/weather/.well-known/x", "/.well-known/x");
        check_in("/mcp", "/weather/.well-known/../x", None);
        check_in("/mcp", "/weather/x/.well-known/y", Some("/mcp/x/.well-known/y"));
    }

    #[test]
    fn a_public_url_can_have_more_before_the_mount() {
        let mut server = ServerConfig::new("weather", EndpointConfig::http([127, 0, 0, 1].into(), 1), "/mcp", Mount::Prefix);
        for (url, expected) in
            [("https://gw.example", "/weather/x"), ("https://gw.example/tools/weather/", "/tools/weather/x"), ("https://gw.example/", "/x")]
        {
            server.public_url = Some(url.to_owned());
            assert_eq!(Mounting::of(&server).to_client("/mcp/x").as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn kept_paths_are_the_same_on_both_sides() {
        let kept = Mounting { below: None };
        assert_eq!(kept.to_server("/a/../b").as_deref(), Some("/a/../b"));
        assert_eq!(kept.to_client("/weather/x").as_deref(), Some("/weather/x"));
    }

    proptest! {
        #[test]
        fn a_way_out_leads_back(url_path in "(/(mcp|sse|a))?(/(mcp|sse|b))?/?", path in "(/(mcp|sse|a|b|\\.\\.|\\.well-known|%2e))?(/(mcp|sse|b|c))?/?") {
            let mounting = mounting(&url_path);
            if let Some(client) = mounting.to_client(&path) {
                prop_assert_eq!(mounting.to_server(&client), Some(path));
            }
        }
    }
}
