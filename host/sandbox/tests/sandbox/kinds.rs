//! The four kinds do what the contract says when all is well.

use std::time::{Duration, SystemTime};

use serde_json::json;
use watchgate_hooks::{Alert, AlertState, Edit, FailureReason, Kind, PluginKind, Surface, Verdict};
use watchgate_mcp::Direction;
use watchgate_sandbox::PluginSettings;

use crate::rig::{Rig, configured, guest, message, operation, policy, redact, request};

fn alert() -> Alert {
    Alert {
        name: "too-slow".to_owned(),
        state: AlertState::Firing,
        is_repeat: false,
        severity: "warning".to_owned(),
        summary: String::new(),
        value: 2.5,
        threshold: 1.0,
        labels: Vec::new(),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
        resolved_at: None,
        fingerprint: "f".to_owned(),
    }
}

async fn check_edits(redact_as: &str, text: &str, expected: &[Edit]) {
    let rig = Rig::new();
    let plugin = rig.probe(json!({ "redact": redact_as, "when": text })).await;
    let reply = redact(&plugin, text).await.unwrap();
    assert_eq!(reply.verdict, Verdict::Pass, "{redact_as}");
    assert_eq!(reply.edits, expected, "{redact_as}");
}

#[tokio::test]
async fn edits_come_back_as_they_were_made() {
    let body = request("a secret word").body;
    let start = body.windows(6).position(|window| window == b"secret").unwrap();
    let masked = Edit::Mask { start, end: start + 6, replacement: "***".to_owned() };
    check_edits("mask:secret=***", "a secret word", &[masked]).await;
    let set = Edit::SetJson { pointer: "/params/arguments/text".to_owned(), json: "null".to_owned() };
    check_edits("set:/params/arguments/text=null", "secret", &[set]).await;
    check_edits("body:{}", "secret", &[Edit::SetBody("{}".into())]).await;
    check_edits("pass", "secret", &[]).await;
}

#[tokio::test]
async fn an_edit_that_breaks_the_rules_is_refused_when_it_is_made() {
    let rig = Rig::new();
    for redact_as in ["set:/no/such/place=1", "set:/id=not json", "mask:\"jsonrpc\"=x"] {
        let plugin = rig.probe(json!({ "redact": redact_as, "when": "now" })).await;
        let reply = redact(&plugin, "now").await.unwrap();
        assert!(matches!(&reply.verdict, Verdict::Deny(reason) if reason.starts_with("edit refused")), "{redact_as}: {reply:?}");
    }
    for redact_as in ["out-of-range", "overlap-masks"] {
        let plugin = rig.probe(json!({ "redact": redact_as, "when": "now" })).await;
        let reply = redact(&plugin, "now").await.unwrap();
        assert!(reply.edits.len() <= 1, "{redact_as}: {reply:?}");
    }
}

#[tokio::test]
async fn a_denial_has_its_reason() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({ "redact": "deny" })).await;
    let reply = redact(&plugin, "x").await.unwrap();
    assert_eq!(reply.verdict, Verdict::Deny("the probe was told to deny".to_owned()));
}

#[tokio::test]
async fn interest_is_what_start_declared() {
    let rig = Rig::new();
    let config = json!({
        "triggers": ["AKIA", "ghp_"], "surfaces": ["wire"], "directions": ["server-to-client"], "methods": ["tools/call"], "tools": ["echo"],
    });
    let plugin = rig.probe(config).await;
    let policy = policy(&plugin);
    let interest = policy.interest();
    assert_eq!(interest.triggers, ["akia", "ghp_"]);
    assert_eq!(interest.surfaces, [Surface::Wire]);
    assert_eq!(interest.directions, [Direction::ServerToClient]);
    assert_eq!((interest.methods.as_slice(), interest.tools.as_slice()), (&["tools/call".to_owned()][..], &["echo".to_owned()][..]));
}

#[tokio::test]
async fn a_large_body_goes_in_and_out() {
    let rig = Rig::new();
    let mut settings = configured(json!({ "redact": "mask:needle=x", "when": "needle" }));
    settings.limits.memory_bytes = 64 << 20;
    settings.limits.cpu = Some(Duration::from_secs(5));
    let plugin = rig.live("probe", guest("guest_probe"), settings).await;
    let text = format!("{}needle", "hay ".repeat(1 << 20));
    let reply = redact(&plugin, &text).await.unwrap();
    assert_eq!(reply.edits.len(), 1);
}

