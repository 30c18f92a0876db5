//! The URL of a collector, taken apart once.

use http::Uri;
use http::uri::Scheme;

use super::error::PushConfigError;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// As in the URL, for `Host` and `:authority`.
    pub authority: String,
    /// Of HTTP requests; begins with `/`.
    pub path: String,
}

impl Endpoint {
    /// `usual_path` is that of a URL without one.
    pub fn parse(url: &str, usual_path: &str) -> Result<Self, PushConfigError> {
        let refused = || PushConfigError::Endpoint(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(refused()),
        };
        let authority = uri.authority().ok_or_else(refused)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(refused());
        }
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => usual_path,
            Some(path) => path,
        };
        Ok(Self {
            is_tls,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn urls_are_taken_apart() {
        let check = |url: &str, is_tls: bool, host: &str, port: u16, path: &str| {
            let found = Endpoint::parse(url, "/v1/traces").unwrap();
            assert_eq!((found.is_tls, found.host.as_str(), found.port, found.path.as_str()), (is_tls, host, port, path), "{url}");
        };
        check("http://localhost:4318", false, "localhost", 4318, "/v1/traces");
        check("http://localhost:4318/", false, "localhost", 4318, "/v1/traces");
        check("https://collector.example/otlp?x=1", true, "collector.example", 443, "/otlp?x=1");
        check("http://[::1]:9411/api/v2/spans", false, "::1", 9411, "/api/v2/spans");
        for bad in ["", "localhost:4317", "ftp://a", "http://", "http://user:secret@a/", "http://a b/", "/v1/traces", "unix:///a"] {
            assert!(Endpoint::parse(bad, "/").is_err(), "{bad}");
        }
    }
}
