//! The configuration changes while traffic flows: no connection is dropped, a wrong one changes nothing, listeners come and go.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::{Connection, Gate, Gateway, GatewayOptions, Reply, Scripted, wait_until};

use crate::messages::{answer, assert_own_error, tool_call, tool_result};

/// A server that says its name.
fn named(name: &'static str) -> Scripted {
    Scripted::start(move |exchange| {
        let result = tool_result(&exchange.request.id(), name);
        exchange.json(200, result)
    })
}

/// `[servers.NAME]` for each.
pub fn servers(servers: &[(&str, &Scripted)]) -> String {
    servers.iter().map(|(name, upstream)| format!("[servers.{name}]\nurl = \"{}/mcp\"\n", upstream.url())).collect()
}

/// Writes the file as an editor does that keeps its place.
pub fn rewrite(gateway: &Gateway, text: &str) {
    fs::write(gateway.config_file(), text).unwrap();
}

/// Waits until the newest reload went so.
#[track_caller]
pub fn wait_for_reload(gateway: &Gateway, result: &str, at_least: f64) {
    wait_until(&format!("{at_least} reloads are {result}"), || {
        let count = gateway.metrics().find("watchgate_config_reloads_total", &[("result", result)])?;
        (count >= at_least).then_some(())
    });
}

pub fn call(connection: &mut Connection, target: &str) -> Reply {
    connection.send(&request("POST", target, &MCP_POST, tool_call(1, "t").to_string().as_bytes())).unwrap();
    connection.reply().unwrap()
}

pub fn says(reply: &Reply) -> Value {
    reply.json().unwrap()["result"]["content"][0]["text"].clone()
}

