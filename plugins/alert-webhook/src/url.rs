//! The receiver's address, taken apart as `wasi:http` wants it.

/// An `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether the scheme is `https`.
    pub is_https: bool,
    /// `host` or `host:port`.
    pub authority: String,
    /// Path and query, never empty.
    pub path: String,
}

impl Url {
    /// Takes a URL apart. A fragment is left out, as it is never sent.
    ///
    /// # Errors
    /// Another scheme, no host, user information (use a header), or a character that may not stand in a URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (is_https, rest) = if let Some(rest) = strip_scheme(text, "http://") {
            (false, rest)
        } else if let Some(rest) = strip_scheme(text, "https://") {
            (true, rest)
        } else {
            return Err("it must begin with http:// or https://");
        };
        if !rest
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'))
        {
            return Err("it holds a character that must be percent-encoded");
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        if authority.contains('@') {
            return Err("it must not hold a user name; use `headers`");
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err("it has no host");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { is_https, authority: authority.to_owned(), path: format!("{slash}{path}") })
    }
}

fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (found, rest) = text.split_at_checked(scheme.len())?;
    found.eq_ignore_ascii_case(scheme).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::Url;

    fn check(text: &str, expected: Result<(bool, &str, &str), &str>) {
        let found = Url::parse(text);
        let found = found.as_ref().map(|url| (url.is_https, url.authority.as_str(), url.path.as_str())).map_err(|reason| *reason);
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn takes_urls_apart() {
        check("http://a", Ok((false, "a", "/")));
        check("HTTPS://a.example:8443/b/c?d=e#f", Ok((true, "a.example:8443", "/b/c?d=e")));
        check("http://[::1]:80?x", Ok((false, "[::1]:80", "/?x")));
        check("ftp://a", Err("it must begin with http:// or https://"));
        check("", Err("it must begin with http:// or https://"));
        check("http:///x", Err("it has no host"));
        check("http://:80", Err("it has no host"));
        check("http://u:p@a", Err("it must not hold a user name; use `headers`"));
        check("http://a/b c", Err("it holds a character that must be percent-encoded"));
        check("http://a/\r\nx: y", Err("it holds a character that must be percent-encoded"));
    }

    proptest! {
        #[test]
        fn survives_anything(text in any::<String>()) {
            let _either = Url::parse(&text);
            let _either = Url::parse(&format!("http://{text}"));
        }
    }
}
