//! The guard against foreign hosts and pages, and the gate for clients with keys or tokens.

use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};
use watchgate_proxy::{AuthConfig, ClientKey, GuardConfig, ProxyConfig};
use watchgate_tests::http1::{Reply, request};
use watchgate_tests::{Scripted, wait_until};

use crate::rig::{CALL, Conditions, RESULT, Rig, config, post, server};

/// A key that some client has.
pub const KEY: &str = "wg-0123456789abcdef";

/// A key as it is configured.
pub fn key(name: &str, key: &str) -> ClientKey {
    ClientKey { name: name.into(), digest: Sha256::digest(key).into() }
}

pub fn answering() -> Scripted {
    Scripted::start(|exchange| exchange.json(200, RESULT))
}

fn guarded(upstream: &Scripted, guard: GuardConfig) -> Rig {
    Rig::new(ProxyConfig { guard, ..config(vec![server(&[upstream.address()])]) })
}

pub fn with_keys(upstream: &Scripted, pass_authorization: bool) -> ProxyConfig {
    let auth = AuthConfig { keys: vec![key("ann", KEY), key("bob", "bobs")], jwt: None, pass_authorization };
    ProxyConfig { auth: Some(auth), ..config(vec![server(&[upstream.address()])]) }
}

fn ask(rig: &Rig, bytes: &[u8]) -> Reply {
    let mut connection = rig.connect();
    connection.send(bytes).unwrap();
    connection.reply().unwrap()
}

/// Nothing of a refused request is read, so its answer carries no id.
#[track_caller]
fn check_refused(reply: &Reply, status: u16, reason: &str) {
    let body = reply.json().unwrap();
    assert_eq!((reply.status(), body["error"]["data"]["reason"].as_str()), (status, Some(reason)), "{body}");
    assert_eq!(body["error"]["code"], -31001);
    assert_eq!(body.get("id").filter(|id| !id.is_null()), None);
}

fn fields(fields: &[&str]) -> Vec<u8> {
    format!("POST /mcp HTTP/1.1\r\n{}\r\nContent-Length: {}\r\n\r\n{CALL}", fields.join("\r\n"), CALL.len()).into_bytes()
}

#[test]
fn only_hosts_and_origins_of_this_machine_get_past_the_guard_of_loopback() {
    let upstream = answering();
    let rig = guarded(&upstream, GuardConfig::loopback());
    let port = rig.address.port();
    for let_in in [
        vec![format!("Host: localhost:{port}")],
        vec![format!("Host: 127.0.0.1:{port}"), "Origin: http://localhost:6274".into()],
        vec!["Host: [::1]".into(), "Origin: https://127.0.0.1".into()],
    ] {
        let let_in: Vec<&str> = let_in.iter().map(String::as_str).collect();
        assert_eq!(ask(&rig, &fields(&let_in)).status(), 200, "{let_in:?}");
    }
    for (foreign, reason) in [
        (&["Host: evil.test"][..], "host_not_allowed"),
        (&["Host: localhost.evil.test"], "host_not_allowed"),
        (&["Host: localhost", "Origin: http://evil.test"], "origin_not_allowed"),
        (&["Host: localhost", "Origin: null"], "origin_not_allowed"),
        (&["Host: evil.test", "Origin: http://localhost"], "host_not_allowed"),
    ] {
        check_refused(&ask(&rig, &fields(foreign)), 403, reason);
    }
    assert_eq!(upstream.requests().len(), 3);
    rig.wait_for("watchgate_guard_refused_total", &[("reason", "host")], 3.0);
    rig.wait_for("watchgate_guard_refused_total", &[("reason", "origin")], 2.0);
}

#[test]
fn a_target_with_a_host_counts_and_must_be_the_same_as_the_field() {
    let upstream = answering();
    let rig = guarded(&upstream, GuardConfig::loopback());
    let ask = |target: &str, host: &str| ask(&rig, &request("POST", target, &[("Host", host)], CALL.as_bytes()));
    assert_eq!(ask("http://localhost:80/mcp", "localhost").status(), 200);
    check_refused(&ask("http://evil.test/mcp", "localhost"), 403, "host_not_allowed");
    check_refused(&ask("http://localhost/mcp", "evil.test"), 403, "host_not_allowed");
    check_refused(&ask("http://evil.test/mcp", "evil.test"), 403, "host_not_allowed");
    let received = upstream.requests();
    assert_eq!((received.len(), received[0].head.target(), received[0].head.header("host")), (1, "/mcp", Some("localhost:80")));
}

