//! Legacy sessions under way: how many, and how long they lasted.
//!
//! The servers own their sessions; this is only what the gateway has seen of them. A session ends when the client deletes it, when the server
//! says that it is unknown, or when nothing was heard of it for long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::pending::SessionKey;

/// Marks the end of a list.
const NONE: u32 = u32::MAX;

/// Bounded in number and idle time. Every request of a session comes by here: one short lock, a look-up, and a few writes.
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
}

/// What a session is to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// It was there.
    Known,
    /// It is followed from now on.
    New {
        /// The session that had to be forgotten for it: the one not heard of for longest.
        forgotten: Option<EndedSession>,
    },
}

/// A session that is followed no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedSession {
    /// Its server, by the number that [`SessionKey`] has.
    pub(crate) server: usize,
    /// From its opening to the last that was heard of it.
    pub(crate) duration: Duration,
}

struct Inner {
    capacity: usize,
    idle: Duration,
    places: HashMap<SessionKey, u32>,
    /// A list through the sessions in the order in which they were last heard of, and another through the free entries.
    entries: Vec<Entry>,
    oldest: u32,
    newest: u32,
    free: u32,
}

struct Entry {
    key: SessionKey,
    opened: Instant,
    heard: Instant,
    older: u32,
    newer: u32,
}

impl Default for Sessions {
    /// Bounded by `set_bounds`.
    fn default() -> Self {
        Self::new(1, Duration::MAX)
    }
}

impl Sessions {
    /// Follows at most `capacity` sessions (at least one), each until nothing was heard of it for `idle`.
    pub(crate) fn new(capacity: usize, idle: Duration) -> Self {
        Self {
            inner: Mutex::new(Inner {
                capacity: bounded(capacity),
                idle,
                places: HashMap::new(),
                entries: Vec::new(),
                oldest: NONE,
                newest: NONE,
                free: NONE,
            }),
        }
    }

    /// Other bounds from now on; what is over them leaves with the next expiry.
    pub(crate) fn set_bounds(&self, capacity: usize, idle: Duration) {
        let mut inner = self.inner.lock();
        (inner.capacity, inner.idle) = (bounded(capacity), idle);
    }

    /// A server has named a session in an answer: it has opened it, or goes on with one that this process has not seen open, because the gateway was started
    /// again or another replica let it in.
    pub(crate) fn opened(&self, key: SessionKey, now: Instant) -> Opening {
        let mut inner = self.inner.lock();
        if inner.touch(key, now) {
            return Opening::Known;
        }
        let forgotten = if inner.places.len() >= inner.capacity { inner.remove_oldest() } else { None };
        inner.insert(key, now);
        Opening::New { forgotten }
    }

    /// Whether it is followed.
    pub(crate) fn is_known(&self, key: SessionKey) -> bool {
        self.inner.lock().places.contains_key(&key)
    }

    /// Something was heard of a session. One that is not known stays so: clients can name what they like.
    pub(crate) fn touched(&self, key: SessionKey, now: Instant) {
        self.inner.lock().touch(key, now);
    }

    /// The client or the server has ended a session. `None` when it was not known.
    pub(crate) fn ended(&self, key: SessionKey, now: Instant) -> Option<Duration> {
        let mut inner = self.inner.lock();
        let place = *inner.places.get(&key)?;
        let opened = inner.entries[place as usize].opened;
        inner.remove(place);
        Some(now.saturating_duration_since(opened))
    }

    /// Takes out what has been idle too long, and what is over the bound.
    pub(crate) fn expire(&self, now: Instant) -> Vec<EndedSession> {
        let mut inner = self.inner.lock();
        let mut out = Vec::new();
        while let Some(oldest) = inner.entries.get(inner.oldest as usize) {
            let is_idle = now.saturating_duration_since(oldest.heard) >= inner.idle;
            if !is_idle && inner.places.len() <= inner.capacity {
                break;
            }
            out.extend(inner.remove_oldest());
        }
        out
    }

    #[cfg(test)]
    /// Sessions of a server.
    pub(crate) fn count(&self, server: usize) -> usize {
        self.inner.lock().places.keys().filter(|key| key.server == server).count()
    }
}

/// Entries are numbered with 32 bits.
fn bounded(capacity: usize) -> usize {
    capacity.clamp(1, NONE as usize - 1)
}

impl Inner {
    /// Whether the session is known.
    fn touch(&mut self, key: SessionKey, now: Instant) -> bool {
        let Some(place) = self.places.get(&key).copied() else { return false };
        let heard = &mut self.entries[place as usize].heard;
        *heard = now.max(*heard);
        if self.newest != place {
            self.unlink(place);
            self.link_newest(place);
        }
        true
    }

    fn insert(&mut self, key: SessionKey, now: Instant) {
        let entry = Entry { key, opened: now, heard: now, older: NONE, newer: NONE };
        let place = if self.free == NONE {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            let place = self.free;
            self.free = self.entries[place as usize].newer;
            self.entries[place as usize] = entry;
            place
        };
        self.places.insert(key, place);
        self.link_newest(place);
    }

    fn remove_oldest(&mut self) -> Option<EndedSession> {
        let entry = self.entries.get(self.oldest as usize)?;
        let ended = EndedSession { server: entry.key.server, duration: entry.heard.saturating_duration_since(entry.opened) };
        self.remove(self.oldest);
        Some(ended)
    }

    fn remove(&mut self, place: u32) {
        self.unlink(place);
        let entry = &mut self.entries[place as usize];
        let key = entry.key;
        entry.newer = self.free;
        self.free = place;
        self.places.remove(&key);
        if self.places.is_empty() {
            // A burst of sessions does not keep its memory for ever.
            (self.places, self.entries, self.free) = (HashMap::new(), Vec::new(), NONE);
        }
    }

