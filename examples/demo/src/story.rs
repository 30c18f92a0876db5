//! The story, part by part.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::checks::{Evidence, check};
use crate::clients::{Client, Era};
use crate::sample_server::REPORT_STEPS;
use crate::secrets::KEY;
use crate::set_up::{PLUGINS, Pieces, set_up};
use crate::swap::{Swapped, swap};
use crate::telling::{line, part};

/// Between the calls that keep the numbers moving while somebody looks around.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells the story with the plugins that lie in `plugins`; unless `once`, stays up until Ctrl-C. Says whether all went well.
pub async fn tell(plugins: &Path, once: bool) -> Result<bool> {
    part("Watchgate: a gateway in front of MCP servers, with plugins that are swapped while traffic flows");
    let pieces = set_up(plugins).await?;
    line("sample MCP server (rmcp)", &pieces.direct_url());
    line("the gateway before it", &pieces.gateway_url());
    line("plugins", &PLUGINS.join(", "));

    let direct = ask_directly(&pieces).await?;
    let (through, progress) = ask_through(&pieces).await?;
    part("What redact-secrets did to an answer");
    line("from the server", &direct);
    line("through the gateway", through.first().map_or("", String::as_str));

    part("Swapping redact-secrets while three clients call without a pause");
    let swapped = swap(&pieces).await?;
    tell_swap(&swapped);
    let evidence = Evidence { direct, through, progress, swapped };

    part("Is it so?");
    let all_well = check(&pieces, &evidence).await?;
    tell_numbers(&pieces).await?;
    if !once {
        look_around(&pieces).await?;
    }
    part(if all_well { "All of it is so." } else { "Not all of it is so." });
    Ok(all_well)
}

/// What a client without the gateway reads.
async fn ask_directly(pieces: &Pieces) -> Result<String> {
    let client = Client::connect(&pieces.direct_url(), Era::Modern).await?;
    let answer = client.call("lookup_customer", &json!({"number": 7})).await?;
    client.close().await?;
    Ok(answer.text)
}

/// The same and more through the gateway, in both eras; gives what was read, the first answer first, and progress seen and sent.
async fn ask_through(pieces: &Pieces) -> Result<(Vec<String>, (u32, u32))> {
    let mut read = Vec::new();
    let mut progress = (0, 0);
    part("Calls through the gateway");
    for era in [Era::Modern, Era::Legacy] {
        let client = Client::connect(&pieces.url(), era).await?;
        let tools = client.tools().await?;
        for (tool, arguments) in [
            ("lookup_customer", json!({"number": 7})),
            ("stock_level", json!({"name": "punch cards"})),
            ("monthly_report", json!({})),
            ("refund_order", json!({"number": 1843})),
        ] {
            let answer = client.call(tool, &arguments).await?;
            line(&format!("{era:?}: {tool}"), &format!("{}{}", if answer.is_error { "tool error: " } else { "" }, answer.text));
            read.push(answer.text);
        }
        // A name is what logs and metrics keep of a call, so a secret in its place shows whether they keep it.
        let refused = client.call(KEY, &json!({})).await.err().map_or_else(|| "answered".to_owned(), |error| format!("{error:#}"));
        line(&format!("{era:?}: (the key)"), &format!("refused: {refused}"));
        read.push(refused);
        line(
            &format!("{era:?}: monthly_report"),
            &format!("{} notifications of progress; the server has {} tools", client.progress(), tools.len()),
        );
        progress = (progress.0 + client.progress(), progress.1 + REPORT_STEPS);
        client.close().await?;
    }
    Ok((read, progress))
}

fn tell_swap(swapped: &Swapped) {
    let reached = |live: Option<(u64, Duration)>| match live {
        Some((generation, took)) => format!("generation {generation} is live after {} ms", took.as_millis()),
        None => "did not go live".to_owned(),
    };
    line("before", &format!("generation {}", swapped.before));
    line("", &swapped.answer_before);
    line("another component", &reached(swapped.component));
    line("other settings", &reached(swapped.settings));
    line("", &swapped.answer_after);
    let tally = &swapped.tally;
    line("meanwhile", &format!("{} calls answered, {} failed", tally.answered(), tally.failed()));
}

async fn tell_numbers(pieces: &Pieces) -> Result<()> {
    part("What there is to see");
    let metrics = pieces.metrics().await?;
    for outcome in ["ok", "tool_error"] {
        let calls = metrics.metric("watchgate_mcp_tool_calls_total", &[("outcome", outcome)]);
        line(&format!("tool calls: {outcome}"), &calls.to_string());
    }
    for plugin in PLUGINS {
        let calls = metrics.metric("watchgate_plugin_calls_total", &[("plugin", plugin)]);
        line(&format!("calls of {plugin}"), &calls.to_string());
    }
    let health = pieces.admin_json("/health").await?;
    for check in health["checks"].as_array().into_iter().flatten() {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        line(&format!("health: {}", text("name")), &format!("{} {}", text("status"), text("detail")));
    }
    if let Some(alert) = pieces.receiver.received().first() {
        line("the alert as received", &pretty(alert));
    }
    Ok(())
}

fn pretty(text: &str) -> String {
    serde_json::from_str::<Value>(text).and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| text.to_owned())
}

/// Keeps everything up, with a call now and then, until Ctrl-C.
async fn look_around(pieces: &Pieces) -> Result<()> {
    part("Look around; Ctrl-C ends it");
    line("MCP endpoint", &pieces.gateway_url());
    for (what, path) in [("metrics", "/metrics"), ("health", "/health"), ("plugins", "/api/plugins"), ("alerts", "/api/alerts")] {
        line(what, &pieces.admin_url(path));
    }
    line("plugin folder", &pieces.folder().display().to_string());
    line("access log", &pieces.access_log().display().to_string());
    let client = Client::connect(&pieces.url(), Era::Modern).await?;
    let calling = async {
        loop {
            // Whatever somebody does to the plugins meanwhile may make it fail; that is what they came to see.
            let _ = client.call("lookup_customer", &json!({"number": 7})).await;
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        () = calling => Ok(()),
    }
}
