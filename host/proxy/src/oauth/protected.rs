//! Where clients of the gate learn who gives them tokens: protected-resource metadata (RFC 9728) of the gateway's own, or of a server that is
//! handed the tokens.

use bytes::Bytes;
use http::{Method, Uri};
use watchgate_mcp::json::escape_into;

use super::{PROTECTED_RESOURCE, is_below};
use crate::config::AuthConfig;
use crate::server_config::{Mount, ServerConfig};

/// One server whose clients show tokens to the gateway, and know the server by its public URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProtectedResource {
    /// Of the metadata.
    url: String,
    /// The metadata, where it is the gateway that speaks for the server.
    document: Option<Bytes>,
}

impl ProtectedResource {
    /// `None` where clients show no tokens, the server's URL is not known, or nobody says who gives tokens.
    pub(crate) fn of(server: &ServerConfig, auth: Option<&AuthConfig>) -> Option<Self> {
        let auth = auth?;
        let authorization_servers = &auth.jwt.as_ref()?.authorization_servers;
        let public_url = server.public_url.as_deref()?.trim_end_matches('/');
        if authorization_servers.is_empty() && !auth.pass_authorization {
            return None;
        }
        let document = (!authorization_servers.is_empty()).then(|| document(public_url, authorization_servers));
        let url = match server.mount {
            // Below the mount, which whatever stands in front of the gateway leads to it.
            Mount::Prefix if document.is_some() => format!("{public_url}{PROTECTED_RESOURCE}"),
            Mount::Prefix => format!("{public_url}{PROTECTED_RESOURCE}{}", server.path.trim_end_matches('/')),
            Mount::Root | Mount::Hosts(_) => inserted(public_url)?,
        };
        // It goes between quotes.
        let is_quotable = url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        is_quotable.then_some(Self { url, document })
    }

    /// For `resource_metadata` of a challenge.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The metadata, if that is what the server was to be asked for and the gateway speaks for it.
    pub(crate) fn answer(&self, method: &Method, path: &str) -> Option<Bytes> {
        let document = self.document.as_ref()?;
        (matches!(*method, Method::GET | Method::HEAD) && is_below(path, PROTECTED_RESOURCE)).then(|| document.clone())
    }
}

/// RFC 9728, 3.1: the well-known part stands between the host and the path.
fn inserted(public_url: &str) -> Option<String> {
    let uri: Uri = public_url.parse().ok()?;
    Some(format!("{}://{}{PROTECTED_RESOURCE}{}", uri.scheme_str()?, uri.authority()?, uri.path().trim_end_matches('/')))
}

