//! SIGTERM: no new connections, running exchanges finish, streams end at a deadline, exit code 0.

use std::time::Duration;

use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::{Connection, DEADLINE, Gate, Gateway, GatewayOptions, Scripted, wait_until};

use crate::messages::{answer, tool_call};

fn refuses(gateway: &Gateway) -> Option<()> {
    Connection::open(gateway.traffic).is_err().then_some(())
}

fn config(drain_timeout: &str, upstream: &Scripted) -> GatewayOptions {
    GatewayOptions::config(&format!("[proxy]\ndrain_timeout = \"{drain_timeout}\"\n[servers.s]\nurl = \"{}\"\n", upstream.url()))
}

#[test]
fn a_running_exchange_finishes_and_new_connections_are_refused() {
    let (arrived, release) = (Gate::default(), Gate::default());
    let upstream = Scripted::start({
        let (arrived, release) = (arrived.clone(), release.clone());
        move |exchange| {
            arrived.open();
            release.wait("the gateway refuses connections");
            answer(exchange)
        }
    });
    let mut gateway = Gateway::start(&[], config("60s", &upstream));
    let mut client = gateway.connect();
    client.send(&request("POST", "/s/mcp", &MCP_POST, tool_call(5, "t").to_string().as_bytes())).unwrap();
    arrived.wait("the request is upstream");
    gateway.ask_to_end();
    wait_until("new connections are refused", || refuses(&gateway));
    release.open();
    let reply = client.reply().unwrap();
    assert_eq!((reply.status(), reply.json().unwrap()["id"].as_u64()), (200, Some(5)));
    assert_eq!(gateway.wait(DEADLINE).code(), Some(0));
}

#[test]
fn a_stream_ends_at_the_deadline() {
    let upstream = Scripted::start(|exchange| {
        exchange.event_stream()?;
        exchange.chunk("data: 1\n\n")?;
        exchange.client_left().map(drop)
    });
    let mut gateway = Gateway::start(&[], config("300ms", &upstream));
    let mut client = gateway.connect();
    client.send(&request("GET", "/s/mcp", &MCP_POST, b"")).unwrap();
    client.head().unwrap();
    client.body_until("data: 1\n\n").unwrap();
    gateway.ask_to_end();
    let lasted = client.wait_for_end().unwrap();
    assert!(lasted >= Duration::from_millis(250), "ended after {lasted:?}, before the deadline");
    assert_eq!(gateway.wait(DEADLINE).code(), Some(0));
}

#[test]
fn an_idle_connection_does_not_hold_the_drain_up() {
    let upstream = Scripted::start(answer);
    let mut gateway = Gateway::start(&[], config("60s", &upstream));
    let mut used = gateway.connect();
    used.send(&request("POST", "/s/mcp", &MCP_POST, b"{}")).unwrap();
    used.reply().unwrap();
    let unused = gateway.connect();
    assert_eq!(gateway.terminate(DEADLINE).code(), Some(0));
    drop((used, unused));
}

#[test]
fn every_access_line_is_on_disk_when_the_process_has_ended() {
    let upstream = Scripted::start(answer);
    let mut gateway = Gateway::before(&upstream.url());
    for id in 0..200 {
        gateway.post("/mcp", &tool_call(id, "t"));
    }
    assert_eq!(gateway.terminate(DEADLINE).code(), Some(0));
    assert_eq!(gateway.access_log().len(), 200);
}

#[test]
fn balancers_get_time_to_notice() {
    let upstream = Scripted::start(answer);
    let text = format!("[proxy]\ndrain_delay = \"2s\"\n[servers.s]\nurl = \"{}\"\n", upstream.url());
    let mut gateway = Gateway::start(&[], GatewayOptions::config(&text));
    let begun = std::time::Instant::now();
    gateway.ask_to_end();
    wait_until("readiness is red", || (gateway.admin_get("/health/ready").status() == 503).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(2), "red after {:?}", begun.elapsed());
    assert_eq!(gateway.post("/s/mcp", &tool_call(1, "t")).status(), 200, "new connections are served until the delay is over");
    assert_eq!(gateway.wait(DEADLINE).code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(2), "ended after {:?}", begun.elapsed());
}
