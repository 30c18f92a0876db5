//! Plugins that trap, loop, grow, wait and leak: each call fails with its own reason, and the next one is served by a fresh instance.

use std::time::Duration;

use serde_json::json;
use watchgate_hooks::FailureReason;
use watchgate_sandbox::LivePlugin;

use crate::rig::{Rig, configured, guest, operation, redact, redact_fails};

/// A plugin that does `evil` on messages that say so.
async fn evil_redactor(rig: &Rig, evil: &str) -> LivePlugin {
    let mut settings = configured(json!({ "redact": evil, "when": "now" }));
    settings.limits.wall = Some(Duration::from_secs(1));
    rig.live("probe", guest("guest_probe"), settings).await
}

async fn check(evil: &str, expected: FailureReason) {
    let rig = Rig::new();
    let plugin = evil_redactor(&rig, evil).await;
    redact(&plugin, "good").await.unwrap();
    assert_eq!(redact_fails(&plugin, "now").await, expected, "{evil}");
    assert_eq!(plugin.instances(), 0, "{evil}: the instance was kept");
    redact(&plugin, "good again").await.unwrap();
    assert_eq!(rig.metric("watchgate_plugin_restarts_total", &[("plugin", "probe")]), Some(1.0), "{evil}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_evil_has_its_reason() {
    check("trap", FailureReason::Trap).await;
    check("loop", FailureReason::CpuTimeout).await;
    check("grow", FailureReason::Memory).await;
    check("wait", FailureReason::WallTimeout).await;
    check("leak-handles", FailureReason::HostCalls).await;
}

#[tokio::test]
async fn observing_plugins_fail_alone() {
    for (evil, expected) in [("trap", FailureReason::Trap), ("loop", FailureReason::CpuTimeout), ("grow", FailureReason::Memory)] {
        let rig = Rig::new();
        let plugin = rig.probe(json!({ "observe": evil, "when": "now" })).await;
        let derivation = plugin.derivation.as_ref().unwrap();
        assert_eq!(derivation.observe(operation("now")).await.unwrap_err().reason, expected, "{evil}");
        derivation.observe(operation("later")).await.unwrap();
        redact(&plugin, "good").await.unwrap();
    }
}

#[tokio::test]
async fn traps_do_not_quarantine() {
    let rig = Rig::new();
    let plugin = evil_redactor(&rig, "trap").await;
    for _ in 0..5 {
        assert_eq!(redact_fails(&plugin, "now").await, FailureReason::Trap);
    }
    redact(&plugin, "good").await.unwrap();
}

#[tokio::test]
async fn a_cancelled_call_gives_its_slot_back() {
    let rig = Rig::new();
    let mut settings = configured(json!({ "redact": "wait", "when": "now" }));
    settings.limits.max_instances = 1;
    let plugin = rig.live("probe", guest("guest_probe"), settings).await;
    {
        let mut waiting = Box::pin(redact(&plugin, "now"));
        assert!(futures_now(waiting.as_mut()).await.is_none(), "the call was expected to wait");
        assert_eq!(plugin.instances(), 1);
    }
    assert_eq!(plugin.instances(), 0, "the instance of a cancelled call was kept");
    redact(&plugin, "good").await.unwrap();
}

#[tokio::test]
async fn a_call_waits_for_an_instance_only_until_its_deadline() {
    let rig = Rig::new();
    let mut settings = configured(json!({ "redact": "wait", "when": "now" }));
    settings.limits.max_instances = 1;
    settings.limits.wall = Some(Duration::from_millis(300));
    let plugin = rig.live("probe", guest("guest_probe"), settings).await;
    let mut first = Box::pin(redact(&plugin, "now"));
    assert!(futures_now(first.as_mut()).await.is_none());
    assert_eq!(redact_fails(&plugin, "good").await, FailureReason::NoCapacity);
    // Its timer has run out too, although nobody looked.
    assert_eq!(first.await.unwrap_err().reason, FailureReason::WallTimeout);
}

/// Polls a future once.
async fn futures_now<T>(mut future: std::pin::Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
