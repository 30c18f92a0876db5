//! A sandbox with everything around it made by hand: components, settings, messages, upstream servers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use watchgate_hooks::{
    BoxFuture, FailureReason, Generation, HookFailure, Kind, Message, Operation, RedactionPolicy, Reply, Surface, UpstreamCallError,
    UpstreamCalls, UpstreamRequest, UpstreamResponse,
};
use watchgate_mcp::{ContentCounts, Direction, Outcome};
use watchgate_sandbox::{LivePlugin, LoadError, PluginSettings, PoolConfig, Sandbox, SandboxConfig};
use watchgate_telemetry::{Telemetry, TelemetryConfig};

/// A sandbox and what it reports to.
pub struct Rig {
    pub sandbox: Arc<Sandbox>,
    pub telemetry: Arc<Telemetry>,
}

impl Rig {
    pub fn new() -> Self {
        Self::with(PoolConfig { instances: 100, max_memory: 64 << 20 }, Self::no_servers())
    }

    /// Upstream servers of which there are none.
    pub fn no_servers() -> Arc<dyn UpstreamCalls> {
        Arc::new(NoServers)
    }

    pub fn with(pool: PoolConfig, upstreams: Arc<dyn UpstreamCalls>) -> Self {
        let config = TelemetryConfig::default();
        let telemetry = Telemetry::new(config).unwrap();
        // Shared by all tests and runs, so that a component is compiled once.
        let cache_dir = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        let config = SandboxConfig { cache_dir, workers: 2, pool };
        Self { sandbox: Sandbox::new(config, Arc::clone(&telemetry), upstreams).unwrap(), telemetry }
    }

    /// Loads, tries and puts live.
    pub async fn try_live(&self, name: &str, wasm: Bytes, settings: PluginSettings) -> Result<LivePlugin, LoadError> {
        let candidate = self.sandbox.load(name, wasm, settings, Generation(1)).await?;
        candidate.try_out().await?;
        Ok(candidate.go_live())
    }

    pub async fn live(&self, name: &str, wasm: Bytes, settings: PluginSettings) -> LivePlugin {
        self.try_live(name, wasm, settings).await.unwrap()
    }

    /// The probe with this configuration, live under the name `probe`.
    pub async fn probe(&self, config: Value) -> LivePlugin {
        self.live("probe", guest("guest_probe"), configured(config)).await
    }

    /// The value of a series of `/metrics`, whatever the order of its labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        wanted.sort();
        let page = self.telemetry.render_prometheus();
        page.lines().find_map(|line| {
            let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.split_once("} ")?;
            let mut labels: Vec<&str> = labels.split(',').collect();
            labels.sort_unstable();
            (labels == wanted).then(|| value.parse().unwrap())
        })
    }
}

/// Settings with this configuration, and deadlines that a busy machine keeps.
pub fn configured(config: Value) -> PluginSettings {
    let mut settings = PluginSettings { config_json: config.to_string(), ..PluginSettings::default() };
    settings.limits.wall = Some(Duration::from_secs(20));
    // What grows without end reaches it before its CPU budget, and what other tests measure of this process is not disturbed.
    settings.limits.memory_bytes = 16 << 20;
    settings
}

/// A component that `cargo xtask plugins` has built from `tests/guests`.
pub fn guest(name: &str) -> Bytes {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let path = target.join("guests").join(format!("{name}.wasm"));
    match std::fs::read(&path) {
        Ok(bytes) => bytes.into(),
        Err(error) => panic!("{}: {error}; run `cargo xtask plugins`", path.display()),
    }
}

/// A request whose only argument is this text.
pub fn request(text: &str) -> Message {
    let body =
        serde_json::json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": text}}});
    message(Kind::Request, body.to_string())
}

pub fn message(kind: Kind, body: String) -> Message {
    Message {
        body: body.into(),
        kind,
        direction: Direction::ClientToServer,
        surface: Surface::Wire,
        server: "everything".into(),
        method: Some("tools/call".into()),
        name: Some("echo".into()),
        headers: Vec::new(),
    }
}

pub fn operation(name: &str) -> Operation {
    Operation {
        server: "everything".into(),
        direction: Direction::ClientToServer,
        method: "tools/call".into(),
        name: Some(name.into()),
        outcome: Outcome::Ok,
        error_code: None,
        duration: Duration::from_millis(3),
        upstream: Duration::from_millis(2),
        request_bytes: 100,
        response_bytes: 200,
        argument_bytes: 10,
        result_bytes: 20,
        content: ContentCounts::default(),
        protocol_version: None,
        request_text: Some(Bytes::from_static(b"{}")),
        response_text: Some(Bytes::from_static(b"{}")),
    }
}

pub async fn redact(plugin: &LivePlugin, text: &str) -> Result<Reply, HookFailure> {
    policy(plugin).redact(request(text)).await
}

/// The reason why the redaction of a request with this text fails.
pub async fn redact_fails(plugin: &LivePlugin, text: &str) -> FailureReason {
    redact(plugin, text).await.expect_err("the call was expected to fail").reason
}

pub fn policy(plugin: &LivePlugin) -> Arc<dyn RedactionPolicy> {
    Arc::clone(plugin.redaction.as_ref().expect("a redaction policy"))
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
