//! Memory, and that a thousand generations come and go without leaving anything.

use bytes::Bytes;
use serde_json::json;
use watchgate_hooks::Generation;
use watchgate_sandbox::{PluginSettings, PoolConfig};

use crate::rig::{Rig, guest, redact};

#[tokio::test]
async fn memory_is_counted_while_instances_live() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({})).await;
    redact(&plugin, "good").await.unwrap();
    let memory = rig.metric("watchgate_plugin_memory_bytes", &[("plugin", "probe")]).unwrap();
    assert!((65536.0..=16777216.0).contains(&memory), "{memory}");
    assert_eq!(rig.metric("watchgate_plugin_instances", &[("plugin", "probe")]), Some(1.0));
}

#[tokio::test]
async fn without_room_for_a_pool_plugins_still_run() {
    // 4 GiB for each of a million instances is more than any machine has address space.
    let rig = Rig::with(PoolConfig { instances: 1_000_000, max_memory: 64 << 20 }, Rig::no_servers());
    assert_eq!(rig.sandbox.usage().existing, None, "this machine has room for the pool");
    let plugin = rig.live("redactor", guest("guest_redactor"), PluginSettings::default()).await;
    let reply = redact(&plugin, "a redactor-secret").await.unwrap();
    assert_eq!(reply.edits.len(), 1);
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

async fn one_generation(rig: &Rig, wasm: &Bytes, number: u64) {
    let candidate = rig.sandbox.load("redactor", wasm.clone(), PluginSettings::default(), Generation(number)).await.unwrap();
    let plugin = candidate.go_live();
    redact(&plugin, "a redactor-secret").await.unwrap();
    plugin.drain().await;
}

#[tokio::test]
async fn a_thousand_generations_leave_nothing() {
    let rig = Rig::new();
    let wasm = guest("guest_redactor");
    for number in 0..200 {
        one_generation(&rig, &wasm, number).await;
    }
    let before = resident();
    for number in 200..1000 {
        one_generation(&rig, &wasm, number).await;
    }
    let grown = resident().saturating_sub(before);
    let usage = rig.sandbox.usage();
    assert_eq!((usage.reserved, usage.existing), (0, Some(0)));
    println!("800 generations left {} KiB", grown >> 10);
    assert!(grown < 24 << 20, "800 generations left {} KiB", grown >> 10);
}

#[tokio::test]
async fn draining_waits_for_the_last_handle() {
    let rig = Rig::new();
    let plugin = rig.probe(json!({})).await;
    let held = plugin.health.clone();
    let mut draining = Box::pin(plugin.drain());
    let drained = std::future::poll_fn(|cx| std::task::Poll::Ready(draining.as_mut().poll(cx).is_ready())).await;
    assert!(!drained, "drained while a handle is held");
    drop(held);
    draining.await;
    assert_eq!(rig.sandbox.usage().reserved, 0);
}
