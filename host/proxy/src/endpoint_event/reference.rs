//! References to URLs (RFC 3986) as servers write them: taken apart without changing a byte, and resolved against a path.

/// A reference to something over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    /// `host[:port]` where the reference is a whole URL or begins with `//`.
    pub(crate) authority: Option<&'a str>,
    /// May be empty or relative, but for a whole URL is empty or begins with `/`.
    pub(crate) path: &'a str,
    /// Query and fragment with their marks, or empty.
    pub(crate) rest: &'a str,
}

impl<'a> Reference<'a> {
    /// Takes a reference apart. `None` for another scheme than `http` and `https`, and for what readers do not agree on: white space, control
    /// characters, backslashes, user names.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\') {
            return None;
        }
        let (hierarchy, rest) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
        let hierarchy = match scheme(hierarchy) {
            Some((scheme, after)) if is_http(scheme) && after.starts_with("//") => after,
            Some(_) => return None,
            None => hierarchy,
        };
        let Some(after) = hierarchy.strip_prefix("//") else { return Some(Self { authority: None, path: hierarchy, rest }) };
        let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
        let is_plain = !authority.is_empty() && !authority.contains('@');
        is_plain.then_some(Self { authority: Some(authority), path, rest })
    }

    /// The path it names, seen from a document at the absolute path `base`.
    pub(crate) fn resolve(&self, base: &str) -> String {
        if self.authority.is_some() || self.path.starts_with('/') {
            return without_dots(self.path);
        }
        if self.path.is_empty() {
            return base.to_owned();
        }
        let folder = &base[..base.rfind('/').map_or(0, |slash| slash + 1)];
        without_dots(&format!("{folder}{}", self.path))
    }
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// The scheme, and what follows its colon.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, after) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, after))
}

/// Removes `.` and `..` as RFC 3986, 5.2.4 does; most paths have none.
fn without_dots(path: &str) -> String {
    if !path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        match *segment {
            "." | ".." => {
                // The first segment is the empty one before the leading slash.
                if *segment == ".." && kept.len() > 1 {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    kept.join("/")
}

/// Whether two authorities name the same server: in any case, with or without the port that the scheme implies, and by any name of this machine.
pub(crate) fn same_authority(one: &str, other: &str) -> bool {
    let (one, other) = (split_port(one), split_port(other));
    one.1 == other.1 && (one.0.eq_ignore_ascii_case(other.0) || (is_loopback(one.0) && is_loopback(other.0)))
}

/// The host, and the port unless it is one that a scheme implies. The scheme itself does not count: whoever ends TLS in front of a server changes it.
fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((host, "80" | "443" | "")) => (host, ""),
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, ""),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || matches!(host, "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn check(text: &str, expected: Option<(Option<&str>, &str, &str)>) {
        let parsed = Reference::parse(text).map(|reference| (reference.authority, reference.path, reference.rest));
        assert_eq!(parsed, expected, "{text:?}");
    }

    #[test]
    fn references_are_taken_apart() {
        check("/message?sessionId=a/b?c#d", Some((None, "/message", "?sessionId=a/b?c#d")));
        check("message", Some((None, "message", "")));
        check("?x=http://h/", Some((None, "", "?x=http://h/")));
        check("HTTP://h:1/p?q", Some((Some("h:1"), "/p", "?q")));
        check("https://[::1]:1", Some((Some("[::1]:1"), "", "")));
        check("//h/p", Some((Some("h"), "/p", "")));
        check("/a:b", Some((None, "/a:b", "")));
        check("", Some((None, "", "")));
        for refused in ["ftp://h/p", "mailto:x", "http:/p", "http:p", "http:///p", "http://u@h/p", "/a b", "/a\\b", "/a\u{7f}", "\t/a"] {
            check(refused, None);
        }
    }

    fn check_resolved(base: &str, text: &str, expected: &str) {
        assert_eq!(Reference::parse(text).unwrap().resolve(base), expected, "{base} {text}");
    }

    #[test]
    fn references_are_resolved() {
        check_resolved("/a/sse", "message?x", "/a/message");
        check_resolved("/a/sse/", "message", "/a/sse/message");
        check_resolved("/a/sse", "/message", "/message");
        check_resolved("/a/sse", "?x", "/a/sse");
        check_resolved("/a/b/sse", "../message", "/a/message");
        check_resolved("/a/b/sse", "./message/.", "/a/b/message/");
        check_resolved("/a/b/sse", "../../../..", "/");
        check_resolved("/a/b/sse", "..", "/a/");
        check_resolved("/sse", "http://h", "");
        check_resolved("/sse", "http://h/x/../y", "/y");
    }

    fn check_same(one: &str, other: &str, expected: bool) {
        assert_eq!(same_authority(one, other), expected, "{one} {other}");
        assert_eq!(same_authority(other, one), expected, "{other} {one}");
    }

    #[test]
    fn authorities_are_compared_as_servers() {
        check_same("H.example:3001", "h.example:3001", true);
        check_same("h.example", "h.example:443", true);
        check_same("h.example:80", "h.example:443", true);
        check_same("localhost:3001", "127.0.0.1:3001", true);
        check_same("[::1]:3001", "localhost:3001", true);
        check_same("[::1]", "[::1]:80", true);
        check_same("localhost:3001", "localhost:3002", false);
        check_same("h.example:3001", "g.example:3001", false);
        check_same("h.example", "h.example.evil.test", false);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC*", base in "/[a-z/.]*") {
            if let Some(reference) = Reference::parse(&text) {
                reference.resolve(&base);
                let end = [reference.path, reference.rest].concat();
                prop_assert!(text.ends_with(&end));
            }
        }

        #[test]
        fn what_is_resolved_has_no_dots_left(text in "[a./]{0,12}", base in "/[a/.]{0,12}") {
            if let Some(reference) = Reference::parse(&text).filter(|reference| !reference.path.is_empty()) {
                let resolved = reference.resolve(&base);
                prop_assert!(!resolved.split('/').any(|segment| matches!(segment, "." | "..")), "{}", resolved);
            }
        }
    }
}
