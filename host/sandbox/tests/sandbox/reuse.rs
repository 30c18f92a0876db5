//! How long an instance lives.

use serde_json::json;
use watchgate_hooks::Edit;
use watchgate_sandbox::{Isolation, LivePlugin, PluginSettings};

use crate::rig::{Rig, configured, guest, redact};

/// The probe masks `count` by the number of calls its instance has had.
fn counting() -> PluginSettings {
    configured(json!({ "redact": "count-instances", "when": "count" }))
}

async fn counts(plugin: &LivePlugin, calls: usize) -> Vec<String> {
    let mut counts = Vec::new();
    for _ in 0..calls {
        let reply = redact(plugin, "count").await.unwrap();
        match reply.edits.as_slice() {
            [Edit::Mask { replacement, .. }] => counts.push(replacement.clone()),
            other => panic!("{other:?}"),
        }
    }
    counts
}

async fn check(change: impl FnOnce(&mut PluginSettings), expected: &[&str]) {
    let rig = Rig::new();
    let mut settings = counting();
    change(&mut settings);
    let plugin = rig.live("probe", guest("guest_probe"), settings).await;
    assert_eq!(counts(&plugin, expected.len()).await, expected);
}

#[tokio::test]
async fn an_instance_is_reused_and_knows_nothing_of_the_trial() {
    check(|_| {}, &["1", "2", "3", "4"]).await;
}

#[tokio::test]
async fn an_instance_is_replaced_after_its_calls() {
    check(|settings| settings.limits.max_calls = 2, &["1", "2", "1", "2", "1"]).await;
}

#[tokio::test]
async fn isolated_calls_share_no_instance() {
    check(|settings| settings.isolation = Isolation::Call, &["1", "1", "1"]).await;
}
