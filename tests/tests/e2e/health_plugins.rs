//! Health as operators see it: upstream probes, health plugins, readiness; and the metrics of `tool-sizes`, which come and go with it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use watchgate_tests::plugins::{guest, stock};
use watchgate_tests::upstream::nobody;
use watchgate_tests::{Exchange, Gateway, GatewayOptions, PluginFolder, Scripted, leaked, wait_until};

use crate::guarded::KEY;
use crate::messages::tool_call;
use crate::redaction::limits;

/// An MCP server of 2026-07-28 with these tools, which can be changed while it runs.
pub fn server(tools: &[&str]) -> (Scripted, Arc<Mutex<Vec<String>>>) {
    let tools = Arc::new(Mutex::new(tools.iter().map(|name| (*name).to_owned()).collect()));
    let shared: Arc<Mutex<Vec<String>>> = Arc::clone(&tools);
    let answer = move |exchange: &mut Exchange| {
        let message: Value = serde_json::from_slice(&exchange.request.body)?;
        let tools: Vec<Value> =
            shared.lock().unwrap().iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
        let content = [json!({"type": "text", "text": "ok"}), json!({"type": "image", "data": "", "mimeType": "image/png"})];
        let result = match message["method"].as_str() {
            Some("server/discover") => json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
            Some("tools/list") => json!({"tools": tools}),
            Some("tools/call") => json!({"content": content}),
            _ => return exchange.respond(404, &[], b""),
        };
        exchange.json(200, json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string())
    };
    (Scripted::start_for_the_gateway_too(answer), tools)
}

/// A gateway with one server and one expecting plugin, both looked at as often as can be.
fn expecting(url: &str, tools: &[&str], more: impl FnOnce(&PluginFolder)) -> (Gateway, PluginFolder) {
    let settings = format!("interval = \"1s\"\n[config]\nserver = \"s\"\ntools = {tools:?}\n[grants]\nmcp_client = [\"s\"]\n");
    let folder = PluginFolder::with("expected-tools", &stock("expected-tools"), &settings);
    more(&folder);
    let config = format!("[servers.s]\nurl = \"{url}\"\n[health]\nprobe_interval = \"100ms\"\n");
    (Gateway::start(&["--plugins", folder.path()], GatewayOptions::config(&config)), folder)
}

/// One check of `/health`; null when there is no such check.
pub fn check(gateway: &Gateway, kind: &str, name: &str) -> Value {
    let page = gateway.admin_get("/health").json().unwrap();
    let checks = page["checks"].as_array().unwrap_or_else(|| panic!("no checks in {page}"));
    checks.iter().find(|check| check["kind"] == kind && check["name"] == name).cloned().unwrap_or_default()
}

/// Waits for a check to have this status, and gives its detail.
#[track_caller]
pub fn wait_for_check(gateway: &Gateway, kind: &str, name: &str, status: &str) -> String {
    let found = wait_until(&format!("{kind} {name} is {status}; it is {}", check(gateway, kind, name)), || {
        let found = check(gateway, kind, name);
        (found["status"] == status).then_some(found)
    });
    found["detail"].as_str().unwrap_or_default().to_owned()
}

/// The aggregate and the statuses of `/health` and `/health/ready`.
pub fn overall(gateway: &Gateway) -> (String, u16, u16) {
    let reply = gateway.admin_get("/health");
    let status = reply.json().unwrap()["status"].as_str().unwrap_or_default().to_owned();
    (status, reply.status(), gateway.admin_get("/health/ready").status())
}

#[test]
fn expected_tools_says_what_is_missing() {
    let (upstream, tools) = server(&["a", "b", "c"]);
    let (gateway, folder) = expecting(&upstream.url(), &["a", "b"], |_| {});
    wait_for_check(&gateway, "plugin", "expected-tools", "ok");
    wait_for_check(&gateway, "upstream", "s", "ok");
    assert_eq!(overall(&gateway), ("ok".to_owned(), 200, 200));
    *tools.lock().unwrap() = vec!["b".to_owned()];
    let detail = wait_for_check(&gateway, "plugin", "expected-tools", "degraded");
    assert!(detail.contains('a') && detail.contains("1 of 2"), "{detail}");
    assert_eq!(overall(&gateway), ("degraded".to_owned(), 200, 200));
    tools.lock().unwrap().clear();
    wait_for_check(&gateway, "plugin", "expected-tools", "failing");
    // What a plugin thinks is for people and alerts; whether traffic can pass is another question.
    assert_eq!(overall(&gateway), ("failing".to_owned(), 503, 200));
    let metrics = gateway.metrics();
    let failing = [("check", "expected-tools"), ("state", "failing")];
    assert_eq!(metrics.metric("watchgate_health_check_status", &failing), 1.0, "{}", metrics.text());
    *tools.lock().unwrap() = vec!["a".to_owned(), "b".to_owned()];
    wait_for_check(&gateway, "plugin", "expected-tools", "ok");
    folder.remove("expected-tools.wasm");
    wait_until("the check is gone", || check(&gateway, "plugin", "expected-tools").is_null().then_some(()));
    assert_eq!(overall(&gateway), ("ok".to_owned(), 200, 200));
}

