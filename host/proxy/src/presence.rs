//! Which client connections are there, and which of them goes first when others wait for a place: the oldest on which nothing goes on, and nothing was
//! asked for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Every open connection, by its age.
#[derive(Debug, Default)]
pub(crate) struct Presences {
    roll: Mutex<Roll>,
}

#[derive(Debug, Default)]
struct Roll {
    next: u64,
    open: BTreeMap<u64, Arc<Presence>>,
}

/// What is known of one connection.
#[derive(Debug)]
pub(crate) struct Presence {
    /// Exchanges under way.
    busy: AtomicUsize,
    /// One has begun or ended since somebody last looked.
    is_used: AtomicBool,
    is_told: AtomicBool,
    told: Notify,
}

/// An exchange that goes on.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Presence>);

/// A connection that is there until this is dropped.
pub(crate) struct Present {
    presences: Arc<Presences>,
    number: u64,
    pub(crate) presence: Arc<Presence>,
}

impl Presences {
    /// A connection has come.
    pub(crate) fn enter(self: &Arc<Self>) -> Present {
        // Who has only just come gets the time to ask.
        let presence =
            Presence { busy: AtomicUsize::new(0), is_used: AtomicBool::new(true), is_told: AtomicBool::new(false), told: Notify::new() };
        let presence = Arc::new(presence);
        let mut roll = self.roll.lock();
        let number = roll.next;
        roll.next += 1;
        roll.open.insert(number, presence.clone());
        Present { presences: self.clone(), number, presence }
    }

    /// Tells a connection to end on which nothing goes on and nothing did since this was last called; `false` when there is none. Each call looks at all of
    /// them in order of age, up to the one it tells.
    pub(crate) fn end_one(&self) -> bool {
        let roll = self.roll.lock();
        let is_idle =
            |presence: &&Arc<Presence>| presence.busy() == 0 && !presence.is_told.load(Relaxed) && !presence.is_used.swap(false, Relaxed);
        let idle = roll.open.values().find(is_idle);
        if let Some(presence) = idle {
            presence.is_told.store(true, Relaxed);
            presence.told.notify_one();
        }
        idle.is_some()
    }
}

impl Presence {
    /// Something is asked on the connection, and goes on until the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Relaxed);
        self.is_used.store(true, Relaxed);
        Busy(self.clone())
    }

    /// How many exchanges are under way.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }

    /// Resolves when the connection is to end, as soon as it can without breaking anything off. Once.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_used.store(true, Relaxed);
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.presences.roll.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[track_caller]
    fn check_told(presences: &[&Present], expected: &[bool]) {
        let told: Vec<bool> = presences.iter().map(|present| present.presence.told().now_or_never().is_some()).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn the_oldest_that_asks_nothing_is_told_and_only_once() {
        let presences = Arc::<Presences>::default();
        let [first, second, third] = [(); 3].map(|()| presences.enter());
        assert!(!presences.end_one(), "all have only just come");
        drop(second.presence.begin());
        assert!(presences.end_one());
        check_told(&[&first, &second, &third], &[true, false, false]);
        drop(second.presence.begin());
        assert!(presences.end_one());
        check_told(&[&first, &second, &third], &[false, false, true]);
        assert!(presences.end_one());
        check_told(&[&second], &[true]);
        assert!(!presences.end_one());
        drop((first, second, third));
        assert!(presences.roll.lock().open.is_empty());
    }

    #[test]
    fn one_on_which_something_goes_on_is_not_told_however_long_it_takes() {
        let presences = Arc::<Presences>::default();
        let [streaming, idle] = [(); 2].map(|()| presences.enter());
        let stream = streaming.presence.begin();
        assert!(!presences.end_one(), "all have only just come");
        assert!(presences.end_one());
        check_told(&[&streaming, &idle], &[false, true]);
        assert_eq!([presences.end_one(), presences.end_one()], [false, false]);
        drop(stream);
        assert_eq!([presences.end_one(), presences.end_one()], [false, true], "its stream has only just ended");
        check_told(&[&streaming], &[true]);
    }
}
