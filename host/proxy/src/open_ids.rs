//! The ids of requests that are open in a session, however many of its exchanges they came on.
//!
//! A server may answer on any stream of a session, so the id alone says whose an answer is. A client that gives two open requests the same one
//! could have the answer to the first pass for the answer to the second, of which a policy may want nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use watchgate_mcp::RequestId;

use crate::pending::SessionKey;

type Key = (SessionKey, RequestId);

/// How many open requests have each id.
#[derive(Default)]
pub(crate) struct OpenIds {
    counts: Mutex<HashMap<Key, usize>>,
}

/// The id of one request, open until this is dropped.
pub(crate) struct OpenId {
    ids: Arc<OpenIds>,
    key: Key,
}

impl OpenIds {
    /// A client asks in a session.
    pub(crate) fn open(self: &Arc<Self>, session: SessionKey, id: RequestId) -> Arc<OpenId> {
        let key = (session, id);
        *self.counts.lock().entry(key.clone()).or_default() += 1;
        Arc::new(OpenId { ids: self.clone(), key })
    }
}

impl OpenId {
    /// Whether another open request of the session has it too, so that an answer may be to either.
    pub(crate) fn is_shared(&self) -> bool {
        self.ids.counts.lock().get(&self.key).is_some_and(|count| *count > 1)
    }
}

impl Drop for OpenId {
    fn drop(&mut self) {
        let mut counts = self.ids.counts.lock();
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.key)),
        }
    }
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpenId").field(&self.key).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_shared_while_two_of_one_session_have_it() {
        let ids = Arc::<OpenIds>::default();
        let (one, other) = (SessionKey { server: 0, hash: 1 }, SessionKey { server: 0, hash: 2 });
        let id = |text: &str| RequestId::from_json(text.as_bytes()).unwrap();
        let first = ids.open(one, id("1"));
        let _elsewhere = [ids.open(other, id("1")), ids.open(one, id("2")), ids.open(one, id("\"1\""))];
        assert!(!first.is_shared());
        let second = ids.open(one, id("1"));
        assert!(first.is_shared() && second.is_shared());
        drop(first);
        assert!(!second.is_shared());
        drop((second, _elsewhere));
        assert!(ids.counts.lock().is_empty());
    }
}
