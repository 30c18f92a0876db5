//! When the upstream does not answer, or answers nonsense, the client is told so in JSON-RPC.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use watchgate_tests::upstream::nobody;
use watchgate_tests::{Gate, Gateway, GatewayOptions, Scripted, wait_until};

use crate::messages::{assert_own_error, tool_call};

#[test]
fn nobody_listens() {
    let gateway = Gateway::before(&format!("http://{}", nobody()));
    assert_own_error(&gateway.post("/mcp", &tool_call(7, "t")), 502, -31004, &json!(7));
    let by_name = json!({"jsonrpc": "2.0", "method": "ping", "id": "seven \u{e6}"});
    assert_own_error(&gateway.post("/mcp", &by_name), 502, -31004, &by_name["id"]);
    let zero = json!({"jsonrpc": "2.0", "method": "ping", "id": 0});
    assert_own_error(&gateway.post("/mcp", &zero), 502, -31004, &json!(0));
    let no_id = json!({"jsonrpc": "2.0", "method": "notifications/cancelled"});
    assert_own_error(&gateway.post("/mcp", &no_id), 502, -31004, &json!(null));
    assert_eq!(gateway.call("GET", "/mcp", &[("Accept", "text/event-stream")], b"").status(), 502);
}

#[test]
fn the_head_does_not_come_in_time() {
    let given_up = Gate::default();
    let upstream = Scripted::start({
        let given_up = given_up.clone();
        move |exchange| {
            exchange.client_left()?;
            given_up.open();
            Ok(())
        }
    });
    let config = format!("[proxy]\nhead_timeout = \"200ms\"\n[servers.s]\nurl = \"{}\"\n", upstream.url());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    assert_own_error(&gateway.post("/s/mcp", &tool_call(7, "t")), 504, -31006, &json!(7));
    given_up.wait("the gateway has let go of the upstream");
}

fn check_garbage(bytes: &'static [u8]) {
    let upstream = Scripted::start(move |exchange| {
        exchange.write(bytes)?;
        anyhow::bail!("and closes")
    });
    let gateway = Gateway::before(&upstream.url());
    assert_own_error(&gateway.post("/mcp", &tool_call(7, "t")), 502, -31004, &json!(7));
    assert_eq!(upstream.requests().len(), 1, "a call must not be sent twice");
    assert_eq!(gateway.admin_get("/health/live").status(), 200);
}

#[test]
fn the_upstream_talks_nonsense() {
    check_garbage(b"");
    check_garbage(b"220 mail.example ESMTP\r\n");
    check_garbage(b"HTTP/1.1 200");
    check_garbage(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
    check_garbage(b"HTTP/1.1 abc OK\r\n\r\n");
    check_garbage(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello");
    check_garbage(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!");
    check_garbage(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n");
    check_garbage(&[0; 70_000]);
}

#[test]
fn a_document_that_is_cut_off_is_cut_off_for_the_client_too() {
    let upstream = Scripted::start(|exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\":")?;
        anyhow::bail!("and closes")
    });
    let gateway = Gateway::before(&upstream.url());
    let mut client = gateway.connect();
    client.send(&watchgate_tests::http1::request("POST", "/mcp", &[], b"{}")).unwrap();
    assert_eq!(client.head().unwrap().status(), 200);
    client.body().expect_err("half a document must not look whole");
}

#[test]
fn a_kept_connection_that_the_upstream_closed_meanwhile_costs_no_call() {
    let closed = Arc::new(AtomicUsize::new(0));
    let upstream = Scripted::start({
        let closed = Arc::clone(&closed);
        move |exchange| {
            // Answers as if the connection would be kept, and closes it.
            crate::messages::answer(exchange)?;
            exchange.close();
            closed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let gateway = Gateway::before(&upstream.url());
    for id in 0..50 {
        assert_eq!(gateway.post("/mcp", &tool_call(id, "t")).status(), 200, "call {id}");
        // A call that is under way when the connection closes may be lost, and must not be sent twice; a later one may not.
        wait_until("the upstream has closed", || (closed.load(Ordering::SeqCst) == usize::try_from(id).ok()? + 1).then_some(()));
        // Whoever answers this has heard of everything that happened before it was asked, the end of that connection included.
        assert_eq!(gateway.admin_get("/health/live").status(), 200);
    }
    assert_eq!(upstream.requests().len(), 50);
}
