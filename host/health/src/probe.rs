//! Whether a server is up: it takes a connection, and it answers as an MCP server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use watchgate_hooks::{AskError, BoxFuture, Era, McpSession, UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse};

use crate::check::{CheckStatus, Finding};

/// Probes one server.
///
/// Two steps tell an operator whether the host or the server on it is the trouble. The second asks `server/discover`, else `initialize`;
/// a result is healthy. A server that wants credentials (401, 403) is up: the gateway has none of its own to show.
pub(crate) struct Probe {
    server: String,
    timeout: Duration,
    calls: Arc<Listening>,
    session: McpSession,
}

impl Probe {
    pub fn new(server: String, timeout: Duration, calls: Arc<dyn UpstreamCalls>) -> Self {
        let calls = Arc::new(Listening { calls, status: AtomicU16::new(0) });
        let session = McpSession::new(Arc::clone(&calls) as Arc<dyn UpstreamCalls>);
        Self { server, timeout, calls, session }
    }

    /// Probes once; each of the two steps may take the timeout.
    pub async fn run(&self) -> Finding {
        if let Err(error) = self.calls.connect(&self.server, self.timeout).await {
            return Finding::new(CheckStatus::Failing, format!("TCP: {error}"));
        }
        self.calls.status.store(0, Ordering::Relaxed);
        let answer = self.session.probe(&self.server, self.timeout).await;
        judge(answer, self.calls.status.load(Ordering::Relaxed))
    }
}

/// What an answer means; `status` is the HTTP status that came last, 0 for none.
fn judge(answer: Result<Era, AskError>, status: u16) -> Finding {
    match answer {
        Ok(Era::Modern) => Finding::new(CheckStatus::Ok, "answers server/discover"),
        Ok(Era::Legacy) => Finding::new(CheckStatus::Ok, "answers initialize"),
        Err(AskError::Upstream(error)) => Finding::new(CheckStatus::Failing, format!("MCP: {error}")),
        Err(_) if matches!(status, 401 | 403) => Finding::new(CheckStatus::Ok, format!("up, but wants credentials (HTTP {status})")),
        Err(AskError::Rpc { code, .. }) => {
            // Without the server's words: they may hold what no operator should see.
            let found = if status < 500 { CheckStatus::Degraded } else { CheckStatus::Failing };
            Finding::new(found, format!("MCP: the server answered with error {code}"))
        }
        Err(error) => Finding::new(CheckStatus::Failing, format!("MCP: {error}")),
    }
}

/// Passes everything on and notes the last HTTP status, which an [`AskError`] does not carry.
struct Listening {
    calls: Arc<dyn UpstreamCalls>,
    status: AtomicU16,
}

impl UpstreamCalls for Listening {
    fn servers(&self) -> Vec<String> {
        self.calls.servers()
    }

    fn connect<'a>(&'a self, server: &'a str, deadline: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        self.calls.connect(server, deadline)
    }

    fn send<'a>(
        &'a self,
        server: &'a str,
        request: UpstreamRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(async move {
            let response = self.calls.send(server, request, deadline).await?;
            self.status.store(response.status, Ordering::Relaxed);
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean() {
        let check = |answer: Result<Era, AskError>, status, expected, detail: &str| {
            assert_eq!(judge(answer, status), Finding::new(expected, detail));
        };
        let protocol = || Err(AskError::Protocol("HTTP 404 without an answer to the request".to_owned()));
        let rpc = || Err(AskError::Rpc { code: -32603, message: "busy".to_owned() });
        check(Ok(Era::Modern), 200, CheckStatus::Ok, "answers server/discover");
        check(Ok(Era::Legacy), 200, CheckStatus::Ok, "answers initialize");
        check(protocol(), 401, CheckStatus::Ok, "up, but wants credentials (HTTP 401)");
        check(rpc(), 403, CheckStatus::Ok, "up, but wants credentials (HTTP 403)");
        check(protocol(), 404, CheckStatus::Failing, "MCP: protocol: HTTP 404 without an answer to the request");
        check(rpc(), 200, CheckStatus::Degraded, "MCP: the server answered with error -32603");
        check(rpc(), 500, CheckStatus::Failing, "MCP: the server answered with error -32603");
        let late = Err(AskError::Upstream(UpstreamCallError::Timeout(Duration::from_secs(2))));
        check(late, 401, CheckStatus::Failing, "MCP: no answer within 2s");
    }
}
