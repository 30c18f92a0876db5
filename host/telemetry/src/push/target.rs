//! A configured endpoint and its headers, checked.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Uri, Version};

use super::error::PushConfigError;
use crate::push::PushConfig;

/// Headers that belong to the transport.
const OURS: [&str; 8] =
    ["connection", "content-encoding", "content-length", "content-type", "grpc-encoding", "host", "te", "transfer-encoding"];

/// Where requests go, and what they carry.
#[derive(Debug)]
pub(super) struct Target {
    pub https: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// As it stands in the URL.
    pub authority: String,
    pub path: PathAndQuery,
    pub headers: HeaderMap,
    pub timeout: Duration,
}

impl Target {
    /// Checks the endpoint; `default_path` stands in where it has none.
    pub fn new(config: &PushConfig, default_path: &'static str) -> Result<Self, PushConfigError> {
        let shown = shown(&config.endpoint);
        let wrong = |reason| PushConfigError::Endpoint { endpoint: shown.clone(), reason };
        let uri: Uri = config.endpoint.parse().map_err(|_| wrong("it is no URL"))?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) => return Err(wrong("its scheme is neither http nor https")),
            None => return Err(wrong("it has no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("credentials belong into a header"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| wrong("its port is no number up to 65535"))?,
            None if https => 443,
            None => 80,
        };
        let path = match uri.path_and_query() {
            Some(path) if path.as_str() != "/" => path.clone(),
            _ => PathAndQuery::from_static(default_path),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let refused = || PushConfigError::Header(name.clone());
            let (Ok(key), Ok(mut text)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value.0)) else { return Err(refused()) };
            if OURS.contains(&key.as_str()) {
                return Err(refused());
            }
            text.set_sensitive(true);
            headers.append(key, text);
        }
        Ok(Self { https, host, port, authority: authority.to_string(), path, headers, timeout: config.timeout })
    }

    /// The request line's URI: in HTTP/2 it names scheme and authority too.
    pub fn uri(&self, version: Version) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(self.path.clone());
        if version == Version::HTTP_2 {
            parts.scheme = Some(if self.https { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = self.authority.parse().ok();
        }
        Uri::from_parts(parts).expect("the parts come from a URI")
    }

    /// For people: without query, which may hold a key.
    pub fn shown(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path.path())
    }
}

/// The endpoint without what may be a password or a key.
fn shown(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").map_or(("", endpoint), |(scheme, rest)| (scheme, rest));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if scheme.is_empty() { format!("{authority}{path}") } else { format!("{scheme}://{authority}{path}") }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::Target;
    use crate::push::PushConfigError;
    use crate::push::{HeaderValueText, PushConfig};

    fn target(endpoint: &str, headers: &[(&str, &str)]) -> Result<Target, PushConfigError> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), HeaderValueText((*value).to_owned()))).collect();
        Target::new(&PushConfig { endpoint: endpoint.to_owned(), headers, ..PushConfig::default() }, "/v1/traces")
    }

    fn check(endpoint: &str, host: &str, port: u16, uri: &str) {
        let target = target(endpoint, &[]).unwrap();
        assert_eq!((target.host.as_str(), target.port), (host, port), "{endpoint}");
        assert_eq!(target.uri(Version::HTTP_2), uri, "{endpoint}");
        assert_eq!(target.uri(Version::HTTP_11), target.path.as_str());
    }

    #[test]
    fn an_endpoint_without_a_path_gets_the_usual_one() {
        check("http://localhost:4318", "localhost", 4318, "http://localhost:4318/v1/traces");
        check("http://localhost:4318/", "localhost", 4318, "http://localhost:4318/v1/traces");
        check("https://otlp.example", "otlp.example", 443, "https://otlp.example/v1/traces");
        check("http://[::1]/custom?x=1", "::1", 80, "http://[::1]/custom?x=1");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_without_saying_secrets() {
        for endpoint in [
            "",
            "localhost:4318",
            "/v1/traces",
            "ftp://x",
            "http://",
            "http://x:99999",
            "http://x:",
            "http://user:hunter2@x/",
            "http://a b",
        ] {
            let error = target(endpoint, &[]).unwrap_err();
            assert!(matches!(error, PushConfigError::Endpoint { .. }), "{endpoint}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert_eq!(target("http://x/p?api-key=hunter2", &[]).unwrap().shown(), "http://x/p");
        for (name, value) in [("a b", "c"), ("x", "hunter2\r\n"), ("", "x"), ("content-type", "x"), ("Host", "x")] {
            let error = target("http://x", &[(name, value)]).unwrap_err();
            assert!(matches!(&error, PushConfigError::Header(named) if named == name), "{error}");
        }
        let config = PushConfig { headers: vec![("a".into(), HeaderValueText("hunter2".into()))], ..PushConfig::default() };
        assert!(!format!("{config:?}{:?}", target("http://x", &[("authorization", "hunter2")]).unwrap()).contains("hunter2"));
    }
}