#[tokio::test]
async fn opaque_bodies_and_all_bytes_are_shown() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({ "redact": "mask:now=y", "when": "now" })).await;
    let reply = policy(&plugin).redact(message(Kind::Opaque, "<p>now</p>".to_owned())).await.unwrap();
    assert!(matches!(reply.verdict, Verdict::Deny(_)), "a mask on an opaque body was accepted");
}

#[tokio::test]
async fn all_kinds_of_one_component_answer() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({ "health": "long" })).await;
    assert_eq!(plugin.kinds().len(), PluginKind::ALL.len());
    let report = plugin.health.as_ref().unwrap().check().await.unwrap();
    assert_eq!(report.detail.len(), 1024, "a detail is cut");
    plugin.alerting.as_ref().unwrap().notify(alert()).await.unwrap();
    let derivation = plugin.derivation.as_ref().unwrap();
    assert_eq!(derivation.collect_interval(), Some(Duration::from_secs(15)));
    derivation.observe(operation("echo")).await.unwrap();
    derivation.collect().await.unwrap();
    derivation.collect().await.unwrap();
    assert_eq!(rig.metric("probe_collections", &[("plugin", "probe")]), Some(2.0), "the derivation keeps one instance");
    assert_eq!(rig.metric("watchgate_plugin_calls_total", &[("plugin", "probe"), ("kind", "health")]), Some(1.0));
}

#[tokio::test]
async fn only_the_kinds_that_the_settings_list_are_used() {
    let rig = Rig::new();
    let settings = PluginSettings { kinds: Some([PluginKind::Health, PluginKind::Derivation].into()), ..PluginSettings::default() };
    let plugin = rig.live("probe", guest("guest_probe"), settings).await;
    assert!(plugin.redaction.is_none() && plugin.alerting.is_none());
    assert!(plugin.health.is_some() && plugin.derivation.is_some());
}

#[tokio::test]
async fn an_alert_action_that_errs_says_so() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({ "notify": "error" })).await;
    let failure = plugin.alerting.as_ref().unwrap().notify(alert()).await.unwrap_err();
    assert_eq!(failure.reason, FailureReason::GuestError);
    assert_eq!(failure.detail, "the probe was told to fail");
    assert_eq!(
        rig.metric("watchgate_plugin_failures_total", &[("plugin", "probe"), ("kind", "alerting"), ("reason", "guest_error")]),
        Some(1.0)
    );
}

#[tokio::test]
async fn text_is_shown_only_to_a_derivation_that_declared_it() {
    for (keep_text, expected) in [(true, Some(2.0)), (false, None)] {
        let rig = Rig::new();
        let plugin = rig.probe(json!({ "keep_text": keep_text })).await;
        let derivation = plugin.derivation.as_ref().unwrap();
        assert_eq!(derivation.keeps_text(), keep_text);
        derivation.observe(operation("echo")).await.unwrap();
        let bytes = rig.metric("probe_text_bytes_total", &[("plugin", "probe"), ("side", "request")]);
        assert_eq!(bytes, expected, "keep_text = {keep_text}");
    }
}

#[tokio::test]
async fn a_component_without_wasi_runs_too() {
    let rig = Rig::new();
    let plugin = rig.live("bare", guest("guest_bare"), PluginSettings::default()).await;
    let reply = redact(&plugin, "a bare-secret here").await.unwrap();
    assert!(matches!(reply.edits.as_slice(), [Edit::Mask { replacement, .. }] if replacement == "[bare]"), "{reply:?}");
    assert_eq!(rig.metric("bare_masked_total", &[("plugin", "bare"), ("server", "everything")]), Some(1.0));
}

#[tokio::test]
async fn a_body_that_is_not_json_is_the_chains_to_refuse() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({ "redact": "not-json", "when": "now" })).await;
    let reply = redact(&plugin, "now").await.unwrap();
    assert!(matches!(reply.edits.as_slice(), [Edit::SetBody(body)] if body.as_ref() == b"{\"broken\""), "{reply:?}");
}