#[test]
fn two_hosts_are_refused_by_any_guard() {
    let upstream = answering();
    for guard in [GuardConfig::OPEN, GuardConfig::loopback()] {
        let rig = guarded(&upstream, guard);
        check_refused(&ask(&rig, &fields(&["Host: localhost", "Host: 127.0.0.1"])), 403, "host_not_allowed");
        check_refused(&ask(&rig, &fields(&["Host: localhost", "Host: localhost"])), 403, "host_not_allowed");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn an_open_guard_passes_what_is_foreign_and_the_server_decides() {
    let upstream = Scripted::start(|exchange| exchange.respond(421, &[("Content-Type", "text/plain")], b"Invalid Host header"));
    let rig = guarded(&upstream, GuardConfig::OPEN);
    let reply = ask(&rig, &fields(&["Host: evil.test", "Origin: null"]));
    assert_eq!((reply.status(), reply.text().as_str()), (421, "Invalid Host header"));
    assert_eq!(upstream.requests()[0].head.header("host"), Some("evil.test"));
}

#[test]
fn a_page_that_is_let_in_may_read_the_gateways_own_answers() {
    let upstream = answering();
    let rig = Rig::new(ProxyConfig { guard: GuardConfig::loopback(), ..with_keys(&upstream, false) });
    let allowed = |reply: &Reply| reply.head.header("access-control-allow-origin").map(str::to_owned);
    let page = "Origin: http://localhost:6274";
    let reply = ask(&rig, &fields(&["Host: localhost", page]));
    check_refused(&reply, 401, "unauthorized");
    assert_eq!((allowed(&reply).as_deref(), reply.head.header("vary")), (Some("http://localhost:6274"), Some("origin")));
    assert!(reply.head.header("access-control-expose-headers").unwrap().contains("www-authenticate"));
    // No page asks, or one that is not let in.
    assert_eq!(allowed(&ask(&rig, &fields(&["Host: localhost"]))), None);
    let reply = ask(&rig, &fields(&["Host: localhost", "Origin: http://evil.test"]));
    check_refused(&reply, 403, "origin_not_allowed");
    assert_eq!(allowed(&reply), None);
    // What the server answers is the server's.
    let reply = ask(&rig, &fields(&["Host: localhost", page, &format!("Authorization: Bearer {KEY}")]));
    assert_eq!((reply.status(), allowed(&reply)), (200, None));
}

#[test]
fn a_connection_goes_on_after_a_refusal() {
    let upstream = answering();
    let rig = guarded(&upstream, GuardConfig::loopback());
    let mut connection = rig.connect();
    for (host, status) in [("evil.test", 403), ("localhost", 200), ("evil.test", 403), ("localhost", 200)] {
        connection.send(&request("POST", "/mcp", &[("Host", host)], CALL.as_bytes())).unwrap();
        assert_eq!(connection.reply().unwrap().status(), status);
    }
}

#[track_caller]
pub fn check_challenged(reply: &Reply, challenge: &str) {
    check_refused(reply, 401, "unauthorized");
    assert_eq!(reply.head.header("www-authenticate"), Some(challenge));
}

pub const INVALID: &str = "Bearer error=\"invalid_token\"";

#[test]
fn only_clients_with_a_key_are_let_in() {
    let upstream = answering();
    let rig = Rig::new(with_keys(&upstream, false));
    let with = |value: &str| rig.post_with(&[("Authorization", value)], CALL);
    for good in [format!("Bearer {KEY}"), format!("bearer  {KEY}"), "BEARER bobs".into()] {
        assert_eq!(with(&good).status(), 200, "{good}");
    }
    check_challenged(&rig.call(), "Bearer");
    check_challenged(&with("Basic YTpi"), "Bearer");
    check_challenged(&with("Bearer"), "Bearer");
    check_challenged(&with("Bearer wrong"), INVALID);
    check_challenged(&with(&format!("Bearer {KEY}x")), INVALID);
    check_challenged(&rig.post_with(&[("Authorization", "Bearer bobs"), ("Authorization", "Bearer bobs")], CALL), INVALID);
    assert_eq!(upstream.requests().len(), 3);
    let metrics = rig.metrics();
    let counted = |result| metrics.metric("watchgate_auth_total", &[("server", "only"), ("result", result)]);
    assert_eq!((counted("known"), counted("missing"), counted("invalid")), (3.0, 3.0, 3.0));
    assert_eq!(metrics.metric("watchgate_client_requests_total", &[("client", "ann")]), 2.0);
    assert_eq!(metrics.metric("watchgate_client_requests_total", &[("client", "bob")]), 1.0);
}

#[test]
fn the_key_goes_on_to_the_server_only_where_that_is_wanted() {
    let value = format!("Bearer {KEY}");
    for passes in [true, false] {
        let upstream = answering();
        let rig = Rig::new(with_keys(&upstream, passes));
        rig.post_with(&[("X-Before", "1"), ("Authorization", &value), ("X-After", "2")], CALL);
        let received = &upstream.requests()[0].head;
        assert_eq!(received.header("authorization"), passes.then_some(value.as_str()));
        let names: Vec<&str> = received.headers.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("x-")).collect();
        assert_eq!(names, ["x-before", "x-after"], "the order of the others stays");
    }
}

#[test]
fn without_a_gate_credentials_are_the_servers_business() {
    let upstream = Scripted::start(|exchange| match exchange.request.head.header("authorization") {
        Some("Bearer good") => exchange.json(200, RESULT),
        Some(_) => exchange.respond(403, &[], b"no"),
        None => exchange.respond(401, &[("WWW-Authenticate", "Bearer resource_metadata=\"https://x.test/meta\"")], b""),
    });
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let refused = rig.call();
    assert_eq!(
        (refused.status(), refused.head.header("www-authenticate")),
        (401, Some("Bearer resource_metadata=\"https://x.test/meta\""))
    );
    assert_eq!(rig.post_with(&[("Authorization", "Bearer bad")], CALL).text(), "no");
    assert_eq!(rig.post_with(&[("Authorization", "Bearer good")], CALL).status(), 200);
    rig.wait_for("watchgate_auth_total", &[("result", "upstream_401")], 1.0);
    rig.wait_for("watchgate_auth_total", &[("result", "upstream_403")], 1.0);
}

#[test]
fn access_lines_and_metrics_name_the_client_and_never_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let upstream = answering();
    let conditions = Conditions { access_log: Some(log.clone()), ..Conditions::default() };
    let rig = Rig::under(conditions, with_keys(&upstream, false));
    let wrong = "a-wrong-key-that-is-nobodys";
    assert_eq!(rig.post_with(&[("Authorization", &format!("Bearer {KEY}"))], CALL).status(), 200);
    assert_eq!(rig.post_with(&[("Authorization", &format!("Bearer {wrong}"))], CALL).status(), 401);
    let lines = wait_until("both lines are written", || lines(&log).filter(|lines| lines.len() == 2));
    let names: Vec<&Value> = lines.iter().map(|line| &line["client_name"]).filter(|name| !name.is_null()).collect();
    assert_eq!(names, ["ann"], "{lines:?}");
    let everything =
        std::fs::read_to_string(&log).unwrap() + &rig.telemetry.render_prometheus() + &format!("{:?}", with_keys(&upstream, true));
    assert!(everything.contains("ann"));
    for secret in [KEY, wrong, &hex(&Sha256::digest(KEY))] {
        assert!(!everything.contains(secret), "{everything}");
    }
}

