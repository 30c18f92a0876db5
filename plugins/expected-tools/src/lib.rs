//! Stock plugin `expected-tools`: a health check that asks a server for its tools and says which of the expected ones are missing.
//!
//! Settings, in `[config]`: `server`, a server that `[grants] mcp_client` names too, and `tools`, the names expected.
//!
//! | found | report |
//! |---|---|
//! | every expected tool | ok |
//! | some of them | degraded, naming those that are missing |
//! | none of them, or no answer | failing |

mod listing;

use serde::Deserialize;
use watchgate_plugin::{HealthCheck, Plugin, Report, Setup, export_plugin, mcp_client};

use listing::{Page, list_tools, report};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    server: String,
    #[serde(default)]
    tools: Vec<String>,
}

struct ExpectedTools {
    config: Config,
}

impl Plugin for ExpectedTools {
    fn start(setup: &Setup) -> Result<Self, String> {
        let config: Config = setup.config_as()?;
        if !mcp_client::servers().contains(&config.server) {
            return Err(format!("config key `server`: \"{}\" is not granted; name it in [grants] mcp_client", config.server));
        }
        Ok(Self { config })
    }
}

impl HealthCheck for ExpectedTools {
    fn check(&mut self) -> Report {
        let server = &self.config.server;
        let listing = list_tools(|cursor| mcp_client::request::<Page>(server, "tools/list", &cursor));
        report(server, &self.config.tools, listing)
    }
}

export_plugin!(ExpectedTools: health);