/// RFC 9728, 2. Tokens are taken from `Authorization` alone.
fn document(resource: &str, authorization_servers: &[String]) -> Bytes {
    let mut out = br#"{"resource":""#.to_vec();
    escape_into(&mut out, resource);
    out.extend_from_slice(br#"","authorization_servers":["#);
    for (place, server) in authorization_servers.iter().enumerate() {
        out.extend_from_slice(if place == 0 { b"\"" } else { b",\"" });
        escape_into(&mut out, server);
        out.push(b'"');
    }
    out.extend_from_slice(br#"],"bearer_methods_supported":["header"]}"#);
    out.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{JwksSource, JwtConfig};
    use crate::server_config::EndpointConfig;

    fn tokens(authorization_servers: &[&str], pass_authorization: bool) -> AuthConfig {
        let jwt = JwtConfig {
            jwks: JwksSource::Url("http://issuer.test/jwks".into()),
            issuers: vec!["https://issuer.test".into()],
            audiences: vec!["gateway".into()],
            name_claim: "sub".into(),
            leeway: Duration::ZERO,
            refresh: Duration::from_secs(1),
            authorization_servers: authorization_servers.iter().map(|server| (*server).to_owned()).collect(),
        };
        AuthConfig { keys: Vec::new(), jwt: Some(jwt), pass_authorization }
    }

    fn server(mount: Mount, path: &str, public_url: Option<&str>) -> ServerConfig {
        let mut server = ServerConfig::new("weather", EndpointConfig::http([127, 0, 0, 1].into(), 1), path, mount);
        server.public_url = public_url.map(str::to_owned);
        server
    }

    fn check(server: &ServerConfig, auth: &AuthConfig, url: Option<&str>, document: Option<&str>) {
        let resource = ProtectedResource::of(server, Some(auth));
        assert_eq!(resource.as_ref().map(ProtectedResource::url), url);
        let said = resource.and_then(|resource| resource.answer(&Method::GET, PROTECTED_RESOURCE));
        assert_eq!(said.as_deref().map(|said| str::from_utf8(said).unwrap()), document);
    }

    #[test]
    fn the_gateway_speaks_for_servers_whose_authorization_servers_it_knows() {
        let auth = tokens(&["https://login.test", "https://other.test/a\"b"], false);
        let said = r#"{"resource":"https://gw.test/weather","authorization_servers":["https://login.test","https://other.test/a\"b"],"bearer_methods_supported":["header"]}"#;
        for mounted in
            [server(Mount::Prefix, "/mcp", Some("https://gw.test/weather")), server(Mount::Prefix, "", Some("https://gw.test/weather/"))]
        {
            check(&mounted, &auth, Some("https://gw.test/weather/.well-known/oauth-protected-resource"), Some(said));
        }
        let root = server(Mount::Root, "", Some("https://gw.test/weather"));
        check(&root, &auth, Some("https://gw.test/.well-known/oauth-protected-resource/weather"), Some(said));
        let hosts = server(Mount::Hosts(vec!["gw.test".into()]), "", Some("https://gw.test"));
        let said = said.replace("gw.test/weather", "gw.test");
        check(&hosts, &auth, Some("https://gw.test/.well-known/oauth-protected-resource"), Some(&said));
    }

    #[test]
    fn a_server_that_is_handed_the_tokens_speaks_for_itself() {
        let auth = tokens(&[], true);
        let mounted = server(Mount::Prefix, "/mcp", Some("https://gw.test/weather"));
        check(&mounted, &auth, Some("https://gw.test/weather/.well-known/oauth-protected-resource/mcp"), None);
        let root = server(Mount::Root, "/mcp", Some("https://gw.test/mcp"));
        check(&root, &auth, Some("https://gw.test/.well-known/oauth-protected-resource/mcp"), None);
    }

    #[test]
    fn what_nobody_knows_is_not_said() {
        let mounted = server(Mount::Prefix, "/mcp", Some("https://gw.test/weather"));
        check(&mounted, &tokens(&[], false), None, None);
        check(&mounted, &AuthConfig { jwt: None, ..tokens(&["https://login.test"], true) }, None, None);
        check(&server(Mount::Prefix, "/mcp", None), &tokens(&["https://login.test"], true), None, None);
        check(&server(Mount::Prefix, "", Some("https://gw.test/a\"b")), &tokens(&["https://login.test"], true), None, None);
        assert_eq!(ProtectedResource::of(&mounted, None), None);
    }

    #[test]
    fn only_the_metadata_is_answered() {
        let root = server(Mount::Root, "", Some("https://gw.test"));
        let resource = ProtectedResource::of(&root, Some(&tokens(&["https://login.test"], false))).unwrap();
        let check = |method: Method, path: &str, is_answered: bool| {
            assert_eq!(resource.answer(&method, path).is_some(), is_answered, "{method} {path}");
        };
        check(Method::GET, "/.well-known/oauth-protected-resource", true);
        check(Method::HEAD, "/.well-known/oauth-protected-resource/mcp", true);
        check(Method::GET, "/.well-known/oauth-protected-resources", false);
        check(Method::POST, "/.well-known/oauth-protected-resource", false);
        check(Method::GET, "/.well-known/oauth-authorization-server", false);
        check(Method::GET, "/mcp", false);
    }
}
