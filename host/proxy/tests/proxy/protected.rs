//! How a client of the gate learns where to get a token: the challenge names the metadata, and the metadata is there without one.

use watchgate_proxy::{Mount, ProxyConfig, ServerConfig};
use watchgate_tests::http1::request;
use watchgate_tests::{Reply, Scripted};

use crate::rig::{CALL, RESULT, Rig, named};
use crate::tokens::{Issuer, with_tokens};

const ROOT: &str = "/.well-known/oauth-protected-resource";

/// A server that answers calls, and a request for its metadata with `{"resource":...}` of its own.
fn server() -> Scripted {
    Scripted::start(|exchange| {
        let target = exchange.request.head.target().to_owned();
        if target.starts_with(ROOT) {
            return exchange.json(
                200,
                format!(r#"{{"resource":"http://{}/mcp","authorization_servers":[]}}"#, exchange.request.head.header("host").unwrap()),
            );
        }
        exchange.json(200, RESULT)
    })
}

/// A gate for tokens of one issuer in front of a server that clients know as `public_url`.
struct Gate {
    issuer: Issuer,
    rig: Rig,
}

impl Gate {
    fn new(upstream: &Scripted, mount: Mount, public_url: Option<&str>, authorization_servers: &[&str]) -> Self {
        let issuer = Issuer::new("a");
        let mut config = with_tokens(upstream, issuer.file());
        let auth = config.auth.as_mut().unwrap();
        auth.pass_authorization = authorization_servers.is_empty();
        auth.jwt.as_mut().unwrap().authorization_servers = authorization_servers.iter().map(|server| (*server).to_owned()).collect();
        let server = ServerConfig {
            path: "/mcp".into(),
            public_url: public_url.map(str::to_owned),
            ..named("weather", mount, &[upstream.address()])
        };
        Self { issuer, rig: Rig::new(ProxyConfig { servers: vec![server], ..config }) }
    }

    fn post(&self, path: &str, authorization: Option<&str>) -> Reply {
        let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
        let mut connection = self.rig.connect();
        connection.send(&request("POST", path, &headers, CALL.as_bytes())).unwrap();
        connection.reply().unwrap()
    }

    fn get(&self, path: &str) -> Reply {
        self.rig.ask("GET", path, &[])
    }
}

#[track_caller]
fn check_challenge(reply: &Reply, challenge: &str) {
    assert_eq!((reply.status(), reply.head.header("www-authenticate")), (401, Some(challenge)));
}

#[track_caller]
fn check_document(reply: &Reply, document: &str) {
    assert_eq!((reply.status(), reply.head.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.text(), document);
}

const DOCUMENT: &str =
    r#"{"resource":"https://gw.test/weather","authorization_servers":["https://login.test"],"bearer_methods_supported":["header"]}"#;

#[test]
fn a_page_may_ask_for_the_metadata_that_the_gateway_gives() {
    let upstream = server();
    let gate = Gate::new(&upstream, Mount::Prefix, Some("https://gw.test/weather"), &["https://login.test"]);
    let asked = [
        ("Origin", "http://localhost:6274"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "mcp-protocol-version"),
    ];
    let path = format!("{ROOT}/weather");
    let reply = gate.rig.ask("OPTIONS", &path, &asked);
    let said = ["access-control-allow-origin", "access-control-allow-headers"].map(|name| reply.head.header(name).map(str::to_owned));
    assert_eq!((reply.status(), said), (204, [Some("http://localhost:6274".to_owned()), Some("mcp-protocol-version".to_owned())]));
    let reply = gate.rig.ask("GET", &path, &asked[..1]);
    check_document(&reply, DOCUMENT);
    assert_eq!(reply.head.header("access-control-allow-origin"), Some("http://localhost:6274"));
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_client_without_a_token_finds_its_way_to_one() {
    let upstream = server();
    let gate = Gate::new(&upstream, Mount::Prefix, Some("https://gw.test/weather"), &["https://login.test"]);
    let metadata = format!("resource_metadata=\"https://gw.test/weather{ROOT}\"");
    check_challenge(&gate.post("/weather", None), &format!("Bearer {metadata}"));
    check_challenge(&gate.post("/weather", Some("Bearer bad")), &format!("Bearer error=\"invalid_token\", {metadata}"));
    let expired = gate.issuer.token("gateway", -60);
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"The access token expired\", {metadata}");
    check_challenge(&gate.post("/weather", Some(&expired)), &challenge);
    // Where the challenge says, and where clients look by themselves.
    for path in [format!("/weather{ROOT}"), format!("{ROOT}/weather"), format!("{ROOT}/weather/mcp"), ROOT.to_owned()] {
        check_document(&gate.get(&path), DOCUMENT);
    }
    assert!(upstream.requests().is_empty(), "the server has no part in it");
    assert_eq!(gate.post("/weather", Some(&gate.issuer.token("gateway", 60))).text(), RESULT);
    let metrics = gate.rig.metrics();
    assert_eq!(metrics.metric("watchgate_http_requests_total", &[("server", "weather"), ("status", "200"), ("outcome", "ok")]), 5.0);
}

#[test]
fn a_server_at_the_root_has_its_metadata_where_the_rfc_says() {
    let upstream = server();
    let gate = Gate::new(&upstream, Mount::Root, Some("https://gw.test/weather"), &["https://login.test"]);
    check_challenge(&gate.post("/weather", None), &format!("Bearer resource_metadata=\"https://gw.test{ROOT}/weather\""));
    check_document(&gate.get(&format!("{ROOT}/weather")), DOCUMENT);
    let mut connection = gate.rig.connect();
    connection.send(&request("HEAD", ROOT, &[], b"")).unwrap();
    let head = connection.head().unwrap();
    assert_eq!((head.status(), head.header("content-length")), (200, Some(DOCUMENT.len().to_string().as_str())));
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_server_that_is_handed_the_tokens_is_asked_for_its_own() {
    let upstream = server();
    let gate = Gate::new(&upstream, Mount::Prefix, Some("https://gw.test/weather"), &[]);
    let path = format!("/weather{ROOT}/mcp");
    check_challenge(&gate.post("/weather", None), &format!("Bearer resource_metadata=\"https://gw.test{path}\""));
    check_document(&gate.get(&path), r#"{"resource":"https://gw.test/weather","authorization_servers":[]}"#);
    assert_eq!(upstream.requests()[0].head.target(), format!("{ROOT}/mcp"));
}

#[test]
fn without_a_public_url_nothing_is_claimed() {
    let upstream = server();
    let gate = Gate::new(&upstream, Mount::Prefix, None, &["https://login.test"]);
    check_challenge(&gate.post("/weather", None), "Bearer");
    assert_eq!(gate.get(&format!("/weather{ROOT}/mcp")).status(), 200);
    assert_eq!(upstream.requests().len(), 1, "the server may know its URL");
}

#[test]
fn metadata_is_no_way_around_the_gate() {
    for mount in [Mount::Root, Mount::Prefix] {
        let upstream = server();
        let gate = Gate::new(&upstream, mount, None, &["https://login.test"]);
        for path in [
            "/.well-known/../mcp",
            "/.well-known/x/../../mcp",
            "/.well-known/%2e%2e/mcp",
            "/.well-known/..%2Fmcp",
            "/.well-known/..;/mcp",
            "/.well-known/..\\mcp",
            "/.well-known",
            "/mcp/.well-known/x",
        ] {
            check_challenge(&gate.get(path), "Bearer");
            check_challenge(&gate.get(&format!("/weather{path}")), "Bearer");
        }
        check_challenge(&gate.post("/.well-known/x", None), "Bearer");
        assert!(upstream.requests().is_empty());
    }
}
