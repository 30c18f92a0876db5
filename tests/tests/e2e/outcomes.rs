//! Each way in which a call can end is a number of its own, in the metrics and in the access log.

use serde_json::{Value, json};
use watchgate_tests::upstream::nobody;
use watchgate_tests::{Exchange, Gateway, GatewayOptions, Scripted, wait_until};

use crate::messages::{tool_call, tool_result};

/// An upstream whose tools are named after what they do.
fn upstream() -> Scripted {
    Scripted::start(|exchange| {
        let message: Value = serde_json::from_slice(&exchange.request.body)?;
        let id = message["id"].clone();
        if message["method"] == "tools/list" {
            let tools: Vec<Value> = TOOLS.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
            return exchange.json(200, json!({"jsonrpc": "2.0", "id": id, "result": {"tools": tools}}).to_string());
        }
        if message["method"] != "tools/call" {
            let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "?"}});
            return exchange.json(200, error.to_string());
        }
        if !TOOLS.iter().any(|name| message["params"]["name"] == *name) {
            let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "?"}});
            return exchange.json(200, error.to_string());
        }
        let streamed = exchange.request.head.target().ends_with("/stream");
        act(exchange, message["params"]["name"].as_str().unwrap_or_default(), &id, streamed)
    })
}

const TOOLS: [&str; 6] = ["works", "fails", "unknown-to-itself", "http-error", "rpc-error-in-400", "cut"];

fn act(exchange: &mut Exchange, tool: &str, id: &Value, streamed: bool) -> anyhow::Result<()> {
    let (status, body) = match tool {
        "works" => (200, tool_result(id, "fine")),
        // The flag stands late, after more text than anybody captures.
        "fails" => (
            200,
            json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "x".repeat(200_000)}], "isError": true}})
                .to_string(),
        ),
        "unknown-to-itself" => (200, json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "?"}}).to_string()),
        "rpc-error-in-400" => (400, json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32020, "message": "?"}}).to_string()),
        "http-error" => return exchange.respond(503, &[("Content-Type", "text/html")], b"<h1>no</h1>"),
        _ => {
            exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")?;
            anyhow::bail!("cut")
        }
    };
    if !streamed {
        return exchange.json(status, body);
    }
    exchange.event_stream()?;
    exchange.chunk(format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}}\n\ndata: {body}\n\n"))?;
    exchange.end()
}

fn count(gateway: &Gateway, tool: &str, outcome: &str) -> f64 {
    gateway.metrics().metric("watchgate_mcp_tool_calls_total", &[("server", "s"), ("tool", tool), ("outcome", outcome)])
}

/// Calls `tool` and checks that exactly this outcome was counted for it, and written.
fn check(gateway: &Gateway, path: &str, tool: &str, outcome: &str) {
    let (before, lines) = (count(gateway, tool, outcome), gateway.access_log().len());
    let total = || gateway.metrics().metric("watchgate_mcp_tool_calls_total", &[]);
    let all_before = total();
    let mut client = gateway.connect();
    let body = tool_call(1, tool).to_string();
    client.send(&watchgate_tests::http1::request("POST", path, &watchgate_tests::http1::MCP_POST, body.as_bytes())).unwrap();
    // The outcome is what counts here; the bytes of a cut answer do not.
    let _ = client.reply();
    wait_until(&format!("{tool} on {path} is counted as {outcome}:\n{}", gateway.metrics().text()), || {
        (count(gateway, tool, outcome) == before + 1.0).then_some(())
    });
    assert_eq!(total(), all_before + 1.0, "one call is counted once");
    let line = wait_until("an access line", || gateway.access_log().into_iter().nth(lines));
    assert_eq!(line["outcome"], outcome, "{line}");
}

fn gateway_before(upstream: &Scripted) -> Gateway {
    let gateway = Gateway::start(&["--upstream", &format!("s={}", upstream.url())], GatewayOptions::default());
    // A tool's name becomes a label only once its server has listed it.
    gateway.post("/s/mcp", &json!({"jsonrpc": "2.0", "id": 0, "method": "tools/list"}));
    // Lines are written a little later; those that come are told apart by their place.
    wait_until("the list's access line", || (gateway.access_log().len() == 1).then_some(()));
    gateway
}