    fn unlink(&mut self, place: u32) {
        let Entry { older, newer, .. } = self.entries[place as usize];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, place: u32) {
        let older = std::mem::replace(&mut self.newest, place);
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
        let entry = &mut self.entries[place as usize];
        (entry.older, entry.newer) = (older, NONE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::*;

    const IDLE: Duration = Duration::from_secs(100);

    fn key(server: usize, hash: u64) -> SessionKey {
        SessionKey { server, hash }
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_session_lasts_from_its_opening_to_its_end() {
        let (sessions, start) = (Sessions::new(10, IDLE), Instant::now());
        assert_eq!(sessions.opened(key(1, 7), start), Opening::New { forgotten: None });
        sessions.touched(key(1, 7), start + seconds(5));
        assert_eq!((sessions.count(1), sessions.count(2)), (1, 0));
        assert_eq!(sessions.ended(key(2, 7), start), None);
        assert_eq!(sessions.ended(key(1, 7), start + seconds(9)), Some(seconds(9)));
        assert_eq!(sessions.ended(key(1, 7), start + seconds(9)), None);
        assert_eq!(sessions.count(1), 0);
    }

    #[test]
    fn only_an_answer_makes_a_session_known() {
        let (sessions, start) = (Sessions::new(10, IDLE), Instant::now());
        sessions.touched(key(1, 7), start);
        assert_eq!(sessions.count(1), 0);
        sessions.opened(key(1, 7), start);
        sessions.opened(key(1, 7), start + seconds(2));
        assert_eq!(sessions.count(1), 1);
        assert_eq!(sessions.ended(key(1, 7), start + seconds(3)), Some(seconds(3)));
    }

    #[test]
    fn an_idle_session_lasted_until_it_was_last_heard_of() {
        let (sessions, start) = (Sessions::new(10, IDLE), Instant::now());
        sessions.opened(key(1, 1), start);
        sessions.opened(key(1, 2), start + seconds(1));
        sessions.touched(key(1, 1), start + seconds(50));
        assert_eq!(sessions.expire(start + seconds(100)), []);
        assert_eq!(sessions.expire(start + seconds(101)), [EndedSession { server: 1, duration: seconds(0) }]);
        assert_eq!(sessions.expire(start + seconds(150)), [EndedSession { server: 1, duration: seconds(50) }]);
        assert_eq!(sessions.count(1), 0);
    }

    #[test]
    fn the_one_idle_longest_is_forgotten() {
        let (sessions, start) = (Sessions::new(2, IDLE), Instant::now());
        sessions.opened(key(1, 1), start);
        sessions.opened(key(2, 2), start);
        sessions.touched(key(1, 1), start + seconds(1));
        let forgotten = Some(EndedSession { server: 2, duration: seconds(0) });
        assert_eq!(sessions.opened(key(1, 3), start + seconds(2)), Opening::New { forgotten });
        assert_eq!((sessions.count(1), sessions.count(2)), (2, 0));
        sessions.set_bounds(1, IDLE);
        assert_eq!(sessions.expire(start + seconds(3)), [EndedSession { server: 1, duration: seconds(1) }]);
        assert_eq!(sessions.count(1), 1);
    }

    /// The same table without any cleverness: `(key, opened, heard)`, the one heard of last at the end.
    #[derive(Default)]
    struct Plain(Vec<(SessionKey, Instant, Instant)>);

    impl Plain {
        fn take(&mut self, key: SessionKey) -> Option<(SessionKey, Instant, Instant)> {
            let at = self.0.iter().position(|(known, ..)| *known == key)?;
            Some(self.0.remove(at))
        }

        fn touch(&mut self, key: SessionKey, now: Instant) -> bool {
            let Some((_, opened, _)) = self.take(key) else { return false };
            self.0.push((key, opened, now));
            true
        }

        fn forget_oldest(&mut self) -> EndedSession {
            let (key, opened, heard) = self.0.remove(0);
            EndedSession { server: key.server, duration: heard - opened }
        }
    }

    proptest! {
        #[test]
        fn it_does_what_a_plain_list_does(steps in prop::collection::vec((0u8..4, 0usize..3, 0u64..6, 0u64..40), 0..200), capacity in 1usize..8) {
            let (sessions, mut plain, mut now) = (Sessions::new(capacity, IDLE), Plain::default(), Instant::now());
            for (action, server, hash, wait) in steps {
                now += seconds(wait);
                let key = key(server, hash);
                match action {
                    0 => {
                        let mut expected = Opening::Known;
                        if !plain.touch(key, now) {
                            expected = Opening::New { forgotten: (plain.0.len() >= capacity).then(|| plain.forget_oldest()) };
                            plain.0.push((key, now, now));
                        }
                        prop_assert_eq!(sessions.opened(key, now), expected);
                    }
                    1 => {
                        plain.touch(key, now);
                        sessions.touched(key, now);
                    }
                    2 => prop_assert_eq!(sessions.ended(key, now), plain.take(key).map(|(_, opened, _)| now - opened)),
                    _ => {
                        let mut expected = Vec::new();
                        while plain.0.first().is_some_and(|(.., heard)| now - *heard >= IDLE) {
                            expected.push(plain.forget_oldest());
                        }
                        prop_assert_eq!(sessions.expire(now), expected);
                    }
                }
                for server in 0..3 {
                    prop_assert_eq!(sessions.count(server), plain.0.iter().filter(|(key, ..)| key.server == server).count());
                }
            }
        }
    }
}