fn lines(log: &Path) -> Option<Vec<Value>> {
    std::fs::read_to_string(log).ok()?.lines().map(|line| serde_json::from_str(line).ok()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_preflight_passes_the_gate_but_not_the_guard() {
    let upstream = Scripted::start(|exchange| exchange.respond(204, &[("Access-Control-Allow-Origin", "https://app.test")], b""));
    let guard = GuardConfig { hosts: None, origins: Some(vec!["https://app.test".into()]) };
    let rig = Rig::new(ProxyConfig { guard, ..with_keys(&upstream, false) });
    let preflight = |origin: &str| rig.ask("OPTIONS", "/mcp", &[("Origin", origin), ("Access-Control-Request-Method", "POST")]);
    let allowed = preflight("https://app.test");
    assert_eq!((allowed.status(), allowed.head.header("access-control-allow-origin")), (204, Some("https://app.test")));
    check_refused(&preflight("https://evil.test"), 403, "origin_not_allowed");
    check_challenged(&rig.ask("OPTIONS", "/mcp", &[("Origin", "https://app.test")]), "Bearer");
    check_challenged(&rig.ask("GET", "/mcp", &[("Origin", "https://app.test"), ("Access-Control-Request-Method", "POST")]), "Bearer");
    // One that brings a body asks for more than a preflight does.
    let headers = [("Origin", "https://app.test"), ("Access-Control-Request-Method", "POST")];
    check_challenged(&ask(&rig, &request("OPTIONS", "/mcp", &headers, CALL.as_bytes())), "Bearer");
    let chunked = [&headers[..], &[("Transfer-Encoding", "chunked")]].concat();
    check_challenged(&ask(&rig, &[request("OPTIONS", "/mcp", &chunked, b""), b"0\r\n\r\n".to_vec()].concat()), "Bearer");
    check_challenged(&ask(&rig, &request("GET", "/.well-known/x", &[], CALL.as_bytes())), "Bearer");
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_refused_client_may_still_be_sending_and_gets_its_answer() {
    let upstream = answering();
    let rig = Rig::new(with_keys(&upstream, false));
    let body = "x".repeat(200 << 10);
    check_challenged(&rig.post(&body), "Bearer");
    let mut connection = rig.connect();
    connection.send(&post(&[], &body)).unwrap();
    check_challenged(&connection.reply().unwrap(), "Bearer");
    connection.send(&post(&[("Authorization", "Bearer bobs")], CALL)).unwrap();
    assert_eq!(connection.reply().unwrap().status(), 200, "what was thrown away is not read as a request");
}