#[test]
fn an_answer_as_a_document_is_counted_by_its_outcome() {
    let upstream = upstream();
    let gateway = gateway_before(&upstream);
    check(&gateway, "/s/mcp", "works", "ok");
    check(&gateway, "/s/mcp", "fails", "tool_error");
    check(&gateway, "/s/mcp", "unknown-to-itself", "rpc_error");
    check(&gateway, "/s/mcp", "rpc-error-in-400", "rpc_error");
    check(&gateway, "/s/mcp", "http-error", "http_error");
    check(&gateway, "/s/mcp", "cut", "aborted");
}

#[test]
fn an_answer_in_a_stream_is_counted_by_its_outcome() {
    let upstream = upstream();
    let gateway = gateway_before(&upstream);
    check(&gateway, "/s/stream", "works", "ok");
    check(&gateway, "/s/stream", "fails", "tool_error");
    check(&gateway, "/s/stream", "unknown-to-itself", "rpc_error");
}

#[test]
fn a_client_that_leaves_a_stream_cancels_only_what_was_not_answered() {
    // The stream stays open behind the answer to `works`.
    let upstream = Scripted::start(|exchange| {
        let message: Value = serde_json::from_slice(&exchange.request.body)?;
        exchange.event_stream()?;
        let is_answered = message["params"]["name"] == "works";
        let data = if is_answered { tool_result(&message["id"], "fine") } else { json!({"jsonrpc": "2.0", "method": "x"}).to_string() };
        exchange.chunk(format!("data: {data}\n\n"))?;
        exchange.client_left().map(drop)
    });
    let gateway = Gateway::before(&upstream.url());
    for (index, (tool, outcome)) in [("works", "ok"), ("hangs", "cancelled")].into_iter().enumerate() {
        let mut client = gateway.connect();
        let body = tool_call(1, tool).to_string();
        client.send(&watchgate_tests::http1::request("POST", "/mcp", &watchgate_tests::http1::MCP_POST, body.as_bytes())).unwrap();
        client.head().unwrap();
        client.body_until("\n\n").unwrap();
        drop(client);
        let line = wait_until("an access line", || gateway.access_log().into_iter().nth(index));
        assert_eq!(line["outcome"], outcome, "{line}");
        let labels = [("outcome", outcome)];
        assert_eq!(gateway.metrics().metric("watchgate_mcp_tool_calls_total", &labels), 1.0, "{tool}");
    }
}

#[test]
fn no_answer_is_counted_by_its_reason() {
    let silent = Scripted::start(|exchange| exchange.client_left().map(drop));
    let config = format!(
        "[proxy]\nhead_timeout = \"200ms\"\n[servers.silent]\nurl = \"{}\"\n[servers.nobody]\nurl = \"http://{}\"\n",
        silent.url(),
        nobody()
    );
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    for (server, outcome) in [("silent", "timeout"), ("nobody", "unreachable")] {
        gateway.post(&format!("/{server}/mcp"), &tool_call(1, "t"));
        let labels = [("server", server), ("outcome", outcome)];
        wait_until(&format!("{server} is counted as {outcome}"), || {
            (gateway.metrics().metric("watchgate_mcp_tool_calls_total", &labels) == 1.0).then_some(())
        });
    }
}

#[test]
fn a_name_that_no_server_knows_is_no_label() {
    let upstream = upstream();
    let gateway = gateway_before(&upstream);
    for id in 0..30 {
        gateway.post("/s/mcp", &tool_call(id, &format!("made-up-{id}")));
        gateway.post("/s/mcp", &json!({"jsonrpc": "2.0", "id": id, "method": format!("made/up/{id}")}));
    }
    assert!(!gateway.metrics().text().contains("made"), "{}", gateway.metrics().text());
}
