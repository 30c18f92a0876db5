//! The legacy sessions of a server, followed from what is said in them.

use std::time::Instant;

use http::{Method, StatusCode};

use super::Server;
use crate::pending::SessionKey;
use crate::sessions::Opening;

impl Server {
    /// The server answered in a session: it goes on, is over, or is new where the answer itself names it (`is_said`). Servers without sessions answer whatever
    /// session a client makes up.
    pub(crate) fn note_session(&self, key: SessionKey, method: &Method, status: StatusCode, is_said: bool) {
        let now = Instant::now();
        if status == StatusCode::NOT_FOUND || (*method == Method::DELETE && status.is_success()) {
            self.end_session(key);
        } else if status.is_success() && is_said {
            self.open_session(key, now);
        } else {
            self.sessions.touched(key, now);
        }
    }

    /// A session is followed from now on, if it was not.
    pub(crate) fn open_session(&self, key: SessionKey, now: Instant) {
        if let Opening::New { forgotten } = self.sessions.opened(key, now) {
            self.metrics.session_opened();
            if let Some(forgotten) = forgotten {
                self.metrics.session_ended(forgotten.duration);
            }
        }
    }

    /// A session is over.
    pub(crate) fn end_session(&self, key: SessionKey) {
        if let Some(duration) = self.sessions.ended(key, Instant::now()) {
            self.metrics.session_ended(duration);
        }
    }

    /// Something was heard of a session.
    pub(crate) fn touch_session(&self, key: SessionKey) {
        self.sessions.touched(key, Instant::now());
    }
}
