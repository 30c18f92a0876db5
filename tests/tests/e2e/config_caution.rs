//! Changes of the configuration that may be mistakes: half a file, an emptied file, an address that is taken, a gate that goes away.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;

use serde_json::{Value, json};
use watchgate_tests::http1::MCP_POST;
use watchgate_tests::{Gateway, GatewayOptions, Scripted, wait_until};

use crate::config_reload::{rewrite, servers, wait_for_reload};
use crate::examples::JWKS;
use crate::messages::{answer, tool_call};

const KEY: &str = "0123456789abcdef-of-ann";

/// A gate at the end of a file, where it is missing first from half of it.
const GATE: &str = "[[auth.keys]]\nname = \"ann\"\nkey = { env = \"ANN\" }\n";

const GONE: &str = "`[auth]` is gone: every client is let in";

/// With a key in the environment.
fn with_key(config: &str) -> GatewayOptions {
    GatewayOptions { environment: vec![("ANN".to_owned(), KEY.to_owned())], ..GatewayOptions::config(config) }
}

fn status(gateway: &Gateway, key: Option<&str>) -> u16 {
    let authorization = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<_> = MCP_POST.into_iter().chain(authorization.iter().map(|value| ("Authorization", value.as_str()))).collect();
    gateway.call("POST", "/a/mcp", &headers, tool_call(1, "t").to_string().as_bytes()).status()
}

/// What an operator who asks for a reload is told.
fn reload(gateway: &Gateway) -> (u16, Value) {
    let reply = gateway.admin_post("/api/config/reload", "");
    (reply.status(), reply.json().unwrap())
}

fn refusals(gateway: &Gateway) -> f64 {
    gateway.metrics().metric("watchgate_config_reloads_total", &[("result", "refused")])
}

#[test]
fn half_a_file_is_never_put_into_force() {
    let upstream = Scripted::start(answer);
    let rest = servers(&[("a", &upstream)]);
    let mut gateway = Gateway::start(&[], with_key(&format!("[logs]\nlevel = \"debug\"\n{rest}{GATE}")));
    assert_eq!((status(&gateway, None), status(&gateway, Some(KEY))), (401, 200));

    // By a writer that pauses: its half is sound by itself.
    let mut writer = File::create(gateway.config_file()).unwrap();
    write!(writer, "[logs]\nlevel = \"debug\"\n{rest}head_timeout = \"7s\"\n").unwrap();
    let (refused, body) = reload(&gateway);
    assert!(refused == 422 && body["complaints"][0]["text"].as_str().unwrap().contains("is being written"), "{body}");
    assert_eq!(status(&gateway, None), 401);
    write!(writer, "{GATE}").unwrap();
    drop(writer);
    wait_for_reload(&gateway, "applied", 1.0);
    assert_eq!(gateway.admin_get("/api/config").json().unwrap()["servers"]["a"]["head_timeout"], "7s");

    // By one that closes it in between.
    rewrite(&gateway, &format!("[logs]\nlevel = \"debug\"\n{rest}head_timeout = \"8s\"\n"));
    gateway.wait_for_log("it counts when it stays so");
    assert_eq!(status(&gateway, None), 401);
    rewrite(&gateway, &format!("[logs]\nlevel = \"debug\"\n{rest}head_timeout = \"8s\"\n{GATE}"));
    wait_for_reload(&gateway, "applied", 2.0);
    assert_eq!(status(&gateway, None), 401);
    let log = gateway.whole_log();
    assert!(!log.contains(GONE), "{log}");
}

#[test]
fn a_gate_that_is_taken_out_goes_away_and_is_missed_once() {
    let upstream = Scripted::start(answer);
    let rest = servers(&[("a", &upstream)]);
    for is_asked_for in [false, true] {
        let mut gateway = Gateway::start(&[], with_key(&format!("{rest}{GATE}")));
        rewrite(&gateway, &rest);
        if is_asked_for {
            assert_eq!(reload(&gateway), (200, json!({"status": "applied", "changed": ["auth"], "needs_restart": []})));
            assert_eq!(status(&gateway, None), 200, "who asks need not wait");
        }
        wait_until("the gate is gone", || (status(&gateway, None) == 200).then_some(()));
        let log = gateway.whole_log();
        assert_eq!(log.matches(GONE).count(), 1, "{log}");
    }
}

