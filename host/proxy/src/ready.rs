//! A request that is ready to be forwarded, and how it becomes the one that the server gets.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use watchgate_mcp::header as mcp_header;

use crate::affinity::untag;
use crate::client_address::{Context, write_forwarded};
use crate::client_connection::Caller;
use crate::forward::Outgoing;
use crate::headers;
use crate::pending::SessionKey;
use crate::server::{Plan, Server};
use crate::server_config::{Forwarded, Mount};
use crate::whole_body::WholeBody;

/// What the request steps hand to `forward`.
pub(crate) struct Ready {
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// What the server is asked for.
    pub(crate) target: PathAndQuery,
    pub(crate) plan: Arc<Plan>,
    pub(crate) caller: Caller,
}

impl Ready {
    /// The `Host` that the client asked for.
    pub(crate) fn client_host(&self) -> Option<HeaderValue> {
        let of_target = self.parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        of_target.or_else(|| self.parts.headers.get(header::HOST).cloned())
    }

    /// No trailers follow the body, and nothing says so.
    pub(crate) fn drop_trailers(&mut self) {
        if self.trailers.take().is_some() {
            headers::remove(&mut self.parts.headers, &header::TRAILER);
        }
    }

    /// The request as the server gets it: the client's own, less what belongs to the client's connection. `session` is the one that it is in.
    pub(crate) fn into_outgoing(self, server: &Server, session: Option<SessionKey>) -> Outgoing {
        let client_host = self.client_host();
        let Self { parts, body, trailers, mut target, plan, caller } = self;
        let Parts { method, mut headers, version, extensions, .. } = parts;
        headers::remove_hop_by_hop(&mut headers);
        // The body is here in full: its length is known, and nobody waits for a `100 Continue` any more. Only a chunked body can have trailers.
        headers::settle_length(&mut headers, trailers.is_none().then_some(body.len() as u64));
        if trailers.is_some() {
            // Without it, hyper sends no body of unknown length with a GET. Over HTTP/2 it leaves the field out.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        headers::remove(&mut headers, &header::EXPECT);
        if version == Version::HTTP_2 {
            headers::join_cookies(&mut headers);
        }
        // With a session it is neither an endpoint event nor metadata.
        let has_session = headers.contains_key(mcp_header::MCP_SESSION_ID);
        let may_be_rewritten = method == Method::GET && !has_session && server.rewrites_answers();
        if plan.config.expects_policies || may_be_rewritten {
            // What a policy must read, or what is put right for clients, may come neither compressed nor in parts. For policies it is asked for
            // always, because one may come before the answer does.
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            headers::remove_where(&mut headers, |name| *name == header::RANGE || *name == header::IF_RANGE);
        }
        let only = take_tag(server, &method, &mut headers, &mut target, session);
        if server.config.forwarded != Forwarded::Off {
            let prefix = (server.config.mount == Mount::Prefix).then(|| format!("/{}", server.name));
            let context = Context {
                peer: caller.address.ip(),
                scheme: if caller.is_tls { "https" } else { "http" },
                host: client_host.as_ref(),
                prefix: prefix.as_deref(),
            };
            write_forwarded(&mut headers, server.config.forwarded, &plan.config.clients, context);
        }
        let opens_stream = method == Method::GET;
        Outgoing { method, target, headers, client_host, body: WholeBody::with_trailers(body, trailers), only, opens_stream, extensions }
    }
}

/// Takes the endpoint's tag off the session id, or off the URL that an endpoint event named (HTTP+SSE), and says which endpoint the request must go to.
fn take_tag(
    server: &Server,
    method: &Method,
    headers: &mut HeaderMap,
    target: &mut PathAndQuery,
    known_as: Option<SessionKey>,
) -> Option<usize> {
    // Also where the server has only one endpoint left: clients of a session may have been given its tag when there were more.
    let tags = || server.endpoints.iter().map(|endpoint| endpoint.tag);
    if let Some(session) = headers.get(mcp_header::MCP_SESSION_ID) {
        let (id, endpoint) = untag(session.as_bytes(), tags());
        if endpoint.is_none() {
            return known_as.and_then(|session| server.home_of(session));
        }
        let id = HeaderValue::from_bytes(id).ok()?;
        headers.insert(HeaderName::from_static(mcp_header::MCP_SESSION_ID), id);
        return endpoint;
    }
    if *method != Method::POST {
        return None;
    }
    let (url, endpoint) = untag(target.as_str().as_bytes(), tags());
    let url = PathAndQuery::try_from(url).ok().filter(|_| endpoint.is_some())?;
    *target = url;
    endpoint
}
