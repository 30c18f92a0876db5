//! A small MCP client: one request to a configured server, whatever its era, for probes and plugins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;
use watchgate_mcp::request::{self, Answer, InvalidParams};
use watchgate_mcp::{RequestId, header, json, method};

use crate::upstream::{UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse};

/// How much of a server's error message is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The end of a legacy session is a courtesy; this is the longest that anybody waits for it.
const DELETE_DEADLINE: Duration = Duration::from_secs(1);

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28: each request describes itself.
    Modern,
    /// Up to 2025-11-25: `initialize` first.
    Legacy,
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The server was not reached, or too late, or said too much.
    #[error(transparent)]
    Upstream(#[from] UpstreamCallError),
    /// The server answered with a JSON-RPC error.
    #[error("the server answered with error {code}: {message}")]
    Rpc {
        /// The JSON-RPC error code.
        code: i64,
        /// The server's words, at most 1 KiB. Not redacted.
        message: String,
    },
    /// The server answered something that is not MCP. The upstream's fault.
    #[error("protocol: {0}")]
    Protocol(String),
    /// The parameters are not a JSON object. The caller's fault.
    #[error(transparent)]
    Params(#[from] InvalidParams),
}

impl AskError {
    /// The reason of `mcp-client.call-error` in `wit/host.wit`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Upstream(UpstreamCallError::UnknownServer(_)) => "unknown-server",
            Self::Upstream(UpstreamCallError::Unreachable(_)) => "unreachable",
            Self::Upstream(UpstreamCallError::Timeout(_)) => "timeout",
            Self::Upstream(UpstreamCallError::TooLarge) => "too-large",
            Self::Upstream(UpstreamCallError::Protocol(_)) | Self::Protocol(_) => "protocol",
            Self::Rpc { .. } => "rpc-error",
            Self::Params(_) => "invalid-params",
        }
    }
}

/// Asks servers and remembers the era of each. Shared by everybody who asks.
pub struct McpSession {
    calls: Arc<dyn UpstreamCalls>,
    /// As many as are configured.
    eras: Mutex<HashMap<String, Era>>,
}

impl McpSession {
    /// Knows no server's era yet.
    pub fn new(calls: Arc<dyn UpstreamCalls>) -> Self {
        Self { calls, eras: Mutex::default() }
    }

    /// The `result` of one request, as JSON. `params_json` is a JSON object, or `None` for no parameters. All that has to be said before
    /// and after it happens within `deadline`.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, server: &str, method: &str, params_json: Option<&str>, deadline: Duration) -> Result<Bytes, AskError> {
        let talk = Talk::new(&*self.calls, server, deadline);
        let known = self.era(server);
        let asked = talk.ask(known, method, params_json).await;
        self.remember(server, known, asked)
    }

    /// The era of a server that answered before.
    pub fn era(&self, server: &str) -> Option<Era> {
        self.eras.lock().get(server).copied()
    }

    fn remember<T>(&self, server: &str, known: Option<Era>, answer: Result<(Era, T), AskError>) -> Result<T, AskError> {
        match answer {
            Ok((era, _)) if known == Some(era) => {}
            Ok((era, _)) => {
                self.eras.lock().insert(server.to_owned(), era);
            }
            Err(_) => {}
        }
        answer.map(|(_, value)| value)
    }
}

/// As [`McpSession::ask`] for a single request: nothing is remembered, so every call finds out the era anew.
///
/// # Errors
/// See [`AskError`].
pub async fn ask(
    calls: &dyn UpstreamCalls,
    server: &str,
    method: &str,
    params_json: Option<&str>,
    deadline: Duration,
) -> Result<Bytes, AskError> {
    Talk::new(calls, server, deadline).ask(None, method, params_json).await.map(|(_, result)| result)
}

/// Whether a server speaks MCP: asks `server/discover`, else `initialize`. One that was `known` to speak an era before is asked in that first.
///
/// # Errors
/// See [`AskError`].
pub async fn probe(calls: &dyn UpstreamCalls, server: &str, known: Option<Era>, deadline: Duration) -> Result<Era, AskError> {
    Talk::new(calls, server, deadline).probe(known).await
}

/// All that is said to one server for one question.
struct Talk<'a> {
    calls: &'a dyn UpstreamCalls,
    server: &'a str,
    limit: Duration,
    until: Instant,
}

