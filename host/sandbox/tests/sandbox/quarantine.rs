//! Who is to blame for interrupts: what a plugin is shown costs nobody else anything, and a plugin that is slow with everything is let be for a while.

use std::time::{Duration, SystemTime};

use serde_json::json;
use watchgate_hooks::FailureReason;
use watchgate_sandbox::{LivePlugin, PluginSettings};

use crate::rig::{Rig, configured, guest, operation, policy, redact, redact_fails, request};

fn looping(config: serde_json::Value) -> PluginSettings {
    let mut settings = configured(config);
    settings.limits.cpu = Some(Duration::from_millis(5));
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_never_stop_a_plugin_that_answers_the_samples() {
    let rig = Rig::new();
    let plugin = rig.live("probe", guest("guest_probe"), looping(json!({ "redact": "loop", "observe": "loop", "when": "now" }))).await;
    let derivation = plugin.derivation.as_ref().unwrap();
    for _ in 0..10 {
        assert_eq!(redact_fails(&plugin, "now").await, FailureReason::CpuTimeout);
        assert_eq!(derivation.observe(operation("now")).await.unwrap_err().reason, FailureReason::CpuTimeout);
    }
    assert!(!plugin.is_quarantined());
    redact(&plugin, "good").await.unwrap();
    derivation.observe(operation("later")).await.unwrap();
    // Nothing that the samples made it record counts, and only failed calls are.
    assert_eq!(rig.metric("probe_redacted_total", &[("plugin", "probe"), ("surface", "wire")]), Some(11.0));
    assert_eq!(rig.metric("probe_redacted_total", &[("plugin", "probe"), ("surface", "telemetry")]), None);
    assert_eq!(rig.metric("probe_operations_total", &[("plugin", "probe"), ("outcome", "ok"), ("name", "search")]), None);
    assert_eq!(rig.metric("watchgate_plugin_restarts_total", &[("plugin", "probe")]), Some(20.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_do_not_either() {
    let rig = Rig::new();
    let plugin = rig.live("probe", guest("guest_probe"), looping(json!({ "redact": "loop", "when": "now" }))).await;
    for _ in 0..3 {
        let mut bad = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let policy = policy(&plugin);
            bad.spawn(async move { policy.redact(request("now")).await });
        }
        redact(&plugin, "good").await.unwrap();
        assert!(bad.join_all().await.iter().all(Result::is_err));
    }
    assert!(!plugin.is_quarantined());
    redact(&plugin, "good").await.unwrap();
}

/// Milliseconds since the Unix epoch.
fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The probe, live, with a while before it during which it will loop whatever it is shown.
async fn loops_soon(rig: &Rig) -> LivePlugin {
    for patience in [500, 2_000, 20_000] {
        let from = now() + patience;
        let settings = looping(json!({ "loops_between": [from, from + 1_500] }));
        // Refused when compiling took so long that it already loops.
        if let Ok(plugin) = rig.try_live("probe", guest("guest_probe"), settings).await {
            return plugin;
        }
    }
    panic!("the probe does not go live");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_loops_with_the_samples_too_is_quarantined_until_it_does_not() {
    let rig = Rig::new();
    let changes = rig.sandbox.quarantines();
    let plugin = loops_soon(&rig).await;
    let mut in_a_row = 0;
    while !plugin.is_quarantined() {
        match redact(&plugin, "good").await {
            Ok(_) => in_a_row = 0,
            Err(failure) => {
                assert_eq!(failure.reason, FailureReason::CpuTimeout);
                in_a_row += 1;
            }
        }
    }
    assert_eq!(in_a_row, 3);
    changes.notified().await;
    let state = |state| rig.metric("watchgate_plugin_state", &[("plugin", "probe"), ("state", state)]);
    assert_eq!(state("quarantined"), Some(1.0));
    assert_eq!(redact_fails(&plugin, "good").await, FailureReason::Quarantined);
    assert_eq!(plugin.health.as_ref().unwrap().check().await.unwrap_err().reason, FailureReason::Quarantined);
    // After one second it still loops, after two more it does not.
    tokio::time::timeout(Duration::from_secs(30), changes.notified()).await.expect("the quarantine ends by itself");
    assert!(!plugin.is_quarantined());
    redact(&plugin, "good").await.unwrap();
    assert_eq!((state("quarantined"), state("live")), (Some(0.0), Some(1.0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_plugin_that_is_removed_leaves_nothing() {
    let rig = Rig::new();
    let plugin = loops_soon(&rig).await;
    while !plugin.is_quarantined() {
        let _while_it_still_answers = redact(&plugin, "good").await;
    }
    plugin.drain().await;
    let usage = rig.sandbox.usage();
    assert_eq!((usage.reserved, usage.existing), (0, Some(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_health_check_that_loops_has_no_samples_to_speak_for_it() {
    let rig = Rig::new();
    let mut settings = looping(json!({ "health": "loop" }));
    settings.kinds = Some([watchgate_hooks::PluginKind::Health].into());
    let plugin = rig.live("probe", guest("guest_probe"), settings).await;
    let check = plugin.health.as_ref().unwrap();
    for _ in 0..3 {
        assert_eq!(check.check().await.unwrap_err().reason, FailureReason::CpuTimeout);
    }
    assert!(plugin.is_quarantined());
    let changes = rig.sandbox.quarantines();
    changes.notified().await;
    tokio::time::timeout(Duration::from_secs(30), changes.notified()).await.expect("it is called again");
    // On trial: once is enough now.
    assert_eq!(check.check().await.unwrap_err().reason, FailureReason::CpuTimeout);
    assert!(plugin.is_quarantined());
}
