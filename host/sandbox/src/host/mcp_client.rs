//! `watchgate:plugin/mcp-client`: requests to the configured servers that the plugin's settings grant.

use watchgate_hooks::AskError;

use crate::bindings::watchgate::plugin::mcp_client::{CallError, Host};
use crate::state::State;

impl Host for State {
    async fn request(&mut self, server: String, method: String, params: String) -> wasmtime::Result<Result<Vec<u8>, CallError>> {
        self.count_host_call()?;
        if !self.plugin.settings.grants.mcp_client.contains(&server) {
            return Ok(refused("not-granted", "the plugin's settings do not grant this server"));
        }
        let Some(patience) = self.patience() else {
            return Ok(refused("unreachable", "there is no network in `start` and in trial calls"));
        };
        let params = (!params.is_empty()).then_some(params.as_str());
        let answer = self.plugin.servers.ask(&server, &method, params, patience).await;
        Ok(answer.map(Into::into).map_err(|error| call_error(&error)))
    }

    fn servers(&mut self) -> wasmtime::Result<Vec<String>> {
        self.count_host_call()?;
        Ok(self.plugin.settings.grants.mcp_client.clone())
    }
}

fn refused(reason: &str, message: &str) -> Result<Vec<u8>, CallError> {
    Err(CallError { reason: reason.to_owned(), code: None, message: message.to_owned() })
}

fn call_error(error: &AskError) -> CallError {
    let code = match error {
        AskError::Rpc { code, .. } => Some(*code),
        _ => None,
    };
    CallError { reason: error.reason().to_owned(), code, message: error.to_string() }
}
