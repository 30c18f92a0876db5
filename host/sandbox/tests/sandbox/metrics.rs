//! Metrics of plugins: declared in `start`, recorded once live, gone with the generation.

use serde_json::json;

use crate::rig::{Rig, guest, operation, redact};

#[tokio::test]
async fn nothing_is_recorded_before_the_generation_is_live() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({})).await;
    assert_eq!(rig.metric("probe_starts_total", &[("plugin", "probe")]).unwrap_or(0.0), 0.0, "the trial was recorded");
    redact(&plugin, "x").await.unwrap();
    assert_eq!(rig.metric("probe_redacted_total", &[("plugin", "probe"), ("surface", "wire")]), Some(1.0));
    plugin.drain().await;
    assert_eq!(rig.metric("probe_redacted_total", &[("plugin", "probe"), ("surface", "wire")]), None, "the series outlived the plugin");
}

#[tokio::test]
async fn an_equal_declaration_keeps_its_values() {
    let rig = Rig::new();
    let old = rig.probe(json!({})).await;
    redact(&old, "x").await.unwrap();
    let new = rig.probe(json!({})).await;
    old.drain().await;
    redact(&new, "x").await.unwrap();
    assert_eq!(rig.metric("probe_redacted_total", &[("plugin", "probe"), ("surface", "wire")]), Some(2.0));
}

#[tokio::test]
async fn metrics_are_declared_in_start_only_and_labels_are_bounded() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({ "observe": "undeclared-metric", "when": "now" })).await;
    plugin.derivation.as_ref().unwrap().observe(operation("now")).await.unwrap();
    assert_eq!(rig.metric("probe_late_total", &[("plugin", "probe")]), None);
    let flood = rig.live("flood", guest("guest_probe"), crate::rig::configured(json!({ "observe": "series-flood", "when": "now" }))).await;
    flood.derivation.as_ref().unwrap().observe(operation("now")).await.unwrap();
    let page = rig.telemetry.render_prometheus();
    let series = page.lines().filter(|line| line.starts_with("probe_operations_total{") && line.contains("plugin=\"flood\"")).count();
    assert!((900..=1001).contains(&series), "{series} series");
}
