//! `[NAME=]URL`, `url = "..."` and other URLs of the configuration. Pure.

use http::Uri;
use http::uri::Authority;
use watchgate_proxy::{EndpointConfig, Mount, ServerConfig};

/// The name in labels of a server that was given none.
pub const DEFAULT_NAME: &str = "default";

/// Reads one value of `--upstream`.
///
/// # Errors
/// A sentence that completes "VALUE ...".
pub fn parse_flag(value: &str) -> Result<ServerConfig, String> {
    // A name holds no `:` or `/`, so an `=` behind one belongs to the URL.
    match value.split_once('=') {
        Some((name, url)) if !name.contains([':', '/']) => parse(name, url, Mount::Prefix),
        _ => parse(DEFAULT_NAME, value, Mount::Root),
    }
}

/// Reads the URL under which clients know a server; without a slash at its end.
///
/// # Errors
/// A sentence that completes "VALUE ...".
pub fn public(url: &str) -> Result<String, String> {
    checked(url).map(|_| url.trim_end_matches('/').to_owned())
}

/// Reads the URL of something other than a server that the gateway asks; `example` is one that would do.
///
/// # Errors
/// A sentence that completes "VALUE ...".
pub fn fetched(url: &str, example: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|_| format!("is not a URL such as {example}: \"{url}\""))?;
    authority(&uri, url)?;
    Ok(url.to_owned())
}

/// Checks the identifier of an authorization server (RFC 8414, 2): a URL without query and fragment.
///
/// # Errors
/// A sentence that completes "VALUE ...".
pub fn issuer(url: &str) -> Result<(), String> {
    if url.contains('#') {
        return Err(format!("must not have a fragment: \"{url}\""));
    }
    checked(url).map(|_| ())
}

/// Reads a server's URL.
///
/// # Errors
/// A sentence that completes "VALUE ...".
pub fn parse(name: &str, url: &str, mount: Mount) -> Result<ServerConfig, String> {
    check_name(name)?;
    let (uri, tls) = checked(url)?;
    let authority = authority(&uri, url)?;
    let host = uri.host().unwrap_or_default();
    let endpoint = EndpointConfig {
        authority: authority.as_str().to_owned(),
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        tls,
    };
    // `http` gives a lone slash to a URL without a path.
    let path = if uri.path() == "/" { "" } else { uri.path() };
    Ok(ServerConfig::new(name, endpoint, path, mount))
}

/// A URL of a server as it may be, and whether it is `https`.
fn checked(url: &str) -> Result<(Uri, bool), String> {
    let uri: Uri = url.parse().map_err(|_| format!("is not a URL such as http://127.0.0.1:3001/mcp: \"{url}\""))?;
    authority(&uri, url)?;
    if uri.query().is_some() {
        return Err("must not have a query".to_owned());
    }
    let tls = uri.scheme_str() == Some("https");
    Ok((uri, tls))
}

/// Its authority, when the scheme is one of HTTP's and there are no credentials.
fn authority<'u>(uri: &'u Uri, url: &str) -> Result<&'u Authority, String> {
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("must begin with http:// or https://: \"{url}\""));
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(|| format!("names no host: \"{url}\""))?;
    if authority.as_str().contains('@') {
        return Err("must not hold credentials".to_owned());
    }
    Ok(authority)
}

fn check_name(name: &str) -> Result<(), String> {
    let fits =
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if name == "_other" {
        return Err("the server name \"_other\" stands in metrics for what belongs to no server".to_owned());
    }
    // `/.well-known/` belongs to no server, and a dot alone is a relative path.
    if fits && !name.starts_with('.') {
        Ok(())
    } else {
        Err(format!("the server name \"{name}\" must be 1 to 64 letters, digits, `-`, `_` or `.`, and not begin with a dot"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Result<(&str, &str, u16, &str, Mount), &str>) {
        let found = parse_flag(value);
        match (&found, &expected) {
            (Ok(found), Ok((name, host, port, path, mount))) => {
                let endpoint = &found.endpoints[0];
                assert_eq!(
                    (&*found.name, &*endpoint.host, endpoint.port, &*found.path, &found.mount),
                    (*name, *host, *port, *path, mount),
                    "{value}"
                );
                assert_eq!(endpoint.tls, value.contains("https:"), "{value}");
            }
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{value}: {found}"),
            _ => panic!("{value}: {found:?}"),
        }
    }

    #[test]
    fn public_and_fetched_urls() {
        assert_eq!(public("https://mcp.example.com/weather/").unwrap(), "https://mcp.example.com/weather");
        assert!(public("https://mcp.example.com/?a=b").unwrap_err().contains("query"));
        assert!(public("mcp.example.com").unwrap_err().contains("http://"));
        let example = "https://issuer.example.com/jwks";
        assert_eq!(fetched("https://issuer.example.com/jwks?v=1", example).unwrap(), "https://issuer.example.com/jwks?v=1");
        assert!(fetched("file:///etc/jwks", example).unwrap_err().contains("http"));
        assert!(fetched("a b", example).unwrap_err().contains("such as https://issuer.example.com/jwks"));
    }

    #[test]
    fn urls_and_names() {
        check("http://127.0.0.1:3001", Ok(("default", "127.0.0.1", 3001, "", Mount::Root)));
        check("http://h/mcp/", Ok(("default", "h", 80, "/mcp/", Mount::Root)));
        check("weather=http://[::1]:9/x", Ok(("weather", "::1", 9, "/x", Mount::Prefix)));
        check("http://h/p?a=b", Err("query"));
        check("https://h/", Ok(("default", "h", 443, "", Mount::Root)));
        check("h:80", Err("http://"));
        check("a b=http://h/", Err("server name"));
        check(".x=http://h/", Err("server name"));
        check("_other=http://h/", Err("belongs to no server"));
        check("http://u:p@h/", Err("credentials"));
        check("w=", Err("not a URL"));
    }
}