#[test]
fn a_server_that_is_down_degrades_and_its_neighbour_works() {
    let (upstream, _) = server(&["a"]);
    let down = nobody();
    let settings = "interval = \"1s\"\n[config]\nserver = \"down\"\ntools = [\"a\"]\n[grants]\nmcp_client = [\"down\"]\n";
    let folder = PluginFolder::with("expected-tools", &stock("expected-tools"), settings);
    let config = |required: bool| {
        format!(
            "[servers.up]\nurl = \"{}\"\n[servers.down]\nurl = \"http://{down}\"\n\
             [health]\nprobe_interval = \"100ms\"\nready_requires_upstreams = {required}\n",
            upstream.url()
        )
    };
    let gateway = Gateway::start(&["--plugins", folder.path()], GatewayOptions::config(&config(false)));
    wait_for_check(&gateway, "upstream", "up", "ok");
    let detail = wait_for_check(&gateway, "upstream", "down", "failing");
    assert!(detail.starts_with("TCP"), "{detail}");
    let detail = wait_for_check(&gateway, "plugin", "expected-tools", "failing");
    assert!(detail.contains("down does not list its tools"), "{detail}");
    assert_eq!(gateway.metrics().find("watchgate_server_up", &[("server", "down")]), Some(0.0));
    assert_eq!(gateway.metrics().find("watchgate_server_up", &[("server", "up")]), Some(1.0));
    assert_eq!(gateway.post("/up/mcp", &tool_call(1, "a")).status(), 200);
    folder.remove("expected-tools.wasm");
    wait_until("only the server is left to complain", || (overall(&gateway) == ("degraded".to_owned(), 200, 200)).then_some(()));
    let strict = Gateway::start(&[], GatewayOptions::config(&config(true)));
    wait_for_check(&strict, "upstream", "down", "failing");
    assert_eq!(overall(&strict), ("failing".to_owned(), 503, 503));
    assert!(strict.admin_get("/health/ready").text().contains("server `down` is not up"));
}

#[test]
fn a_server_that_goes_and_comes_back_is_noticed() {
    let well = Arc::new(Mutex::new(true));
    let upstream = Scripted::start_for_the_gateway_too({
        let well = Arc::clone(&well);
        move |exchange| {
            if !*well.lock().unwrap() {
                return exchange.respond(503, &[], b"busy");
            }
            let id = exchange.request.id();
            exchange.json(200, json!({"jsonrpc": "2.0", "id": id, "result": {"supportedVersions": ["2026-07-28"]}}).to_string())
        }
    });
    let config = format!("[servers.s]\nurl = \"{}\"\n[health]\nprobe_interval = \"100ms\"\n", upstream.url());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    for (is_well, status) in [(true, "ok"), (false, "failing"), (true, "ok")] {
        *well.lock().unwrap() = is_well;
        wait_for_check(&gateway, "upstream", "s", status);
        assert_eq!(gateway.admin_get("/health/live").status(), 200);
    }
}

#[test]
fn a_secret_that_a_server_tells_the_gateway_is_shown_to_nobody() {
    let upstream = Scripted::start_for_the_gateway_too(|exchange| {
        let id = exchange.request.id();
        let error = json!({"code": -32603, "message": format!("no access with {KEY}"), "data": KEY});
        exchange.json(200, json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string())
    });
    // The plugin that quotes the server is loaded before the one that redacts.
    let (mut gateway, _folder) = expecting(&upstream.url(), &["a"], |folder| folder.add("redact-secrets", &stock("redact-secrets"), ""));
    wait_for_check(&gateway, "upstream", "s", "degraded");
    let detail = wait_for_check(&gateway, "plugin", "expected-tools", "failing");
    assert!(detail.contains("no access with [REDACTED:aws_key]"), "{detail}");
    for page in ["/health", "/metrics", "/api/plugins"] {
        let text = gateway.admin_get(page).text();
        assert_eq!(leaked(text.as_bytes(), KEY), None, "{page}: {text}");
    }
    let log = gateway.whole_log();
    assert_eq!(leaked(log.as_bytes(), KEY), None, "{log}");
}

