//! Operations whose answer does not come on the exchange that asked: the server's requests, which the client answers by
//! a POST of its own, and the client's requests whose stream the server closed to go on with it later (legacy eras).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use watchgate_mcp::{Direction, RequestId};

use crate::operation::OpenOperation;

/// A session of one server, hashed with a key of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey {
    pub(crate) server: usize,
    pub(crate) hash: u64,
}

type Key = (SessionKey, Direction, RequestId);

/// Bounded by count and by age.
pub(crate) struct PendingOperations {
    inner: Mutex<Inner>,
}

struct Inner {
    capacity: usize,
    expiry: Duration,
    operations: HashMap<Key, (u64, OpenOperation)>,
    /// In the order of insertion, which is the order of age. An entry whose number does not match was taken meanwhile.
    order: VecDeque<(u64, Instant, Key)>,
    next: u64,
}

impl PendingOperations {
    /// Empty.
    pub(crate) fn new(capacity: usize, expiry: Duration) -> Self {
        Self { inner: Mutex::new(Inner { capacity, expiry, operations: HashMap::new(), order: VecDeque::new(), next: 0 }) }
    }

    /// Other bounds from now on; what is over them leaves with the next insertion or expiry.
    pub(crate) fn set_bounds(&self, capacity: usize, expiry: Duration) {
        let mut inner = self.inner.lock();
        (inner.capacity, inner.expiry) = (capacity, expiry);
    }

    /// Remembers an operation with an id. Returns what it pushed out: the oldest, or one with the same key.
    pub(crate) fn insert(&self, session: SessionKey, operation: OpenOperation, now: Instant) -> Vec<(SessionKey, OpenOperation)> {
        let Some(id) = operation.id.clone() else { return vec![(session, operation)] };
        let key = (session, operation.direction, id);
        let mut inner = self.inner.lock();
        let number = inner.next;
        inner.next += 1;
        inner.order.push_back((number, now, key.clone()));
        let mut out = Vec::new();
        let replaced = inner.operations.insert(key.clone(), (number, operation));
        if let Some((_, replaced)) = replaced {
            out.push((session, replaced));
            // Whose the answer is that comes next is not certain.
            if let Some((_, current)) = inner.operations.get_mut(&key) {
                current.is_ambiguous = true;
            }
        }
        while inner.operations.len() > inner.capacity {
            let Some(oldest) = inner.pop_oldest() else { break };
            out.extend(oldest);
        }
        // Taken operations leave their entry in `order`; without this a busy session would grow it for ever.
        if inner.order.len() > 2 * inner.capacity.max(16) {
            let Inner { operations, order, .. } = &mut *inner;
            order.retain(|(number, _, key)| operations.get(key).is_some_and(|(current, _)| current == number));
        }
        out
    }

    /// The operation that this id answers.
    pub(crate) fn take(&self, session: SessionKey, direction: Direction, id: &RequestId) -> Option<OpenOperation> {
        self.inner.lock().operations.remove(&(session, direction, id.clone())).map(|(_, operation)| operation)
    }

    /// Method and name of the operation that this id would answer, where that is certain.
    pub(crate) fn peek(&self, session: SessionKey, direction: Direction, id: &RequestId) -> Option<(Box<str>, Option<Box<str>>)> {
        let inner = self.inner.lock();
        inner.operations.get(&(session, direction, id.clone())).and_then(|(_, operation)| operation.certainly())
    }

    /// Takes out what has waited too long.
    pub(crate) fn expire(&self, now: Instant) -> Vec<(SessionKey, OpenOperation)> {
        let mut inner = self.inner.lock();
        let mut out = Vec::new();
        while inner.order.front().is_some_and(|(_, since, _)| now.duration_since(*since) >= inner.expiry) {
            out.extend(inner.pop_oldest().flatten());
        }
        out
    }

    /// Takes out what waits in a session that is over.
    pub(crate) fn take_session(&self, session: SessionKey) -> Vec<OpenOperation> {
        let is_of = |key: &Key, _: &mut (u64, OpenOperation)| key.0 == session;
        self.inner.lock().operations.extract_if(is_of).map(|(_, (_, operation))| operation).collect()
    }

    /// How many are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.inner.lock().operations.len()
    }
}

impl Inner {
    /// `None` when nothing is left; `Some(None)` when the oldest entry had been taken.
    fn pop_oldest(&mut self) -> Option<Option<(SessionKey, OpenOperation)>> {
        let (number, _, key) = self.order.pop_front()?;
        let current = self.operations.get(&key).is_some_and(|(current, _)| *current == number);
        Some(if current { self.operations.remove(&key).map(|(_, operation)| (key.0, operation)) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchgate_mcp::MethodText;

    fn operation(id: &str) -> OpenOperation {
        OpenOperation {
            direction: Direction::ServerToClient,
            is_request: true,
            id: RequestId::from_json(id.as_bytes()),
            method: MethodText::Known("ping"),
            name: None,
            started: Instant::now(),
            request_bytes: 0,
            argument_bytes: 0,
            protocol_version: None,
            peer_name: None,
            text: None,
            is_ambiguous: false,
            traceparent: None,
            trace: None,
            open_id: None,
            late: None,
        }
    }

    const SESSION: SessionKey = SessionKey { server: 0, hash: 7 };

    #[test]
    fn directions_and_sessions_are_separate_namespaces() {
        let pending = PendingOperations::new(10, Duration::from_secs(60));
        let now = Instant::now();
        assert!(pending.insert(SESSION, operation("0"), now).is_empty());
        let id = RequestId::from_json(b"0").unwrap();
        assert!(pending.take(SESSION, Direction::ClientToServer, &id).is_none());
        assert!(pending.take(SessionKey { hash: 8, ..SESSION }, Direction::ServerToClient, &id).is_none());
        assert!(pending.take(SESSION, Direction::ServerToClient, &id).is_some());
        assert!(pending.take(SESSION, Direction::ServerToClient, &id).is_none());
    }

    #[test]
    fn the_oldest_leaves_when_full_and_the_old_when_late() {
        let pending = PendingOperations::new(2, Duration::from_secs(60));
        let now = Instant::now();
        pending.insert(SESSION, operation("1"), now);
        pending.insert(SESSION, operation("2"), now + Duration::from_secs(30));
        let out = pending.insert(SESSION, operation("3"), now + Duration::from_secs(40));
        assert_eq!(out[0].1.id, RequestId::from_json(b"1"));
        assert!(pending.expire(now + Duration::from_secs(89)).is_empty());
        assert_eq!(pending.expire(now + Duration::from_secs(90)).len(), 1);
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn a_session_that_is_over_leaves_nothing_behind() {
        let pending = PendingOperations::new(10, Duration::from_secs(60));
        let (now, other) = (Instant::now(), SessionKey { hash: 8, ..SESSION });
        for (session, id) in [(SESSION, "1"), (other, "1"), (SESSION, "2")] {
            pending.insert(session, operation(id), now);
        }
        assert_eq!((pending.take_session(SESSION).len(), pending.take_session(SESSION).len(), pending.len()), (2, 0, 1));
    }

    #[test]
    fn taken_operations_leave_nothing_behind() {
        let pending = PendingOperations::new(4, Duration::from_secs(60));
        let now = Instant::now();
        for number in 0..10_000 {
            let operation = operation(&number.to_string());
            let id = operation.id.clone().unwrap();
            pending.insert(SESSION, operation, now);
            pending.take(SESSION, Direction::ServerToClient, &id).unwrap();
        }
        assert!(pending.inner.lock().order.len() <= 33);
        assert!(pending.expire(now + Duration::from_secs(61)).is_empty());
    }
}
