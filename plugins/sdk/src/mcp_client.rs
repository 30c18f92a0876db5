//! Asks a configured MCP server something. The plugin's `.toml` must grant the server: `[grants] mcp_client = ["NAME"]`.
//! In `start` and in trial calls there is no network: every request is `unreachable` there.

use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::imports::watchgate::plugin::mcp_client as imported;

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// `not-granted`, `unknown-server`, `unreachable`, `timeout`, `rpc-error`, `protocol`, `invalid-params`, or `too-large` (over 4 MiB). The
    /// set may grow.
    pub reason: String,
    /// The JSON-RPC error code when `reason` is `rpc-error`.
    pub code: Option<i64>,
    /// One sentence.
    pub message: String,
}

/// Sends one request and reads its `result`. The gateway takes care of the protocol era, of `initialize` and of the session.
/// `params` must serialize to a JSON object, or to `null` for none.
///
/// ```no_run
/// # fn check() -> Result<(), watchgate_plugin::mcp_client::CallError> {
/// let tools: serde_json::Value = watchgate_plugin::mcp_client::request("github", "tools/list", &())?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// What the gateway reports; and `protocol` when `params` or the result do not have the shape asked for.
pub fn request<T: DeserializeOwned>(server: &str, method: &str, params: &impl Serialize) -> Result<T, CallError> {
    let mut params = serde_json::to_string(params).map_err(|error| protocol(format!("params cannot be sent: {error}")))?;
    if params == "null" {
        params.clear();
    }
    let result = imported::request(server, method, &params).map_err(|imported::CallError { reason, code, message }| CallError {
        reason,
        code,
        message,
    })?;
    serde_json::from_slice(&result).map_err(|error| protocol(format!("the result of {method} is not what was expected: {error}")))
}

/// The names of the servers granted to this plugin.
#[must_use]
pub fn servers() -> Vec<String> {
    imported::servers()
}

fn protocol(message: String) -> CallError {
    CallError { reason: "protocol".to_owned(), code: None, message }
}

impl core::error::Error for CallError {}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.reason, self.message)
    }
}
