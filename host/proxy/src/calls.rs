//! `UpstreamCalls`: small requests of the gateway's own to configured servers.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, Method};
use watchgate_hooks::{BoxFuture, UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse};
use watchgate_mcp::sse::SseAssembler;
use watchgate_mcp::{Envelope, RequestId};

use crate::connect::{ConnectError, open_stream};
use crate::endpoint::Endpoint;
use crate::fault::Fault;
use crate::forward::{Answered, Notes, Outgoing, Sent, forward};
use crate::headers::{self, Content};
use crate::scan::scan;
use crate::server::{Server, Shared};
use crate::upstream_body::UpstreamBody;
use crate::whole_body::WholeBody;

/// So that operators of a server can tell the gateway's own requests from those of clients.
const OWN_USER_AGENT: &str = concat!("watchgate/", env!("CARGO_PKG_VERSION"));
/// No answer is larger than this.
const MAX_ANSWER: usize = 4 << 20;

/// Sends requests through the proxy's own pools.
pub(crate) struct Calls(pub(crate) Arc<Shared>);

impl Calls {
    fn server(&self, name: &str) -> Result<Arc<Server>, UpstreamCallError> {
        let plan = self.0.plan.load();
        plan.servers.iter().find(|server| &*server.name == name).cloned().ok_or_else(|| UpstreamCallError::UnknownServer(name.to_owned()))
    }

    async fn send_now(
        &self,
        server: &Arc<Server>,
        request: UpstreamRequest,
        deadline: Duration,
    ) -> Result<UpstreamResponse, UpstreamCallError> {
        let awaited = awaited_id(&request);
        let mut sent = Sent::default();
        let forwarded = forward(&self.0, server, outgoing(server, request)?, Notes { trace: None, sent: &mut sent }).await;
        let answered = forwarded.map_err(|fault| match (fault, sent.cause) {
            (Fault::ConnectTimeout | Fault::HeadTimeout, _) => UpstreamCallError::Timeout(deadline),
            (Fault::BreakerOpen(_), _) => UpstreamCallError::Unreachable("the circuit breaker is open".into()),
            (Fault::BreakerOpenByHand(_), _) => UpstreamCallError::Unreachable("the circuit breaker is open (by hand)".into()),
            (Fault::Unreachable, Some(cause)) => UpstreamCallError::Unreachable(format!("no connection ({})", cause.as_str())),
            _ => UpstreamCallError::Unreachable("the connection broke before an answer".into()),
        })?;
        respond(answered, awaited.as_ref()).await
    }
}

impl UpstreamCalls for Calls {
    fn servers(&self) -> Vec<String> {
        self.0.plan.load().servers.iter().map(|server| server.name.to_string()).collect()
    }

    fn connect<'a>(&'a self, server: &'a str, deadline: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        Box::pin(async move {
            let server = self.server(server)?;
            let mut result = Err(UpstreamCallError::UnknownServer(server.name.to_string()));
            for endpoint in &server.endpoints {
                result = try_connect(endpoint, deadline).await;
                if result.is_ok() {
                    break;
                }
            }
            result
        })
    }

    fn send<'a>(
        &'a self,
        server: &'a str,
        request: UpstreamRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(async move {
            let server = self.server(server)?;
            tokio::time::timeout(deadline, self.send_now(&server, request, deadline))
                .await
                .unwrap_or(Err(UpstreamCallError::Timeout(deadline)))
        })
    }
}

/// Opens a connection and closes it again.
pub(crate) async fn try_connect(endpoint: &Endpoint, deadline: Duration) -> Result<(), UpstreamCallError> {
    match open_stream(endpoint, deadline).await {
        Ok(_) => Ok(()),
        Err(ConnectError::Timeout(after)) => Err(UpstreamCallError::Timeout(after)),
        Err(error) => Err(UpstreamCallError::Unreachable(error.to_string())),
    }
}

/// The id whose answer is awaited.
pub(crate) fn awaited_id(request: &UpstreamRequest) -> Option<RequestId> {
    request.awaited_id.as_deref().and_then(|id| RequestId::from_json(id.as_bytes()))
}

/// Reads as much of an answer as is awaited.
pub(crate) async fn respond(answered: Answered, awaited: Option<&RequestId>) -> Result<UpstreamResponse, UpstreamCallError> {
    let (parts, incoming) = answered.response.into_parts();
    let body = match awaited {
        None => Bytes::new(),
        Some(id) => read_answer(&parts.headers, UpstreamBody::new(incoming, answered.carrier, answered.lease), id).await?,
    };
    Ok(UpstreamResponse { status: parts.status.as_u16(), headers: plain_headers(&parts.headers), body })
}

/// A request of the gateway's own as the server gets it.
pub(crate) fn outgoing(server: &Server, request: UpstreamRequest) -> Result<Outgoing, UpstreamCallError> {
    let bad = |what: &str| UpstreamCallError::Protocol(format!("the request's {what} is not legal HTTP"));
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("header name"))?;
        headers.append(name, HeaderValue::from_str(&value).map_err(|_| bad("header value"))?);
    }
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(OWN_USER_AGENT));
    Ok(Outgoing {
        method: Method::from_bytes(request.method.as_bytes()).map_err(|_| bad("method"))?,
        target: PathAndQuery::try_from(server.config.endpoint_path()).map_err(|_| bad("path"))?,
        headers,
        client_host: None,
        body: WholeBody::full(request.body),
        only: None,
        opens_stream: false,
        extensions: Extensions::new(),
    })
}

fn plain_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

/// Reads a document to its end, or a stream until it has the answer.
async fn read_answer(headers: &HeaderMap, mut body: UpstreamBody, id: &RequestId) -> Result<Bytes, UpstreamCallError> {
    if headers::content(headers) == Content::EventStream {
        return read_events(&mut body, id).await;
    }
    let mut gathered = BytesMut::new();
    while let Some(piece) = next_piece(&mut body).await? {
        if gathered.len() + piece.len() > MAX_ANSWER {
            return Err(UpstreamCallError::TooLarge);
        }
        gathered.extend_from_slice(&piece);
    }
    Ok(gathered.freeze())
}

async fn read_events(body: &mut UpstreamBody, id: &RequestId) -> Result<Bytes, UpstreamCallError> {
    let mut assembler = SseAssembler::new(MAX_ANSWER);
    while let Some(piece) = next_piece(body).await? {
        assembler.push(piece);
        while let Some(event) = assembler.next_event() {
            let event = event.map_err(|_| UpstreamCallError::TooLarge)?;
            let Some(data) = event.data() else { continue };
            let answers = |envelope: &Envelope| envelope.is_answer() && envelope.id.as_ref() == Some(id);
            if scan(&data).envelopes.iter().any(answers) {
                return Ok(data);
            }
        }
    }
    Err(UpstreamCallError::Protocol("the stream ended without the answer".into()))
}

async fn next_piece(body: &mut UpstreamBody) -> Result<Option<Bytes>, UpstreamCallError> {
    match poll_fn(|context| body.poll_frame(context)).await {
        None => Ok(None),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(error)) => Err(UpstreamCallError::Unreachable(error.to_string())),
    }
}
