//! What must be true at the end. Every check looks at something that can be otherwise, and says what it saw.

use std::fs;

use anyhow::Result;
use watchgate_tests::metrics::Metrics;

use crate::secrets;
use crate::set_up::{ALERT, PLUGINS, Pieces};
use crate::swap::Swapped;
use crate::telling;

/// What the checks look at besides the running pieces.
pub struct Evidence {
    /// What the server answered when it was asked directly.
    pub direct: String,
    /// What clients read through the gateway.
    pub through: Vec<String>,
    /// Notifications of progress that arrived through the gateway, and how many were sent.
    pub progress: (u32, u32),
    /// What came of the swaps.
    pub swapped: Swapped,
}

/// What came of one check: a proof or a problem.
type Outcome = Result<String, String>;

/// Checks everything, prints what came of it, and says whether all is well.
pub async fn check(pieces: &Pieces, evidence: &Evidence) -> Result<bool> {
    let metrics = settled(pieces).await?;
    let mut all_well = true;
    let mut check = |what: &str, outcome: Outcome| {
        telling::verdict(what, &outcome);
        all_well &= outcome.is_ok();
    };
    check("the server answers with the secrets when it is asked directly", planted(&evidence.direct));
    let log = fs::read(pieces.access_log())?;
    for (place, bytes) in [
        ("in what clients were sent", pieces.recorder.sent_to_clients()),
        ("in what clients read", evidence.through.join("\n").into_bytes()),
        ("in the access log", log),
        ("in the gateway's own log", pieces.own_log().into_bytes()),
        ("in the metrics", metrics.text().as_bytes().to_vec()),
        ("in the alerts", pieces.receiver.received().concat().into_bytes()),
    ] {
        check(&format!("no secret {place}"), clean(&bytes));
    }
    let (arrived, sent) = evidence.progress;
    check("every event of the stream arrived", expect(arrived == sent, format!("{arrived} of {sent}")));
    for name in PLUGINS {
        check(&format!("{name} was called and did not fail"), called(&metrics, name));
    }
    for (series, labels) in [
        ("redact_secrets_found_total", [("plugin", "redact-secrets"), ("class", "aws_key")].as_slice()),
        ("tool_sizes_content_blocks_total", &[("plugin", "tool-sizes"), ("tool", "lookup_customer")]),
        ("watchgate_health_check_status", &[("check", "expected-tools"), ("state", "ok")]),
        ("watchgate_alert_notifications_total", &[("action", "alert-webhook")]),
    ] {
        let value = metrics.metric(series, labels);
        check(&format!("{series} of {} moved", labels[0].1), expect(value > 0.0, value.to_string()));
    }
    let swapped = &evidence.swapped;
    for (what, live) in [("another component", swapped.component), ("other settings", swapped.settings)] {
        let proof = live.map(|(generation, took)| format!("generation {generation} after {} ms", took.as_millis()));
        check(&format!("{what} went live while calls flowed"), proof.ok_or_else(|| "the generation did not change".to_owned()));
    }
    check("the new settings act", changed(&swapped.answer_before, &swapped.answer_after));
    check("no call failed meanwhile", unharmed(swapped));
    check("the alert arrived", arrived_alert(&pieces.receiver.received()));
    Ok(all_well)
}

/// A scrape in which the slow ones (the health check's schedule, the alert's way) have moved, or the last one before the deadline.
async fn settled(pieces: &Pieces) -> Result<Metrics> {
    let moved = |metrics: &Metrics| {
        let is_well = metrics.metric("watchgate_health_check_status", &[("check", "expected-tools"), ("state", "ok")]) > 0.0;
        let told = metrics.metric("watchgate_alert_notifications_total", &[("action", "alert-webhook")]) > 0.0;
        (is_well && told && !pieces.receiver.received().is_empty()).then_some(())
    };
    pieces.until(moved).await?;
    pieces.metrics().await
}

fn expect(holds: bool, seen: String) -> Outcome {
    if holds { Ok(seen) } else { Err(seen) }
}

fn planted(direct: &str) -> Outcome {
    let found = secrets::found_in(direct.as_bytes());
    expect(found.len() == secrets::ALL.len(), format!("found: {}", found.join(", ")))
}

fn clean(bytes: &[u8]) -> Outcome {
    if bytes.is_empty() {
        return Err("there is nothing to look at".to_owned());
    }
    match secrets::found_in(bytes).as_slice() {
        [] => Ok(format!("{} bytes searched", bytes.len())),
        found => Err(format!("found: {}", found.join(", "))),
    }
}

fn called(metrics: &Metrics, plugin: &str) -> Outcome {
    let calls = metrics.metric("watchgate_plugin_calls_total", &[("plugin", plugin)]);
    let failures = metrics.metric("watchgate_plugin_failures_total", &[("plugin", plugin)]);
    expect(calls > 0.0 && failures == 0.0, format!("{calls} calls, {failures} failures"))
}

fn changed(before: &str, after: &str) -> Outcome {
    let holds = before.contains("[REDACTED:email]") && !after.contains("[REDACTED:email]") && after.contains("[email:");
    expect(holds, format!("first \"{before}\", then \"{after}\""))
}

fn unharmed(swapped: &Swapped) -> Outcome {
    let tally = &swapped.tally;
    let (answered, failed, leaked) = (tally.answered(), tally.failed(), tally.leaked());
    let seen = format!("{answered} answered, {failed} failed, {leaked} with a secret");
    let seen = tally.first_failure().map_or(seen.clone(), |reason| format!("{seen}; first failure: {reason}"));
    expect(answered > 0 && failed == 0 && leaked == 0, seen)
}

fn arrived_alert(received: &[String]) -> Outcome {
    let is_ours = |body: &&String| body.contains(ALERT) && body.contains("firing");
    match received.iter().find(is_ours) {
        Some(_) => Ok(format!("{} notifications", received.len())),
        None => Err(format!("received: {received:?}")),
    }
}
