//! What plugins write is rationed and cannot forge.

use std::time::Duration;

use serde_json::json;
use watchgate_hooks::FailureReason;

use crate::handmade::chatterer;
use crate::rig::{Rig, configured, guest, redact};

async fn check(evil: &str, dropped: std::ops::RangeInclusive<f64>) {
    let rig = Rig::new();
    let mut settings = configured(json!({ "redact": evil, "when": "now" }));
    settings.limits.cpu = Some(Duration::from_secs(5));
    let plugin = rig.live("probe", guest("guest_probe"), settings).await;
    redact(&plugin, "now").await.unwrap();
    let lines = rig.metric("watchgate_plugin_log_lines_dropped_total", &[("plugin", "probe")]).unwrap();
    assert!(dropped.contains(&lines), "{evil}: {lines} lines dropped");
}

#[tokio::test]
async fn a_call_has_a_hundred_lines() {
    check("huge-log", 900.0..=900.0).await;
    check("flood-stderr", 9900.0..=9900.0).await;
}

#[tokio::test]
async fn host_calls_are_bounded_in_number_and_size() {
    for (bytes, budget) in [(1, Duration::from_secs(60)), (64 << 10, Duration::from_secs(60))] {
        let rig = Rig::new();
        let mut settings = configured(json!({}));
        settings.limits.cpu = Some(budget);
        settings.limits.wall = Some(budget);
        let plugin = rig.live("chatterer", chatterer(bytes), settings).await;
        let failure = plugin.health.as_ref().unwrap().check().await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::HostCalls, "{bytes}: {failure}");
    }
}