/// The servers that a probe has come back from.
fn probed(gateway: &Gateway) -> Vec<String> {
    let health = gateway.admin_get("/health").json().unwrap();
    let checks = health["checks"].as_array().unwrap().iter();
    let probed = checks.filter(|check| check["kind"] == "upstream" && check["status"] != "unknown");
    probed.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_change_is_applied_without_dropping_a_connection() {
    let (arrived, release) = (Gate::default(), Gate::default());
    let slow = Scripted::start({
        let (arrived, release) = (arrived.clone(), release.clone());
        move |exchange| {
            arrived.open();
            release.wait("the configuration was changed");
            let result = tool_result(&exchange.request.id(), "old");
            exchange.json(200, result)
        }
    });
    let (steady, new) = (named("steady"), named("new"));
    // A probe now and then would open connections of its own.
    let seldom = "[health]\nprobe_interval = \"1h\"\n";
    let before = servers(&[("a", &slow), ("b", &steady), ("gone", &new)]);
    let gateway = Gateway::start(&[], GatewayOptions::config(&format!("{seldom}{before}")));
    wait_until("every server is probed", || (probed(&gateway) == ["a", "b", "gone"]).then_some(()));
    let (mut waiting, mut idle) = (gateway.connect(), gateway.connect());
    assert_eq!(says(&call(&mut idle, "/b/mcp")), "steady");
    waiting.send(&request("POST", "/a/mcp", &MCP_POST, tool_call(7, "t").to_string().as_bytes())).unwrap();
    arrived.wait("the request is upstream");
    let connections = steady.connections();

    rewrite(&gateway, &format!("{seldom}{}", servers(&[("a", &new), ("b", &steady), ("c", &new)])));
    wait_for_reload(&gateway, "applied", 1.0);
    // What had begun goes on with what it began with; what begins now sees the change, on the same connections.
    for server in ["a", "c"] {
        assert_eq!(says(&call(&mut idle, &format!("/{server}/mcp"))), "new");
    }
    assert_eq!(says(&call(&mut idle, "/b/mcp")), "steady");
    assert_eq!(steady.connections(), connections, "a server that did not change keeps its connections");
    assert_own_error(&call(&mut idle, "/gone/mcp"), 502, -31004, &json!(1));
    release.open();
    assert_eq!(says(&waiting.reply().unwrap()), "old");
    assert_eq!(says(&call(&mut waiting, "/a/mcp")), "new");

    let metrics = gateway.metrics();
    assert_eq!(metrics.metric("watchgate_config_last_reload_successful", &[]), 1.0);
    assert_eq!(metrics.find("watchgate_server_up", &[("server", "gone")]), None);
    wait_until("the new server is probed", || (probed(&gateway) == ["a", "b", "c"]).then_some(()));
}

#[test]
fn a_wrong_file_changes_nothing_and_is_said_once_with_every_line() {
    let upstream = named("steady");
    let good = servers(&[("a", &upstream)]);
    let mut gateway = Gateway::start(&[], GatewayOptions::config(&good));
    rewrite(&gateway, &format!("{good}[proxy]\nhead_timeuot = \"1s\"\ndrain_timeout = \"fast\"\n[auth]\n"));
    wait_for_reload(&gateway, "refused", 1.0);
    assert_eq!(gateway.metrics().metric("watchgate_config_last_reload_successful", &[]), 0.0);
    assert_eq!(says(&call(&mut gateway.connect(), "/a/mcp")), "steady");

    let refused = gateway.admin_post("/api/config/reload", "");
    assert_eq!(refused.status(), 422);
    let body = refused.json().unwrap();
    let lines: Vec<_> = body["complaints"].as_array().unwrap().iter().map(|complaint| complaint["line"].as_u64().unwrap()).collect();
    assert_eq!((&body["status"], lines), (&json!("refused"), vec![4, 5, 6]), "{body}");
    assert!(body["complaints"][0]["text"].as_str().unwrap().contains("did you mean `proxy.head_timeout`"), "{body}");

    rewrite(&gateway, &format!("{good}[proxy]\nhead_timeout = \"1s\"\n"));
    wait_for_reload(&gateway, "applied", 1.0);
    assert_eq!(gateway.metrics().metric("watchgate_config_last_reload_successful", &[]), 1.0);
    assert_eq!(gateway.admin_get("/api/config").json().unwrap()["servers"]["a"]["head_timeout"], "1s");
    let log = gateway.whole_log();
    // Once for the change, once because it was asked for.
    assert_eq!(log.matches("watchgate.toml:4").count(), 2, "{log}");
}

#[test]
fn listeners_come_and_go_and_a_taken_port_refuses_all_of_it() {
    let upstream = named("steady");
    let listen =
        |addresses: &[&str]| -> String { addresses.iter().map(|address| format!("[[listeners]]\naddress = \"{address}\"\n")).collect() };
    let rest = servers(&[("a", &upstream)]);
    let options = GatewayOptions { listeners_of_file: true, ..GatewayOptions::config(&format!("{}{rest}", listen(&["127.0.0.1:0"]))) };
    let gateway = Gateway::start(&[], options);
    let mut old = gateway.connect();
    assert_eq!(says(&call(&mut old, "/a/mcp")), "steady");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = (taken.local_addr().unwrap().to_string(), taken);
    rewrite(&gateway, &format!("{}{rest}{}", listen(&["127.0.0.2:0", &taken.0]), rest.replace(".a]", ".b]")));
    wait_for_reload(&gateway, "refused", 1.0);
    gateway.wait_for_log(&format!("cannot listen for traffic on {}", taken.0));
    assert_eq!(gateway.listeners(), [gateway.traffic]);
    assert_eq!(call(&mut old, "/b/mcp").status(), 502, "nothing of it was applied");

    rewrite(&gateway, &format!("{}{rest}", listen(&["127.0.0.1:0", "127.0.0.2:0"])));
    wait_for_reload(&gateway, "applied", 1.0);
    let [first, second]: [SocketAddr; 2] = gateway.listeners().try_into().unwrap();
    for address in [first, second] {
        assert_eq!(says(&call(&mut Connection::open(address).unwrap(), "/a/mcp")), "steady");
    }
    rewrite(&gateway, &format!("{}{rest}", listen(&["127.0.0.2:0"])));
    wait_until("the first listener is closed", || Connection::open(first).is_err().then_some(()));
    assert_eq!(says(&call(&mut Connection::open(second).unwrap(), "/a/mcp")), "steady");
    assert_eq!(gateway.listeners(), [first, second], "the second was not opened again");
}

#[test]
fn keys_that_are_read_at_the_start_only_are_named_and_the_rest_is_applied() {
    let upstream = named("steady");
    let good = servers(&[("a", &upstream)]);
    let mut gateway = Gateway::start(&[], GatewayOptions::config(&format!("[logs]\nformat = \"pretty\"\n{good}")));
    rewrite(&gateway, &format!("[logs]\nformat = \"json\"\nlevel = \"debug\"\n{good}head_timeout = \"9s\"\n"));
    wait_for_reload(&gateway, "applied", 1.0);
    let reload = gateway.admin_post("/api/config/reload", "").json().unwrap();
    assert_eq!(reload, json!({"status": "applied", "changed": [], "needs_restart": ["logs.format"]}));
    let config = gateway.admin_get("/api/config").json().unwrap();
    assert_eq!((&config["logs"]["format"], &config["logs"]["level"]), (&json!("pretty"), &json!("debug")));
    assert_eq!(config["servers"]["a"]["head_timeout"], "9s");
    let log = gateway.whole_log();
    assert_eq!(log.matches("restart to apply them").count(), 1, "{log}");
    assert!(log.contains("logs.level, servers.a"), "{log}");
}

#[test]
fn rules_of_alerts_follow_the_file() {
    let upstream = Scripted::start(answer);
    let good = servers(&[("a", &upstream)]);
    let gateway = Gateway::start(&[], GatewayOptions::config(&good));
    let rule = "[[alerts.rule]]\nname = \"up\"\nmetric = \"watchgate_build_info\"\nop = \">\"\nthreshold = 0\n";
    rewrite(&gateway, &format!("{good}{rule}"));
    let firing = || gateway.admin_get("/api/alerts").json().unwrap()["alerts"].as_array().unwrap().len();
    wait_until("the new rule fires", || (firing() == 1).then_some(()));
    rewrite(&gateway, &good);
    wait_until("its alert is over", || (firing() == 0).then_some(()));
    assert_eq!(gateway.admin_get("/api/alerts").json().unwrap()["resolved"].as_array().unwrap().len(), 1);
}

#[test]
fn circuit_breakers_are_set_by_hand() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::start(&[], GatewayOptions::config(&servers(&[("a", &upstream)])));
    let mut client = gateway.connect();
    let set = |state: &str| gateway.admin_post("/api/breakers/a", &json!({ "state": state }).to_string()).json().unwrap();
    assert_eq!(set("open")["breakers"][0]["forced"], "open");
    let refused = call(&mut client, "/a/mcp");
    assert_own_error(&refused, 503, -31005, &json!(1));
    assert_eq!(refused.json().unwrap()["error"]["data"]["reason"], "circuit_open");
    assert_eq!(set("automatic")["breakers"][0]["forced"], Value::Null);
    assert_eq!(call(&mut client, "/a/mcp").status(), 200);
    assert_eq!(gateway.admin_post("/api/breakers/b", r#"{"state":"open"}"#).status(), 404);
}