/// Why a request has no result, seen from one era.
enum Refusal {
    /// The server did not even look at the request: it may speak the other era, and asking again there repeats nothing.
    Era(AskError),
    /// Any other reason.
    Final(AskError),
}

impl From<AskError> for Refusal {
    fn from(error: AskError) -> Self {
        Self::Final(error)
    }
}

/// A legacy session between `initialize` and DELETE.
struct Legacy {
    version: String,
    session: Option<String>,
}

impl<'a> Talk<'a> {
    fn new(calls: &'a dyn UpstreamCalls, server: &'a str, limit: Duration) -> Self {
        Self { calls, server, limit, until: Instant::now() + limit }
    }

    async fn ask(&self, known: Option<Era>, method: &str, params: Option<&str>) -> Result<(Era, Bytes), AskError> {
        if let Some(era) = known {
            match self.ask_in(era, method, params).await {
                Ok(result) => return Ok((era, result)),
                Err(Refusal::Final(error)) => return Err(error),
                Err(Refusal::Era(_)) => {}
            }
        }
        let era = match self.discover().await? {
            Some(result) if method == method::SERVER_DISCOVER => return Ok((Era::Modern, result)),
            Some(_) => Era::Modern,
            None => Era::Legacy,
        };
        match self.ask_in(era, method, params).await {
            Ok(result) => Ok((era, result)),
            Err(Refusal::Final(error) | Refusal::Era(error)) => Err(error),
        }
    }

    async fn ask_in(&self, era: Era, method: &str, params: Option<&str>) -> Result<Bytes, Refusal> {
        match era {
            Era::Modern => {
                let (response, id) = self.request(method, params, None).await?;
                let result = result_in(&response, &id);
                let is_refused = matches!(result, Err(AskError::Protocol(_))) && (400..500).contains(&response.status);
                result.map_err(if is_refused { Refusal::Era } else { Refusal::Final })
            }
            Era::Legacy => {
                let legacy = self.initialize().await.map_err(|error| match error {
                    AskError::Rpc { .. } | AskError::Protocol(_) => Refusal::Era(error),
                    AskError::Upstream(_) | AskError::Params(_) => Refusal::Final(error),
                })?;
                let result = self.request_in(&legacy, method, params).await;
                self.end(&legacy).await;
                Ok(result?)
            }
        }
    }

