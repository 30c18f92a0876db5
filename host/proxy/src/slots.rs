//! How many exchanges, event streams and connections may be there at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::rate::client_network;

/// Clients whose places are counted at once. Those beyond are let in uncounted: each holds a connection, which has a bound of its own.
const CLIENTS: usize = 100_000;

/// The exchanges of one server at once. Nobody waits: there is a place or there is not.
pub(crate) struct Concurrency {
    /// `None` without a limit: then nothing is counted.
    places: Option<Arc<Places>>,
}

struct Places {
    limit: u32,
    taken: AtomicU32,
}

/// One place, given back on drop.
#[must_use]
pub(crate) struct Slot(Option<Arc<Places>>);

/// What each client may have so many of at once: event streams of one server, or connections.
pub(crate) struct PerClient {
    /// `None` without a limit: then nothing is counted.
    clients: Option<Arc<Clients>>,
}

struct Clients {
    limit: u32,
    bound: usize,
    /// Only clients with a place.
    taken: Mutex<HashMap<IpAddr, u32>>,
}

/// One place of a client, given back on drop.
#[must_use]
pub(crate) struct ClientPlace(Option<(Arc<Clients>, IpAddr)>);

impl Concurrency {
    /// All places free. `None` is no limit.
    pub(crate) fn new(limit: Option<u32>) -> Self {
        Self { places: limit.map(|limit| Arc::new(Places { limit, taken: AtomicU32::new(0) })) }
    }

    /// A place; `None` when all are taken.
    pub(crate) fn try_take(&self) -> Option<Slot> {
        let Some(places) = &self.places else { return Some(Slot(None)) };
        places.taken.fetch_update(Relaxed, Relaxed, |taken| (taken < places.limit).then(|| taken + 1)).ok()?;
        Some(Slot(Some(places.clone())))
    }

    /// Whether all are taken now.
    pub(crate) fn is_full(&self) -> bool {
        self.places.as_ref().is_some_and(|places| places.taken.load(Relaxed) >= places.limit)
    }

    /// Places taken; 0 without a limit.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> u32 {
        self.places.as_ref().map_or(0, |places| places.taken.load(Relaxed))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(places) = &self.0 {
            places.taken.fetch_sub(1, Relaxed);
        }
    }
}

impl PerClient {
    /// All places free. `None` is no limit.
    pub(crate) fn new(limit: Option<u32>) -> Self {
        Self::bounded(limit, CLIENTS)
    }

    fn bounded(limit: Option<u32>, bound: usize) -> Self {
        Self { clients: limit.map(|limit| Arc::new(Clients { limit, bound, taken: Mutex::default() })) }
    }

    /// A place for this client; `None` when it has as many as it may. Addresses that share an IPv6 network of 64 bits are one client.
    pub(crate) fn try_take(&self, client: IpAddr) -> Option<ClientPlace> {
        let Some(clients) = &self.clients else { return Some(ClientPlace(None)) };
        let client = client_network(client);
        let mut taken = clients.taken.lock();
        let known = taken.len();
        match taken.entry(client) {
            Entry::Occupied(mut count) if *count.get() < clients.limit => *count.get_mut() += 1,
            Entry::Occupied(_) => return None,
            Entry::Vacant(_) if clients.limit == 0 => return None,
            Entry::Vacant(_) if known >= clients.bound => return Some(ClientPlace(None)),
            Entry::Vacant(count) => _ = count.insert(1),
        }
        Some(ClientPlace(Some((clients.clone(), client))))
    }

    /// Clients with a place that is counted.
    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.clients.as_ref().map_or(0, |clients| clients.taken.lock().len())
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let Some((clients, client)) = &self.0 else { return };
        if let Entry::Occupied(mut count) = clients.taken.lock().entry(*client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_send<T: Send>(_: &T) {}

    #[test]
    fn a_place_is_free_again_when_its_slot_is_gone() {
        let concurrency = Concurrency::new(Some(2));
        let first = concurrency.try_take().unwrap();
        let second = concurrency.try_take().unwrap();
        is_send(&first);
        assert!(concurrency.try_take().is_none());
        assert_eq!(concurrency.taken(), 2);
        drop(first);
        let third = concurrency.try_take().unwrap();
        assert!(concurrency.try_take().is_none());
        drop((second, third));
        assert_eq!(concurrency.taken(), 0);
    }

    #[test]
    fn no_limit_counts_nothing_and_a_limit_of_none_at_all_refuses() {
        let concurrency = Concurrency::new(None);
        let slots: Vec<_> = (0..1000).map(|_| concurrency.try_take().unwrap()).collect();
        assert_eq!((slots.len(), concurrency.taken()), (1000, 0));
        assert!(Concurrency::new(Some(0)).try_take().is_none());

        let streams = PerClient::new(None);
        let taken: Vec<_> = (0..1000).map(|_| streams.try_take(address("10.0.0.1")).unwrap()).collect();
        assert_eq!((taken.len(), streams.clients()), (1000, 0));
        assert!(PerClient::new(Some(0)).try_take(address("10.0.0.1")).is_none());
    }

    #[test]
    fn each_client_has_its_own_streams() {
        let streams = PerClient::new(Some(2));
        let mine = [streams.try_take(address("10.0.0.1")).unwrap(), streams.try_take(address("::ffff:10.0.0.1")).unwrap()];
        is_send(&mine);
        assert!(streams.try_take(address("10.0.0.1")).is_none());
        let yours = [streams.try_take(address("2001:db8:1:2::1")).unwrap(), streams.try_take(address("2001:db8:1:2:ff::9")).unwrap()];
        assert!(streams.try_take(address("2001:db8:1:2::3")).is_none());
        let theirs = streams.try_take(address("2001:db8:1:3::1")).unwrap();
        assert_eq!(streams.clients(), 3);
        drop(mine);
        assert_eq!(streams.clients(), 2);
        assert!(streams.try_take(address("10.0.0.1")).is_some());
        drop((yours, theirs));
        assert_eq!(streams.clients(), 0);
    }

    #[test]
    fn more_clients_than_are_counted_are_let_in() {
        let streams = PerClient::bounded(Some(1), 2);
        let counted = [streams.try_take(address("10.0.0.1")).unwrap(), streams.try_take(address("10.0.0.2")).unwrap()];
        let uncounted = [streams.try_take(address("10.0.0.3")).unwrap(), streams.try_take(address("10.0.0.3")).unwrap()];
        assert!(streams.try_take(address("10.0.0.1")).is_none());
        assert_eq!(streams.clients(), 2);
        drop(uncounted);
        assert_eq!(streams.clients(), 2);
        drop(counted);
        assert_eq!(streams.clients(), 0);
    }

    #[test]
    fn threads_never_exceed_the_limit_and_leave_nothing_behind() {
        let (concurrency, streams) = (Concurrency::new(Some(3)), PerClient::new(Some(3)));
        let (busy, streaming) = (AtomicU32::new(0), AtomicU32::new(0));
        let enter = |inside: &AtomicU32| {
            assert!(inside.fetch_add(1, Relaxed) < 3, "over the limit");
            std::thread::yield_now();
            inside.fetch_sub(1, Relaxed);
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        if let Some(slot) = concurrency.try_take() {
                            enter(&busy);
                            drop(slot);
                        }
                        if let Some(stream) = streams.try_take(address("10.0.0.1")) {
                            enter(&streaming);
                            drop(stream);
                        }
                    }
                });
            }
        });
        assert_eq!((concurrency.taken(), streams.clients()), (0, 0));
    }
}
