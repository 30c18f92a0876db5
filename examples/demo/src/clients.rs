//! Real MCP clients (`rmcp`), one for each era of the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rmcp::model::{CallToolRequestParams, CallToolResult, ProgressNotificationParam, ProtocolVersion};
use rmcp::service::{NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::Value;

/// Longer than anything takes when all is well.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// How a client begins.
#[derive(Clone, Copy, Debug)]
pub enum Era {
    /// 2026-07-28: no session, answers as plain JSON where nothing else is to be said.
    Modern,
    /// 2025-11-25 and before: `initialize`, a session, answers as event streams.
    Legacy,
}

/// A connected client.
pub struct Client {
    service: RunningService<RoleClient, Handler>,
    progress: Arc<AtomicU32>,
}

struct Handler {
    progress: Arc<AtomicU32>,
}

impl ClientHandler for Handler {
    async fn on_progress(&self, _: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// What came of one call.
pub struct Answer {
    /// Whether the tool said that it failed.
    pub is_error: bool,
    /// The text that a model would read.
    pub text: String,
}

impl Client {
    /// Connects to an MCP endpoint.
    pub async fn connect(url: &str, era: Era) -> Result<Self> {
        let mode = match era {
            Era::Modern => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
            Era::Legacy => ClientLifecycleMode::Initialize,
        };
        let progress = Arc::<AtomicU32>::default();
        let handler = Handler { progress: Arc::clone(&progress) };
        let connecting = handler.serve_with_lifecycle(StreamableHttpClientTransport::from_uri(url), mode);
        let service = tokio::time::timeout(CALL_DEADLINE, connecting).await.context("connecting takes too long")??;
        Ok(Self { service, progress })
    }

    /// Calls a tool with a JSON object as arguments.
    pub async fn call(&self, tool: &'static str, arguments: &Value) -> Result<Answer> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let calling = self.service.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments));
        let result = tokio::time::timeout(CALL_DEADLINE, calling).await.with_context(|| format!("{tool} takes too long"))??;
        Ok(Answer { is_error: result.is_error == Some(true), text: text(&result) })
    }

    /// The names of the server's tools.
    pub async fn tools(&self) -> Result<Vec<String>> {
        Ok(self.service.list_all_tools().await?.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// How many notifications of progress have arrived.
    pub fn progress(&self) -> u32 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Ends the session, if it has one.
    pub async fn close(self) -> Result<()> {
        self.service.cancel().await?;
        Ok(())
    }
}

fn text(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| block.as_text()).map(|block| block.text.as_str());
    texts.collect::<Vec<_>>().join("\n")
}
