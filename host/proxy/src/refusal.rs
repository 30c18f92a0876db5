//! Answers a server's request that may not reach the client: with an error, in its session, with the client's own
//! credentials. Without it the server would wait for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Extensions, Method};
use watchgate_mcp::{RequestId, header as mcp_header};

use crate::error_id::ErrorId;
use crate::fault;
use crate::forward::{Notes, Outgoing, Sent, forward};
use crate::server::{Server, Shared};
use crate::whole_body::WholeBody;

/// A refusal is not worth waiting longer for.
const DEADLINE: Duration = Duration::from_secs(10);

/// Enough of a client's request to speak to the server in its name.
#[derive(Clone)]
pub(crate) struct Credentials {
    target: PathAndQuery,
    headers: HeaderMap,
    client_host: Option<HeaderValue>,
    endpoint: Option<usize>,
}

impl Credentials {
    /// From a request about to be forwarded: all that goes end to end, for who knows which header carries the client's key; but nothing that
    /// belongs to the message in its body.
    pub(crate) fn capture(outgoing: &Outgoing) -> Self {
        let is_of_message = |name: &HeaderName| {
            let text = name.as_str();
            [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::EXPECT, header::RANGE].contains(name)
                || [mcp_header::MCP_NAME, mcp_header::MCP_METHOD, mcp_header::LAST_EVENT_ID].contains(&text)
                || text.starts_with(mcp_header::MCP_PARAM_PREFIX)
        };
        let mut headers = HeaderMap::with_capacity(outgoing.headers.len());
        for (name, value) in outgoing.headers.iter().filter(|(name, _)| !is_of_message(name)) {
            headers.append(name.clone(), value.clone());
        }
        Self { target: outgoing.target.clone(), headers, client_host: outgoing.client_host.clone(), endpoint: outgoing.only }
    }

    /// The session that an answer opened, as the server knows it, and the endpoint that it is with.
    pub(crate) fn note_answer(&mut self, session: Option<&HeaderValue>, endpoint: usize) {
        if let Some(session) = session {
            self.headers.insert(HeaderName::from_static(mcp_header::MCP_SESSION_ID), session.clone());
        }
        self.endpoint = Some(endpoint);
    }

    /// What clients of this stream post to (HTTP+SSE).
    pub(crate) fn note_target(&mut self, target: &str) {
        if let Ok(target) = target.parse() {
            self.target = target;
        }
    }

    /// Sends the refusal in the background.
    pub(crate) fn refuse(&self, shared: &Arc<Shared>, server: &Arc<Server>, id: RequestId, error_id: &ErrorId) {
        let Ok(permit) = shared.refusals.clone().try_acquire_owned() else {
            tracing::warn!(server = %server.name, "too many denied server requests at once: one is left unanswered");
            return;
        };
        let request = self.request(&id, error_id);
        let (shared, server) = (shared.clone(), server.clone());
        tokio::spawn(async move {
            let mut unsaid = Sent::default();
            let notes = Notes { trace: None, sent: &mut unsaid };
            let sent = tokio::time::timeout(DEADLINE, forward(&shared, &server, request, notes)).await;
            if !matches!(&sent, Ok(Ok(answered)) if answered.response.status().is_success()) {
                tracing::warn!(server = %server.name, "the server could not be told that its request was denied");
            }
            drop(permit);
        });
    }

    fn request(&self, id: &RequestId, error_id: &ErrorId) -> Outgoing {
        let mut headers = self.headers.clone();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        Outgoing {
            method: Method::POST,
            target: self.target.clone(),
            client_host: self.client_host.clone(),
            headers,
            body: WholeBody::full(Bytes::from(fault::denial(Some(id), error_id))),
            only: self.endpoint,
            opens_stream: false,
            extensions: Extensions::new(),
        }
    }
}
