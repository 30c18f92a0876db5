//! A server whose only tool says what it is told, so that a test sees what the plugins on the way make of a text.

use serde_json::{Value, json};
use watchgate_tests::{Exchange, Gateway, GatewayOptions, PluginFolder, Reply, Scripted};

use crate::messages::{event, tool_result};

/// A text that every policy in these tests replaces: see [`said_by`].
pub const WORDS: &str = "probe-secret redactor-secret bare-secret";

/// The upstream: answers on `/events` with an event stream, elsewhere with a document.
pub fn upstream() -> Scripted {
    Scripted::start(|exchange: &mut Exchange| {
        let message: Value = serde_json::from_slice(&exchange.request.body)?;
        let result = tool_result(&message["id"], message["params"]["arguments"]["text"].as_str().unwrap_or_default());
        if exchange.request.head.target().ends_with("/events") {
            exchange.event_stream()?;
            exchange.chunk(event(&result))?;
            return exchange.end();
        }
        exchange.json(200, result)
    })
}

/// A gateway with this folder in front of `upstream`.
#[track_caller]
pub fn gateway(upstream: &Scripted, folder: &PluginFolder, more: &[&str]) -> Gateway {
    let args = ["--upstream", &upstream.url(), "--plugins", folder.path()];
    Gateway::start(&[&args, more].concat(), GatewayOptions::default())
}

/// Lets the tool say `text`.
#[track_caller]
pub fn say(gateway: &Gateway, target: &str, text: &str) -> Reply {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "say", "arguments": {"text": text}}});
    gateway.post(target, &call)
}

/// What the client hears when [`WORDS`] are said.
#[track_caller]
pub fn heard(gateway: &Gateway) -> String {
    let reply = say(gateway, "/mcp", WORDS);
    let message = reply.json().unwrap();
    assert_eq!((reply.status(), &message["id"]), (200, &json!(1)), "{message}");
    message["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {message}")).to_owned()
}

/// [`WORDS`] after the policy of this guest: `redactor` and `bare` each mask their own; `probe` does as [`probe_says`] tells it.
pub fn said_by(guest: &str) -> String {
    WORDS.replace(&format!("{guest}-secret"), &format!("[{guest}]"))
}

/// Settings with which the probe puts `word` in the place of its secret.
pub fn probe_says(word: &str) -> String {
    format!("[config]\nredact = \"mask:probe-secret={word}\"\n")
}