#[test]
fn an_emptied_file_of_keys_lets_in_whom_it_let_in_before() {
    let upstream = Scripted::start(answer);
    let folder = tempfile::tempdir().unwrap();
    let (keys, jwks) = (folder.path().join("keys"), folder.path().join("jwks.json"));
    fs::write(&keys, format!("ann:{KEY}\n")).unwrap();
    fs::write(&jwks, JWKS).unwrap();
    let config = format!(
        "{}[auth]\nkeys_file = \"{}\"\n[auth.jwt]\njwks_file = \"{}\"\nissuers = [\"i\"]\naudiences = [\"a\"]\n",
        servers(&[("a", &upstream)]),
        keys.display(),
        jwks.display()
    );
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    let in_use = || gateway.metrics().metric("watchgate_jwks_keys", &[]);
    wait_until("the keys are shown", || (gateway.metrics().find("watchgate_jwks_keys", &[]) == Some(1.0)).then_some(()));
    for (path, emptied, whole) in [(&keys, "", format!("ann:{KEY}\n")), (&jwks, "{\"keys\":[]}", JWKS.to_owned())] {
        let before = refusals(&gateway);
        fs::write(path, emptied).unwrap();
        wait_for_reload(&gateway, "refused", before + 1.0);
        assert_eq!(gateway.metrics().metric("watchgate_config_last_reload_successful", &[]), 0.0);
        let (refused, body) = reload(&gateway);
        let text = body["complaints"][0]["text"].as_str().unwrap();
        assert!(refused == 422 && text.contains(path.to_str().unwrap()) && text.contains("no key"), "{body}");
        assert_eq!((status(&gateway, Some(KEY)), in_use()), (200, 1.0));
        gateway.wait_for_log(text);
        fs::write(path, whole).unwrap();
        wait_until("it is as before", || (gateway.metrics().metric("watchgate_config_last_reload_successful", &[]) == 1.0).then_some(()));
    }
}

#[test]
fn an_address_that_is_taken_is_tried_again() {
    let upstream = Scripted::start(answer);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listen = |more: &str| format!("[[listeners]]\naddress = \"127.0.0.1:0\"\n{more}{}", servers(&[("a", &upstream)]));
    let mut gateway = Gateway::start(&[], GatewayOptions { listeners_of_file: true, ..GatewayOptions::config(&listen("")) });
    rewrite(&gateway, &listen(&format!("[[listeners]]\naddress = \"{address}\"\n")));
    wait_for_reload(&gateway, "refused", 1.0);
    drop(taken);
    wait_for_reload(&gateway, "applied", 1.0);
    assert_eq!(gateway.listeners(), [gateway.traffic, address]);
    assert_eq!(refusals(&gateway), 1.0);
    let log = gateway.whole_log();
    assert_eq!(log.matches("cannot listen for traffic").count(), 1, "{log}");
}

/// The issuer is down from the start: the gateway is ready, and says who cannot be let in.
#[test]
fn an_issuer_that_is_down_is_seen_in_health_and_metrics() {
    let upstream = Scripted::start(answer);
    let issuer = watchgate_tests::upstream::nobody();
    let config = format!(
        "{}[auth.jwt]\njwks_url = \"http://{issuer}/jwks?secret\"\nissuers = [\"i\"]\naudiences = [\"a\"]\n",
        servers(&[("a", &upstream)])
    );
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    let check = wait_until("it was tried", || {
        let health = gateway.admin_get("/health").json().unwrap();
        let check = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "jwks")?.clone();
        check["detail"].as_str().unwrap().contains("cannot be loaded").then_some((check, health["status"].clone()))
    });
    assert_eq!((&check.0["kind"], &check.0["status"], &check.1), (&json!("core"), &json!("degraded"), &json!("degraded")));
    assert!(!check.0.to_string().contains("secret"), "{}", check.0);
    assert_eq!(gateway.admin_get("/health/ready").status(), 200);
    wait_until("no key is shown", || (gateway.metrics().find("watchgate_jwks_keys", &[]) == Some(0.0)).then_some(()));
    assert_eq!(gateway.metrics().find("watchgate_jwks_last_load_timestamp_seconds", &[]), None);
}
