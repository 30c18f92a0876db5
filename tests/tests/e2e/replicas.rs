//! A server with several endpoints of which one is no good, and one that an operator has closed off: what clients get, and what operators are told.

use std::io::Read;

use watchgate_tests::upstream::nobody;
use watchgate_tests::{Gateway, GatewayOptions, Scripted, ScriptedSocket, wait_until};

use crate::config_reload::{rewrite, wait_for_reload};
use crate::health_plugins::{overall, server, wait_for_check};
use crate::messages::tool_call;

const HEALTH: &str = "[health]\nprobe_interval = \"100ms\"\nprobe_timeout = \"500ms\"\nready_requires_upstreams = true\n";

/// Takes connections, reads what comes, and says nothing.
fn silent() -> ScriptedSocket {
    ScriptedSocket::start(|mut stream| while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {})
}

fn ready(gateway: &Gateway) -> u16 {
    gateway.admin_get("/health/ready").status()
}

#[test]
fn a_server_is_up_while_one_of_its_endpoints_is() {
    let (well, _) = server(&["a"]);
    let dead = nobody();
    let config = format!("[servers.s]\nurls = [\"http://{dead}\", \"{}\"]\n{HEALTH}", well.url());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    let detail = wait_for_check(&gateway, "upstream", "s", "degraded");
    assert!(detail.starts_with("answers server/discover; ") && detail.contains(&format!("{dead}: TCP: ")), "{detail}");
    assert_eq!(gateway.metrics().find("watchgate_server_up", &[("server", "s")]), Some(1.0));
    assert_eq!(overall(&gateway), ("degraded".to_owned(), 200, 200));
    for number in 0..10 {
        assert_eq!(gateway.post("/s/mcp", &tool_call(number, "a")).status(), 200);
    }
}

#[test]
fn an_endpoint_that_says_nothing_is_passed_over() {
    let ((well, _), hangs) = (server(&["a"]), silent());
    let config = format!("[servers.s]\nurls = [\"{}\", \"{}\"]\n{HEALTH}", hangs.url(), well.url());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    let endpoint = hangs.address().to_string();
    gateway.wait_for_metric("watchgate_endpoint_ejected", &[("endpoint", &endpoint)], 1.0);
    assert_eq!(gateway.metrics().find("watchgate_endpoint_up", &[("endpoint", &endpoint)]), Some(0.0));
    for number in 0..10 {
        assert_eq!(gateway.post("/s/mcp", &tool_call(number, "a")).status(), 200);
    }
    gateway.wait_for_log("an endpoint is passed over: it does not answer probes");
}

#[test]
fn a_server_that_an_operator_has_closed_off_is_up_and_the_gateway_ready() {
    let (well, _) = server(&["a"]);
    let gateway = Gateway::start(&[], GatewayOptions::config(&format!("[servers.s]\nurl = \"{}\"\n{HEALTH}", well.url())));
    wait_for_check(&gateway, "upstream", "s", "ok");
    assert_eq!(gateway.admin_post("/api/breakers/s", r#"{"state":"open"}"#).status(), 200);
    let detail = wait_for_check(&gateway, "upstream", "s", "degraded");
    assert_eq!(detail, "answers server/discover; the circuit breaker is open (by hand)");
    assert_eq!(gateway.metrics().find("watchgate_server_up", &[("server", "s")]), Some(1.0));
    assert_eq!(ready(&gateway), 200);
    let refused = gateway.post("/s/mcp", &tool_call(1, "a"));
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("an operator keeps requests from the MCP server for now"), "{}", refused.text());
    assert_eq!(gateway.admin_post("/api/breakers/s", r#"{"state":"automatic"}"#).status(), 200);
    wait_for_check(&gateway, "upstream", "s", "ok");
}

#[test]
fn a_server_that_a_reload_adds_is_not_down_before_it_was_probed() {
    let ((well, _), hangs) = (server(&["a"]), silent());
    let config = format!("[servers.s]\nurl = \"{}\"\n[health]\nprobe_timeout = \"1m\"\nready_requires_upstreams = true\n", well.url());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    wait_until("the server was probed", || (ready(&gateway) == 200).then_some(()));
    rewrite(&gateway, &format!("{config}[servers.added]\nurl = \"{}\"\n", hangs.url()));
    wait_for_reload(&gateway, "applied", 1.0);
    wait_until("the new server is being probed", || (hangs.accepted() > 0).then_some(()));
    assert_eq!(ready(&gateway), 200);
}

#[test]
fn the_log_says_when_an_endpoint_is_passed_over_and_when_no_longer() {
    let ((well, _), ill) = (server(&["a"]), Scripted::start(|exchange| exchange.json(503, "{}")));
    let config = format!(
        "[servers.s]\nurls = [\"{}\", \"{}\"]\nslow_start = \"0s\"\nejection = {{ consecutive_failures = 1, base = \"300ms\" }}\n",
        well.url(),
        ill.url()
    );
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    wait_until("the one that is ill was met", || (gateway.post("/s/mcp", &tool_call(1, "a")).status() == 503).then_some(()));
    gateway.wait_for_log("an endpoint is passed over: it failed too often in a row");
    gateway.wait_for_log("an endpoint is no longer passed over");
}
