//! The head of a server's answer: what it says of the connection, the session and the server itself, settled before its body is relayed.

use std::time::Duration;

use http::response::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use watchgate_mcp::header as mcp_header;
use watchgate_telemetry::AuthResult;

use crate::admission::is_preflight;
use crate::affinity::tag;
use crate::client_address::host_for;
use crate::endpoint::Endpoint;
use crate::endpoint_event::{EndpointRewrite, StreamPlace};
use crate::exchange::Exchange;
use crate::forward::Answered;
use crate::headers::{self, Content};
use crate::oauth::{DocumentPlace, document_place};
use crate::ready::Ready;
use crate::redirect::Place;
use crate::refusal::Credentials;
use crate::server::Server;
use crate::source::Source;
use crate::upstream_body::UpstreamBody;
use crate::upstream_connection::Carrier;

/// A connection is given up this long before the server would close it.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// What the request was, as far as its answer must be read in its light.
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// By its header it is of a revision without sessions.
    is_modern: bool,
    /// What the client asked the gateway for, without query. Only of a GET.
    client_path: Option<String>,
    /// What the server was asked for.
    target: PathAndQuery,
    client_host: Option<HeaderValue>,
    /// It is a browser's question whether it may ask, and the gate wants a header of which the server knows nothing.
    asks_for_key: bool,
}

impl Asked {
    /// Of a request about to be forwarded.
    pub(crate) fn of(ready: &Ready) -> Self {
        let is_get = ready.parts.method == Method::GET;
        Self {
            method: ready.parts.method.clone(),
            is_modern: headers::is_modern(&ready.parts.headers),
            client_path: is_get.then(|| ready.parts.uri.path().to_owned()),
            target: ready.target.clone(),
            client_host: ready.client_host(),
            asks_for_key: ready.plan.config.auth.is_some() && is_preflight(&ready.parts),
        }
    }

    /// The `Host` that the server was sent.
    pub(crate) fn sent_host(&self, server: &Server) -> Option<HeaderValue> {
        server.endpoints.first().map(|endpoint| self.host_sent_to(server, endpoint))
    }

    fn host_sent_to(&self, server: &Server, endpoint: &Endpoint) -> HeaderValue {
        host_for(&server.config.host, self.client_host.as_ref(), &endpoint.host, endpoint.tls.is_some())
    }

    /// Whether the answer is OAuth metadata that names the server by a URL that clients do not use.
    pub(crate) fn metadata(&self, server: &Server, parts: &Parts) -> Option<DocumentPlace> {
        server.oauth.as_ref()?;
        document_place(&self.method, self.target.path(), parts.status, &parts.headers)
    }
}

/// Settles the head; gives what the client gets, and the body.
pub(crate) fn take(
    exchange: &mut Exchange,
    answered: Answered,
    asked: &Asked,
    mut credentials: Option<Credentials>,
) -> (Parts, Source, Option<Credentials>) {
    let server = exchange.server.clone();
    let Answered { response, mut carrier, lease } = answered;
    let (mut parts, incoming) = response.into_parts();
    // The version and the length are this connection's, not the server's.
    parts.version = Version::HTTP_11;
    if let (Carrier::Http1(connection), Some(limit)) = (&mut carrier, headers::keep_alive_timeout(&parts.headers)) {
        connection.idle_limit = limit.saturating_sub(KEEP_ALIVE_MARGIN);
    }
    headers::remove_hop_by_hop(&mut parts.headers);
    exchange.status = parts.status.as_u16();
    match parts.status {
        StatusCode::UNAUTHORIZED => server.metrics.authenticated(AuthResult::Upstream401),
        StatusCode::FORBIDDEN => server.metrics.authenticated(AuthResult::Upstream403),
        _ => {}
    }
    let of_server = parts.headers.get(mcp_header::MCP_SESSION_ID).cloned();
    if let Some(session) = of_server.as_ref().filter(|_| server.tags_sessions()) {
        parts.headers.insert(HeaderName::from_static(mcp_header::MCP_SESSION_ID), tag(session, lease.endpoint.tag));
    }
    exchange.write_ids(&mut parts.headers);
    // Since 2026-07-28 there are none, whatever a server says.
    let is_said = !asked.is_modern && exchange.note_session(&parts.headers);
    exchange.note_session_answer(&asked.method, parts.status, is_said);
    if let Some(credentials) = &mut credentials {
        credentials.note_answer(of_server.as_ref(), lease.endpoint.index);
    }
    if asked.asks_for_key {
        allow_key(&mut parts.headers);
    }
    settle_own_paths(&server, &lease.endpoint, asked, &mut parts);
    let host = asked.client_path.is_some().then(|| asked.host_sent_to(&server, &lease.endpoint));
    if let Some(oauth) = &server.oauth {
        oauth.challenges(&mut parts.headers, host.as_ref().or(asked.sent_host(&server).as_ref()));
    }
    let place = stream_place(&server, &lease.endpoint, asked, exchange, &parts, host.as_ref());
    let mut source = Source::new(UpstreamBody::new(incoming, carrier, lease));
    if let Some(place) = place {
        source.rewrite_endpoint(EndpointRewrite::new(place), server.name.clone());
    }
    (parts, source, credentials)
}

/// Where a server lets pages send some headers, lets them send the gate's as well (Fetch standard, 3.2.3: `*` does not stand for it).
fn allow_key(headers: &mut HeaderMap) {
    let Some(allowed) = headers.get(header::ACCESS_CONTROL_ALLOW_HEADERS).and_then(|allowed| allowed.to_str().ok()) else { return };
    let is_allowed = allowed.split(',').any(|name| name.trim().eq_ignore_ascii_case("authorization"));
    if !is_allowed && let Ok(value) = HeaderValue::from_str(&format!("{allowed}, authorization")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, value);
    }
}

/// Puts right what the head says of the server's own paths.
fn settle_own_paths(server: &Server, endpoint: &Endpoint, asked: &Asked, parts: &mut Parts) {
    let fields = [header::LOCATION, header::CONTENT_LOCATION, header::SET_COOKIE];
    if !fields.iter().any(|field| parts.headers.contains_key(field)) {
        return;
    }
    let sent = asked.host_sent_to(server, endpoint);
    let place = Place {
        mounting: &server.mounting,
        asked: asked.target.path(),
        own: [Some(&endpoint.authority), sent.to_str().ok()],
        client_host: asked.client_host.as_ref().and_then(|host| host.to_str().ok()),
    };
    place.settle(parts.status, &mut parts.headers);
}

/// Where the answer is a stream that may begin with an endpoint event: to a GET without a session (HTTP+SSE).
fn stream_place(
    server: &Server,
    endpoint: &Endpoint,
    asked: &Asked,
    exchange: &Exchange,
    parts: &Parts,
    host: Option<&HeaderValue>,
) -> Option<StreamPlace> {
    let client_path = asked.client_path.as_ref()?;
    let is_coded = parts.headers.contains_key(header::CONTENT_ENCODING);
    if is_coded || exchange.session.is_some() || headers::content(&parts.headers) != Content::EventStream {
        return None;
    }
    let host = host.and_then(|host| host.to_str().ok()).map(str::to_owned);
    Some(StreamPlace {
        mounting: server.mounting.clone(),
        client_path: client_path.clone(),
        server_path: asked.target.path().to_owned(),
        own_authorities: host.into_iter().chain([endpoint.authority.to_string()]).collect(),
        tag: server.tags_sessions().then_some(endpoint.tag),
    })
}
