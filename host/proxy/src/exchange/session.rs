//! The session of an exchange: the one that its request names, that the server names in its answer, or whose messages come on its stream.

use std::time::Instant;

use http::{HeaderMap, Method, StatusCode};
use watchgate_mcp::header as mcp_header;

use super::{Exchange, MessageStream};
use crate::session_hash::session_hash;

impl Exchange {
    /// Notes the session that the server's answer names, and tells whether it names one.
    pub(crate) fn note_session(&mut self, headers: &HeaderMap) -> bool {
        // The session of HTTP+SSE is known by its URL, under which the calls wait: no header changes that.
        let header = headers.get(mcp_header::MCP_SESSION_ID).filter(|_| self.message_stream.is_none());
        let Some(session) = header else { return false };
        let key = self.shared.session_key(&self.server, session.as_bytes());
        if self.session != Some(key) {
            self.session = Some(key);
            self.session_text = Some(session_hash(session.as_bytes()));
        }
        true
    }

    /// The server has answered in the exchange's session, if it has one. `is_said`: the answer itself names it.
    pub(crate) fn note_session_answer(&self, method: &Method, status: StatusCode, is_said: bool) {
        match (self.session, &self.message_stream) {
            (Some(session), None) => self.server.note_session(session, method, status, is_said),
            // Such a session lasts as long as its stream, whatever the server says to a POST.
            (Some(session), Some(_)) => self.server.touch_session(session),
            (None, _) => {}
        }
    }

    /// Who posts to this target of the server is answered on this stream (HTTP+SSE).
    pub(crate) fn note_messages(&mut self, target: &str) {
        let key = self.shared.session_key(&self.server, target.as_bytes());
        self.session = Some(key);
        self.session_text = Some(session_hash(target.as_bytes()));
        self.message_stream = Some(MessageStream::Here(self.server.message_targets.open(key)));
        self.server.open_session(key, Instant::now());
    }
}
