//! What is measured, one file a scenario.

mod half_load;
mod idle;
mod neighbours;
mod reload;
mod soak;
mod stream;
mod telemetry;
mod throughput;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::gateways::Plugin;
use crate::report::Section;
use crate::upstream::Upstream;
use crate::wire::{QUERY, tool_call};

/// What every scenario is given.
pub struct Setting {
    /// The folder with the stock plugins.
    pub plugins: PathBuf,
    /// The folder with the guests of the tests.
    pub guests: PathBuf,
    /// The program nginx.
    pub nginx: PathBuf,
    /// How long a row is measured.
    pub duration: Duration,
    /// How long the soak lasts.
    pub soak: Duration,
    /// The one upstream.
    pub upstream: Upstream,
}

/// A scenario.
type Scenario = fn(&Setting) -> Result<Section>;

/// When a scenario is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Unless others are named.
    Always,
    /// When it is named: it takes long.
    Named,
}

/// Every scenario by its name, in the order of the report.
pub const SCENARIOS: [(&str, When, Scenario); 8] = [
    ("throughput", When::Always, throughput::measure),
    ("telemetry", When::Always, telemetry::measure),
    ("half-load", When::Always, half_load::measure),
    ("sse", When::Always, stream::measure),
    ("neighbours", When::Always, neighbours::measure),
    ("reload", When::Always, reload::measure),
    ("idle", When::Always, idle::measure),
    ("soak", When::Named, soak::measure),
];

impl Setting {
    /// The stock redaction plugin as it comes.
    fn redact_secrets(&self) -> Result<Plugin> {
        Plugin::read("redact-secrets", &self.plugins, "redact-secrets.wasm")
    }

    /// It, the stock derivation plugin, and another redaction plugin: all three see every message.
    fn three_plugins(&self) -> Result<Vec<Plugin>> {
        Ok(vec![
            self.redact_secrets()?,
            Plugin::read("tool-sizes", &self.plugins, "tool-sizes.wasm")?,
            Plugin::read("redactor", &self.guests, "guest_redactor.wasm")?,
        ])
    }
}

/// The request that is measured, sent to this address.
fn request(address: SocketAddr) -> Vec<u8> {
    tool_call(&address.to_string(), "/mcp", QUERY)
}
