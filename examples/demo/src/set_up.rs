//! Puts the pieces in place: server, alert receiver, a plugin folder with settings, the gateway, the recorder.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;
use watchgate_tests::metrics::Metrics;
use watchgate_tests::{Gateway, GatewayOptions};

use crate::alert_receiver::AlertReceiver;
use crate::recorder::Recorder;
use crate::sample_server;

/// The stock plugins, in the order of the story.
pub const PLUGINS: [&str; 4] = ["redact-secrets", "tool-sizes", "expected-tools", "alert-webhook"];
/// The alert rule that the failing tool sets off.
pub const ALERT: &str = "tool-failures";
/// Longer than anything takes when all is well.
const DEADLINE: Duration = Duration::from_secs(20);
/// Between two looks at something that cannot wake who waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Everything that runs.
pub struct Pieces {
    /// The sample server.
    pub server: SocketAddr,
    /// Where alerts arrive.
    pub receiver: AlertReceiver,
    /// Between clients and gateway.
    pub recorder: Recorder,
    gateway: Arc<Gateway>,
    folder: TempDir,
}

/// Starts everything, with copies of the stock plugins that lie in `stock`.
pub async fn set_up(stock: &Path) -> Result<Pieces> {
    let server = sample_server::start().await?;
    let receiver = AlertReceiver::start().await?;
    let folder = TempDir::new()?;
    fill(folder.path(), stock, receiver.address)?;
    let options = GatewayOptions::config(&configuration(server));
    let path = folder.path().to_str().context("the temporary folder has a name in UTF-8")?.to_owned();
    let starting = move || Gateway::try_start(&["--plugins", &path], &options);
    let gateway = tokio::task::spawn_blocking(starting).await??;
    let recorder = Recorder::start(gateway.traffic).await?;
    Ok(Pieces { server, receiver, recorder, gateway: Arc::new(gateway), folder })
}

fn configuration(server: SocketAddr) -> String {
    let tools = "labels = { outcome = \"tool_error\" }";
    format!(
        "[servers.shop]\nurl = \"http://{server}/mcp\"\n\n\
         [health]\nprobe_interval = \"1s\"\n\n\
         [alerts]\nevaluation_interval = \"200ms\"\n\n\
         [[alerts.rule]]\nname = \"{ALERT}\"\nmetric = \"watchgate_mcp_tool_calls_total\"\n{tools}\nrate_over = \"1s\"\n\
         op = \">\"\nthreshold = 0\nseverity = \"warning\"\nsummary = \"calls of tools fail\"\n"
    )
}

/// Copies the plugins and writes their settings: without a grant a plugin reaches nothing.
fn fill(folder: &Path, stock: &Path, receiver: SocketAddr) -> Result<()> {
    for name in PLUGINS {
        let file = format!("{name}.wasm");
        fs::copy(stock.join(&file), folder.join(&file)).with_context(|| format!("no {file} in {}", stock.display()))?;
    }
    let tools = sample_server::TOOLS.map(|tool| format!("\"{tool}\"")).join(", ");
    fs::write(folder.join("redact-secrets.toml"), redaction_settings("mask"))?;
    let health = format!("interval = \"1s\"\n\n[config]\nserver = \"shop\"\ntools = [{tools}]\n\n[grants]\nmcp_client = [\"shop\"]\n");
    fs::write(folder.join("expected-tools.toml"), health)?;
    let alert = format!("[config]\nurl = \"http://{receiver}/alerts\"\n\n[grants]\nhttp = [\"{receiver}\"]\n");
    Ok(fs::write(folder.join("alert-webhook.toml"), alert)?)
}

/// Settings of `redact-secrets` with this action for e-mail addresses.
pub fn redaction_settings(email: &str) -> String {
    format!("required = true\n\n[config]\nemail = \"{email}\"\n")
}

impl Pieces {
    /// The server's endpoint.
    pub fn direct_url(&self) -> String {
        format!("http://{}/mcp", self.server)
    }

    /// The same behind recorder and gateway.
    pub fn url(&self) -> String {
        format!("http://{}/shop/", self.recorder.address)
    }

    /// The same behind the gateway alone, for whoever reads along.
    pub fn gateway_url(&self) -> String {
        self.gateway.url("/shop/")
    }

    /// A page of the admin listener.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.admin)
    }

    /// The plugin folder.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The access log.
    pub fn access_log(&self) -> PathBuf {
        self.gateway.directory().join("access.log")
    }

    /// The gateway's own log so far.
    pub fn own_log(&self) -> String {
        self.gateway.stderr() + &self.gateway.stdout()
    }

    /// Scrapes the metrics.
    pub async fn metrics(&self) -> Result<Metrics> {
        let gateway = Arc::clone(&self.gateway);
        Ok(tokio::task::spawn_blocking(move || gateway.metrics()).await?)
    }

    /// Gets a JSON page of the admin listener.
    pub async fn admin_json(&self, path: &'static str) -> Result<Value> {
        let gateway = Arc::clone(&self.gateway);
        tokio::task::spawn_blocking(move || gateway.admin_get(path).json()).await?
    }

    /// Scrapes the metrics again and again until `look` gives something; `None` when it never does.
    pub async fn until<T>(&self, mut look: impl FnMut(&Metrics) -> Option<T>) -> Result<Option<T>> {
        let give_up = tokio::time::Instant::now() + DEADLINE;
        loop {
            let found = look(&self.metrics().await?);
            if found.is_some() || tokio::time::Instant::now() > give_up {
                return Ok(found);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
