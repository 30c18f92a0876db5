//! The same with wasmtime and components built from `tests/guests`: what only the real sandbox can show.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use watchgate_hooks::{BoxFuture, UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse};
use watchgate_sandbox::{PoolConfig, Sandbox, SandboxConfig};
use watchgate_telemetry::Telemetry;

use crate::world::{Setup, World};

struct NoServers;

impl UpstreamCalls for NoServers {
    fn servers(&self) -> Vec<String> {
        Vec::new()
    }

    fn connect<'a>(&'a self, server: &'a str, _deadline: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        Box::pin(async move { Err(UpstreamCallError::UnknownServer(server.to_owned())) })
    }

    fn send<'a>(
        &'a self,
        server: &'a str,
        _request: UpstreamRequest,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(async move { Err(UpstreamCallError::UnknownServer(server.to_owned())) })
    }
}

fn sandbox(telemetry: &Arc<Telemetry>) -> Arc<Sandbox> {
    let cache_dir = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    let config = SandboxConfig { cache_dir, workers: 2, pool: PoolConfig { instances: 100, max_memory: 64 << 20 } };
    Sandbox::new(config, Arc::clone(telemetry), Arc::new(NoServers)).unwrap()
}

/// A component that `cargo xtask plugins` has built.
fn guest(name: &str) -> Vec<u8> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let path = target.join("guests").join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins`", path.display()))
}

async fn world() -> World<Arc<Sandbox>> {
    let world = World::with_loader(Setup::default(), sandbox, |_| {});
    world.catalog.first_scan().await;
    world
}

const LIVE: &str = "live redaction+derivation+health+alerting";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_goes_live_and_bad_successors_change_nothing() {
    let world = world().await;
    let probe = guest("guest_probe");
    world.write("probe.toml", "[config]\nredact = \"deny\"\n");
    world.write("probe.wasm", &probe);
    world.shows(&[&format!("probe {LIVE} #1")]).await;
    assert_eq!(world.verdict().await.as_deref(), Some("the probe was told to deny"));
    let stale = |reason: &str| format!("probe live_stale {} #1 !{reason}", LIVE.trim_start_matches("live "));
    let cut = &probe[..probe.len() / 2];
    let components: [(&[u8], &str); 6] = [
        (b"", "empty"),
        (cut, "malformed"),
        (b"\x9e\x37\x79\xb9\x7f\x4a\x7c\x15", "not-wasm"),
        (b"\0asm\x01\0\0\0", "core-module"),
        (b"\0asm\x0d\0\x01\0", "no-kind"),
        // All that is left of a plugin whose other kinds were cut off.
        (&guest("guest_redactor"), "kind-lost"),
    ];
    for (component, reason) in components {
        world.write("probe.wasm", component);
        world.shows(&[&stale(reason)]).await;
        assert_eq!(world.verdict().await.as_deref(), Some("the probe was told to deny"), "{reason}");
    }
    world.write("probe.wasm", &probe);
    world.shows(&[&format!("probe {LIVE} #1")]).await;
    for (start, reason) in [("err", "start-error"), ("trap", "start-trap"), ("loop", "start-timeout")] {
        world.write("probe.toml", format!("[config]\nstart = \"{start}\"\n"));
        world.shows(&[&stale(reason)]).await;
        assert_eq!(world.verdict().await.as_deref(), Some("the probe was told to deny"), "{reason}");
    }
    world.write("probe.toml", "[config]\nredact = \"trap\"\n");
    world.shows(&[&stale("trial-failed")]).await;
    world.remove("probe.toml");
    world.shows(&[&format!("probe {LIVE} #2")]).await;
    assert_eq!(world.verdict().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_give_back_what_they_took() {
    let world = world().await;
    world.write("probe.wasm", guest("guest_probe"));
    world.shows(&[&format!("probe {LIVE} #1")]).await;
    let one_generation = world.loader.usage().reserved;
    for round in 2..=30 {
        world.write("probe.toml", format!("order = {round}\n"));
        world.shows(&[&format!("probe {LIVE} #{round}")]).await;
    }
    assert!(one_generation > 0);
    let sandbox = world.end().await;
    assert_eq!(sandbox.usage().reserved, 0);
}