/// A health plugin that misbehaves: its check is unknown, and failing in the end; nothing else suffers.
fn check_evil(evil: &str, reason: &str) {
    let (upstream, _) = server(&["a"]);
    let settings = format!("kinds = [\"health\"]\ninterval = \"1s\"\n[config]\nhealth = {evil:?}\n{}", limits(evil));
    let folder = PluginFolder::with("evil", &guest("probe"), &settings);
    folder.add("good", &guest("probe"), "kinds = [\"health\"]\ninterval = \"1s\"\n");
    let gateway = Gateway::start(&["--upstream", &upstream.url(), "--plugins", folder.path()], GatewayOptions::default());
    let labels = [("plugin", "evil"), ("kind", "health"), ("reason", reason)];
    gateway.wait_for_metric("watchgate_plugin_failures_total", &labels, 2.0);
    let detail = wait_for_check(&gateway, "plugin", "evil", "unknown");
    assert!(!detail.is_empty());
    wait_until("a check that never knows fails the whole", || (overall(&gateway) == ("failing".to_owned(), 503, 200)).then_some(()));
    wait_for_check(&gateway, "plugin", "good", "ok");
    assert_eq!(gateway.post("/mcp", &tool_call(1, "a")).status(), 200);
}

#[test]
fn a_health_plugin_that_traps() {
    check_evil("trap", "trap");
}

#[test]
fn a_health_plugin_that_loops() {
    check_evil("loop", "cpu_timeout");
}

#[test]
fn a_health_plugin_that_waits() {
    check_evil("wait", "wall_timeout");
}

#[test]
fn a_health_plugin_that_grows() {
    check_evil("grow", "memory");
}

#[test]
fn a_health_plugin_says_what_it_found() {
    let (upstream, _) = server(&["a"]);
    let folder = PluginFolder::new();
    let gateway = Gateway::start(&["--upstream", &upstream.url(), "--plugins", folder.path()], GatewayOptions::default());
    for (said, status, detail) in [
        ("ok", "ok", "the probe is well"),
        ("degraded", "degraded", "the probe was told to be degraded"),
        ("failing", "failing", "the probe was told to fail"),
        ("long", "ok", "long detail"),
    ] {
        folder.add("h", &guest("probe"), &format!("kinds = [\"health\"]\ninterval = \"1s\"\n[config]\nhealth = {said:?}\n"));
        let found = wait_until(&format!("the check says {detail:?}"), || {
            let found = check(&gateway, "plugin", "h");
            found["detail"].as_str().is_some_and(|text| text.starts_with(detail)).then_some(found)
        });
        assert_eq!(found["status"], status, "{found}");
        assert!(found["detail"].as_str().unwrap().len() <= 1024 + 4, "the detail is not cut");
    }
}

#[test]
fn the_metrics_of_tool_sizes_come_and_go_with_it() {
    let (upstream, _) = server(&["draw"]);
    let folder = PluginFolder::with("tool-sizes", &stock("tool-sizes"), "");
    let gateway = Gateway::start(&["--upstream", &upstream.url(), "--plugins", folder.path()], GatewayOptions::default());
    for id in 0..3 {
        assert_eq!(gateway.post("/mcp", &tool_call(id, "draw")).status(), 200);
    }
    let plugin = ("plugin", "tool-sizes");
    let tool = [plugin, ("tool", "draw")];
    gateway.wait_for_metric("tool_sizes_result_bytes_count", &tool, 3.0);
    let metrics = gateway.metrics();
    assert_eq!(metrics.metric("tool_sizes_argument_bytes_count", &tool), 3.0);
    assert_eq!(metrics.metric("tool_sizes_argument_bytes_sum", &tool), 3.0 * r#"{"n":0}"#.len() as f64);
    for content_type in ["text", "image"] {
        assert_eq!(metrics.metric("tool_sizes_content_blocks_total", &[plugin, ("tool", "draw"), ("content_type", content_type)]), 3.0);
    }
    // A new generation that declares the same keeps counting where the old one stopped.
    folder.write("tool-sizes.toml", b"order = 1\n");
    gateway.wait_for_generation("tool-sizes", 2);
    gateway.post("/mcp", &tool_call(3, "draw"));
    gateway.wait_for_metric("tool_sizes_result_bytes_count", &tool, 4.0);
    folder.remove("tool-sizes.wasm");
    wait_until("its series are gone", || (!gateway.metrics().text().contains("tool_sizes_")).then_some(()));
    assert_eq!(gateway.post("/mcp", &tool_call(4, "draw")).status(), 200);
}
