//! The stock redaction policy within the default limits: the texts that are worst for each of its detectors, and large ordinary ones.
//!
//! A process of its own, because others measure their memory while these use much.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use watchgate_hooks::{
    BoxFuture, Generation, Kind, Message, RedactionPolicy, Surface, UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse,
    check_edits,
};
use watchgate_mcp::Direction;
use watchgate_sandbox::{PluginSettings, PoolConfig, Sandbox, SandboxConfig};
use watchgate_telemetry::{Telemetry, TelemetryConfig};

const MIB: usize = 1 << 20;

const JSON: &str = "{\"id\":\"a41b1c88-4111-1111-1111-111111111111\",\"name\":\"Ada\",\"tags\":[\"x\",\"y\"],\"path\":\"C:\\\\temp\\\\n\",\"n\":2024.5},\n";

/// A result whose only text is `unit`, over and over for so many bytes, and `end`.
fn result(unit: &str, bytes: usize, end: &str) -> Message {
    let text = unit.repeat(bytes / unit.len()) + end;
    let body = json!({"jsonrpc": "2.0", "id": 7, "result": {"content": [{"type": "text", "text": text}]}});
    Message {
        body: body.to_string().into(),
        kind: Kind::Response,
        direction: Direction::ServerToClient,
        surface: Surface::Wire,
        server: "everything".into(),
        method: Some("tools/call".into()),
        name: Some("echo".into()),
        headers: Vec::new(),
    }
}

/// The policy that `cargo xtask plugins` has built, live.
async fn redact_secrets(settings: PluginSettings) -> Arc<dyn RedactionPolicy> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let path = target.join("plugins/redact-secrets.wasm");
    let wasm = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins`", path.display()));
    let cache_dir = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    let config = SandboxConfig { cache_dir, workers: 2, pool: PoolConfig { instances: 10, max_memory: 64 << 20 } };
    let sandbox = Sandbox::new(config, Telemetry::new(TelemetryConfig::default()).unwrap(), Arc::new(NoServers)).unwrap();
    let candidate = sandbox.load("redact-secrets", wasm.into(), settings, Generation(1)).await.unwrap();
    candidate.try_out().await.unwrap();
    candidate.go_live().redaction.unwrap()
}

/// No server is configured.
struct NoServers;

impl UpstreamCalls for NoServers {
    fn servers(&self) -> Vec<String> {
        Vec::new()
    }

    fn connect<'a>(&'a self, server: &'a str, _: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        Box::pin(async move { Err(UpstreamCallError::UnknownServer(server.to_owned())) })
    }

    fn send<'a>(&'a self, server: &'a str, _: UpstreamRequest, _: Duration) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(async move { Err(UpstreamCallError::UnknownServer(server.to_owned())) })
    }
}

/// Each text is answered within the budget for its size. It ends in what has the policy read all of it, whatever its beginnings are.
async fn check<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>, sizes: &[usize]) {
    let policy = redact_secrets(PluginSettings::default()).await;
    for (what, unit) in texts {
        for bytes in sizes {
            let answer = policy.redact(result(unit, *bytes, " \u{0} bearer 1")).await;
            assert!(answer.is_ok(), "{bytes} bytes of {what:?}: {}", answer.unwrap_err());
        }
    }
}

// The sizes leave a factor of three on a machine that does nothing else.
#[tokio::test]
async fn no_beginning_of_a_secret_costs_more_than_its_share() {
    // What a few requests of 12 KiB could once stop the policy with, and the like for its other detectors.
    let units = [
        "bearer+",
        "bearer ",
        "ask-ask-",
        "sk-ask-",
        "aghp_",
        "-ghp_",
        "-AIza",
        "AKIA",
        "axoxb-",
        "eyJ-",
        "eyJaaaaaaaa.",
        "secret=",
        "aws_secret_key: ",
        "AccountKey=",
        "4111 ",
        "4111-1111-1111-1112-",
        "-----BEGIN ",
        "@a.",
        "\\\\",
        "\\n",
        "\"k\":\"v\",",
        "\u{e9}",
    ];
    check(units.map(|unit| (unit, unit)), &[12 << 10, 28 << 10, MIB, 3 * MIB]).await;
}

#[tokio::test]
async fn large_ordinary_texts_pass() {
    let log = "2026-11-20T12:55:00.123456Z INFO app::server{conn=41 peer=10.1.2.3:52341}: GET /api/v1/users/42?limit=100 200 12.3ms\n";
    let csv = "41032,Smith,\"Jo, Jr.\",jo.smith@example.org,2026-11-20,532.10,+44 20 7946 0958\n";
    let source = "    if let Some(secret) = self.secrets.get(&key) { return Err(Error::new(\"task-\", secret)); } // ask-me\n\t}\n";
    let prose = "The quick brown fox jumps over the lazy dog, as foxes did in 1998; the dog didn't mind at all.\n";
    check([("JSON in a string", JSON), ("log lines", log), ("CSV", csv), ("source code", source), ("prose", prose)], &[MIB, 5 * MIB]).await;
}

#[tokio::test]
async fn a_message_of_any_size_fits_the_default_memory() {
    let mut settings = PluginSettings::default();
    // What the host does about edits is charged too, and not optimized in a test.
    settings.limits.cpu = Some(Duration::from_secs(10));
    settings.limits.wall = Some(Duration::from_secs(60));
    let policy = redact_secrets(settings).await;
    for bytes in [5 * MIB, 12 * MIB] {
        let body = || result(JSON, bytes, " bob@example.com");
        assert!(body().body.len() > bytes && body().body.len() <= 16 * MIB);
        let reply = policy.redact(body()).await.unwrap_or_else(|failure| panic!("{bytes} bytes: {failure}"));
        let masked = check_edits(&body(), reply.edits).unwrap().expect("the address is masked");
        let end = String::from_utf8_lossy(&masked[masked.len() - 60..]).into_owned();
        assert!(end.contains("[REDACTED:email]") && !end.contains("bob@example.com"), "{end}");
    }
}
