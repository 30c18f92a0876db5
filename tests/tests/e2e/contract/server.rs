//! An MCP server that does everything a server can do, well and badly.

use std::time::Duration;

use serde_json::{Value, json};
use watchgate_tests::wait::pause;
use watchgate_tests::{Exchange, Gate, Scripted};

/// The tool whose call is held until the gate opens.
pub const HELD: &str = "held";

/// The tool whose answer is more than the sockets on its way hold.
pub const LARGE: &str = "large";

/// How long a call of [`HELD`] takes at least: it is to be a slow one.
const SLOW: Duration = Duration::from_millis(5);

/// A server whose answers depend on the tool that is called; calls of [`HELD`] open `arrived` and wait for `release`.
pub fn start(arrived: &Gate, release: &Gate) -> Scripted {
    let (arrived, release) = (arrived.clone(), release.clone());
    Scripted::start_for_the_gateway_too(move |exchange| match exchange.request.head.method() {
        "GET" => {
            exchange.event_stream()?;
            exchange.client_left().map(drop)
        }
        "DELETE" => exchange.respond(204, &[], b""),
        _ => {
            let message: Value = serde_json::from_slice(&exchange.request.body)?;
            if message["params"]["name"] == HELD {
                arrived.open();
                release.wait("the held call may go on");
                pause(SLOW);
            }
            if message["params"]["name"] == LARGE {
                return answer_at_length(exchange, &message);
            }
            answer(exchange, &message)
        }
    })
}

/// Comments, then the answer.
fn answer_at_length(exchange: &mut Exchange, message: &Value) -> anyhow::Result<()> {
    exchange.event_stream()?;
    let comment = format!(":{}\n\n", "x".repeat(64 << 10));
    for _ in 0..320 {
        exchange.chunk(&comment)?;
    }
    exchange.chunk(format!("data: {}\n\n", answer_to(message)))?;
    exchange.end()
}

fn answer(exchange: &mut Exchange, message: &Value) -> anyhow::Result<()> {
    if let Value::Array(batch) = message {
        let answers: Vec<Value> = batch.iter().map(answer_to).collect();
        return exchange.json(200, Value::from(answers).to_string());
    }
    if message["id"].is_null() {
        return exchange.respond(202, &[], b"");
    }
    let body = answer_to(message).to_string();
    let mut headers = vec![("Content-Type", "application/json")];
    if message["method"] == "initialize" {
        headers.push(("Mcp-Session-Id", "session-of-the-contract"));
    }
    exchange.respond(200, &headers, body.as_bytes())
}

fn answer_to(message: &Value) -> Value {
    let answered = match message["method"].as_str().unwrap_or_default() {
        "initialize" => Ok(json!({
            "protocolVersion": message["params"]["protocolVersion"], "capabilities": {}, "serverInfo": {"name": "s", "version": "1"},
        })),
        "server/discover" => Ok(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})),
        "tools/list" => {
            let tools = ["forecast", "broken", "flood", HELD].map(|name| json!({"name": name, "inputSchema": {"type": "object"}}));
            Ok(json!({"tools": tools}))
        }
        "prompts/list" => Ok(json!({"prompts": [{"name": "greet"}]})),
        "prompts/get" => Ok(json!({"messages": []})),
        "resources/read" => Ok(json!({"contents": []})),
        "tools/call" => call(message["params"]["name"].as_str().unwrap_or_default()),
        _ => Err((-32601, "no such method")),
    };
    match answered {
        Ok(result) => json!({"jsonrpc": "2.0", "id": message["id"], "result": result}),
        Err((code, text)) => json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": text}}),
    }
}

fn call(tool: &str) -> Result<Value, (i64, &'static str)> {
    match tool {
        "unknown" => Err((-32602, "no such tool")),
        "failing" => Err((-32603, "it failed")),
        _ => Ok(json!({"content": [{"type": "text", "text": "done"}], "isError": tool == "broken"})),
    }
}