    async fn probe(&self, known: Option<Era>) -> Result<Era, AskError> {
        if known != Some(Era::Legacy) && self.discover().await?.is_some() {
            return Ok(Era::Modern);
        }
        match self.initialize().await {
            Ok(legacy) => {
                self.end(&legacy).await;
                Ok(Era::Legacy)
            }
            Err(error @ (AskError::Rpc { .. } | AskError::Protocol(_))) if known == Some(Era::Legacy) => {
                // Another version of the server may have taken its place.
                self.discover().await?.map(|_| Era::Modern).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The result of `server/discover`, `None` when the server does not know it. A legacy server may say so in any way, or not at all: it
    /// gets half of the time.
    async fn discover(&self) -> Result<Option<Bytes>, AskError> {
        let id = RequestId::from(1);
        let headers = modern_headers(method::SERVER_DISCOVER, None);
        let sent = self.post(request::server_discover(&id), headers, Some(&id), self.left()? / 2).await;
        match sent.and_then(|response| result_in(&response, &id)) {
            Ok(result) => Ok(Some(result)),
            Err(AskError::Rpc { .. } | AskError::Protocol(_) | AskError::Params(_)) => Ok(None),
            Err(AskError::Upstream(UpstreamCallError::Timeout(_) | UpstreamCallError::Protocol(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn request(
        &self,
        method: &str,
        params: Option<&str>,
        legacy: Option<&Legacy>,
    ) -> Result<(UpstreamResponse, RequestId), AskError> {
        let id = RequestId::from(2);
        let body = request::call(&id, method, params, legacy.is_none())?;
        let headers = legacy.map_or_else(|| modern_headers(method, params), legacy_headers);
        let response = self.post(body, headers, Some(&id), self.left()?).await?;
        Ok((response, id))
    }

    async fn initialize(&self) -> Result<Legacy, AskError> {
        let id = RequestId::from(1);
        let response = self.post(request::initialize(&id), Vec::new(), Some(&id), self.left()?).await?;
        let result = result_in(&response, &id)?;
        let version = text_at(&result, "/protocolVersion").unwrap_or_else(|| request::LEGACY_VERSION.to_owned());
        let session = response.headers.into_iter().find(|(name, _)| name == header::MCP_SESSION_ID).map(|(_, value)| value);
        Ok(Legacy { version, session })
    }

    async fn request_in(&self, legacy: &Legacy, method: &str, params: Option<&str>) -> Result<Bytes, AskError> {
        self.post(request::initialized(), legacy_headers(legacy), None, self.left()?).await?;
        let (response, id) = self.request(method, params, Some(legacy)).await?;
        result_in(&response, &id)
    }

    /// Ends the session. What the server says to that changes nothing.
    async fn end(&self, legacy: &Legacy) {
        let (Some(_), Ok(left)) = (&legacy.session, self.left()) else { return };
        let request = UpstreamRequest { method: "DELETE", headers: legacy_headers(legacy), body: Bytes::new(), awaited_id: None };
        if let Err(error) = self.calls.send(self.server, request, left.min(DELETE_DEADLINE)).await {
            tracing::debug!(server = self.server, %error, "a session of the gateway's own was not ended");
        }
    }

    async fn post(
        &self,
        body: Vec<u8>,
        mut headers: Vec<(String, String)>,
        id: Option<&RequestId>,
        deadline: Duration,
    ) -> Result<UpstreamResponse, AskError> {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        headers.push(("accept".to_owned(), "application/json, text/event-stream".to_owned()));
        let awaited_id = id.map(|id| id.as_json().to_owned());
        let request = UpstreamRequest { method: "POST", headers, body: body.into(), awaited_id };
        Ok(self.calls.send(self.server, request, deadline).await?)
    }

    fn left(&self) -> Result<Duration, UpstreamCallError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(UpstreamCallError::Timeout(self.limit)) } else { Ok(left) }
    }
}

/// `mcp-param-*` headers are absent: they need the tool's schema, and what asks here calls no annotated tools.
fn modern_headers(method: &str, params: Option<&str>) -> Vec<(String, String)> {
    let mut headers = vec![
        (header::MCP_PROTOCOL_VERSION.to_owned(), request::MODERN_VERSION.to_owned()),
        (header::MCP_METHOD.to_owned(), header::encode(method).into_owned()),
    ];
    let pointer = match method::name_field(method) {
        Some(method::NameField::Name) => "/name",
        Some(method::NameField::Uri) => "/uri",
        Some(method::NameField::TaskId) => "/taskId",
        Some(method::NameField::Reference) | None => return headers,
    };
    if let Some(name) = params.and_then(|params| text_at(params.as_bytes(), pointer)) {
        headers.push((header::MCP_NAME.to_owned(), header::encode(&name).into_owned()));
    }
    headers
}

fn legacy_headers(legacy: &Legacy) -> Vec<(String, String)> {
    let version = (header::MCP_PROTOCOL_VERSION.to_owned(), legacy.version.clone());
    let session = legacy.session.iter().map(|session| (header::MCP_SESSION_ID.to_owned(), session.clone()));
    std::iter::once(version).chain(session).collect()
}

/// The result in a response. An answer counts in any HTTP status: JSON-RPC errors come with 400 and 404 too.
fn result_in(response: &UpstreamResponse, id: &RequestId) -> Result<Bytes, AskError> {
    match request::answer(&response.body, id) {
        Some(Answer::Result(range)) => Ok(response.body.slice(range)),
        Some(Answer::Error(range)) => Err(rpc_error(&response.body[range])),
        None => Err(AskError::Protocol(format!("HTTP {} without an answer to the request", response.status))),
    }
}

fn rpc_error(error: &[u8]) -> AskError {
    let code = json::locate(error, "/code").ok().and_then(|range| str::from_utf8(&error[range]).ok()?.parse().ok());
    let Some(code) = code else { return AskError::Protocol("a JSON-RPC error without a code".to_owned()) };
    let mut message = text_at(error, "/message").unwrap_or_default();
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    AskError::Rpc { code, message }
}

fn text_at(body: &[u8], pointer: &str) -> Option<String> {
    let [b'"', content @ .., b'"'] = &body[json::locate(body, pointer).ok()?] else { return None };
    json::decode(content).map(std::borrow::Cow::into_owned)
}
