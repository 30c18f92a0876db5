//! Prints what one warm `redact` call costs, and what a fresh instance costs, as JSON. Run it in release:
//! `cargo run --release -p watchgate-sandbox --example call_cost -- COMPONENT`.

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watchgate_hooks::{
    BoxFuture, Generation, Kind, Message, RedactionPolicy, Surface, UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse,
};
use watchgate_mcp::Direction;
use watchgate_sandbox::{Isolation, PluginSettings, PoolConfig, Sandbox, SandboxConfig};
use watchgate_telemetry::{Telemetry, TelemetryConfig};

/// Calls measured in one go, of which there are [`ROUNDS`]; the fastest round is printed.
const CALLS: u32 = 20_000;
const ROUNDS: u32 = 10;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: call_cost COMPONENT")?;
    let wasm = bytes::Bytes::from(std::fs::read(path)?);
    let telemetry = Telemetry::new(TelemetryConfig::default())?;
    let config = SandboxConfig { cache_dir: None, workers: 2, pool: PoolConfig::default() };
    let sandbox = Sandbox::new(config, telemetry, Arc::new(NoServers))?;
    let mut figures = serde_json::Map::new();
    let began = Instant::now();
    let reused = sandbox.load("reused", wasm.clone(), PluginSettings::default(), Generation(1)).await?.go_live();
    figures.insert("load_ms".to_owned(), (began.elapsed().as_secs_f64() * 1e3).into());
    let settings = PluginSettings { isolation: Isolation::Call, ..PluginSettings::default() };
    let fresh = sandbox.load("fresh", wasm, settings, Generation(1)).await?.go_live();
    for size in [200, 4096, 65_536] {
        if let Some(policy) = reused.redaction.clone() {
            let cost = tokio::spawn(async move { cost(&*policy, size, CALLS).await }).await?;
            figures.insert(format!("warm_{size}_us"), cost.into());
        }
    }
    if let Some(policy) = fresh.redaction.clone() {
        let cost = tokio::spawn(async move { cost(&*policy, 200, CALLS / 20).await }).await?;
        figures.insert("fresh_200_us".to_owned(), cost.into());
    }
    writeln!(std::io::stdout(), "{}", serde_json::Value::Object(figures))?;
    Ok(())
}

/// Microseconds of one call with a body of `size` bytes that holds nothing to redact.
async fn cost(policy: &dyn RedactionPolicy, size: usize, calls: u32) -> f64 {
    let message = message(size);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(policy.redact(message.clone()).await).ok();
        }
        best = best.min(began.elapsed());
    }
    best.as_secs_f64() * 1e6 / f64::from(calls)
}

fn message(size: usize) -> Message {
    let head = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""#;
    let tail = r#""}]}}"#;
    let text = "lorem ipsum ".chars().cycle().take(size.saturating_sub(head.len() + tail.len())).collect::<String>();
    Message {
        body: format!("{head}{text}{tail}").into(),
        kind: Kind::Response,
        direction: Direction::ServerToClient,
        surface: Surface::Wire,
        server: "measured".into(),
        method: None,
        name: None,
        headers: Vec::new(),
    }
}

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
