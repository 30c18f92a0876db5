//! How many bytes of messages are held whole at once: for all clients together, and for each of them.
//!
//! A body is gathered under a cap of its own; this is the bound on all of them, since clients may begin as many as they like. What is small is not
//! counted: it is bounded by the connections, and a call of the usual size must not cost a lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use watchgate_telemetry::ProcessBounds;

use crate::rate::client_network;

/// Bytes that one message may hold uncounted.
const UNCOUNTED: usize = 64 << 10;

/// One client may hold this part of everything, so that it takes several to shut out the others.
const SHARE: usize = 4;

/// Bytes held by the whole process.
pub(crate) struct HeldBytes {
    inner: Mutex<Inner>,
    bounds: ProcessBounds,
}

struct Inner {
    limit: usize,
    held: usize,
    /// Only clients that hold something that is counted. Each has at least 64 KiB, so the limit bounds their number too.
    clients: HashMap<IpAddr, usize>,
}

/// There is no room for the message beside those that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// What one message holds; given back on drop. `default()` holds nothing.
#[derive(Default)]
pub(crate) struct Reservation {
    /// Where there is something to give back.
    counted: Option<Counted>,
}

struct Counted {
    held: Arc<HeldBytes>,
    client: IpAddr,
    bytes: usize,
}

impl HeldBytes {
    /// At most `limit` bytes, as for [`HeldBytes::set_limit`].
    pub(crate) fn new(limit: usize, bounds: ProcessBounds) -> Self {
        bounds.holding(0);
        Self { inner: Mutex::new(Inner { limit, held: 0, clients: HashMap::new() }), bounds }
    }

    /// At most this many from now on; what is held stays. A message that is alone is let in whatever its size: it has a cap of its own.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.inner.lock().limit = limit;
    }

    /// A message of this client that held `before` bytes holds `after`.
    fn change(&self, client: IpAddr, before: usize, after: usize) -> Result<(), NoRoom> {
        let mut inner = self.inner.lock();
        let Inner { limit, held, clients } = &mut *inner;
        let (others, others_of_client) = (*held - before, clients.get(&client).map_or(0, |bytes| bytes - before));
        let is_alone = |others: usize| others == 0;
        let fits = (is_alone(others) || others.saturating_add(after) <= *limit)
            && (is_alone(others_of_client) || others_of_client.saturating_add(after) <= *limit / SHARE);
        if after > before && !fits {
            return Err(NoRoom);
        }
        *held = others + after;
        self.bounds.holding(*held);
        match others_of_client + after {
            0 => drop(clients.remove(&client)),
            bytes => drop(clients.insert(client, bytes)),
        }
        Ok(())
    }

    #[cfg(test)]
    fn held(&self) -> (usize, usize) {
        let inner = self.inner.lock();
        (inner.held, inner.clients.len())
    }
}

impl Reservation {
    /// The message is about to have this many bytes. They are taken in steps of twice as many, as buffers grow.
    ///
    /// # Errors
    /// When there is no room for them; what was reserved stays.
    pub(crate) fn grow(&mut self, held: &Arc<HeldBytes>, client: IpAddr, bytes: usize) -> Result<(), NoRoom> {
        if bytes <= self.counted.as_ref().map_or(UNCOUNTED, |counted| counted.bytes) {
            return Ok(());
        }
        let wanted = bytes.checked_next_power_of_two().unwrap_or(bytes);
        match &mut self.counted {
            Some(counted) => {
                counted.held.change(counted.client, counted.bytes, wanted)?;
                counted.bytes = wanted;
            }
            None => {
                let client = client_network(client);
                held.change(client, 0, wanted)?;
                self.counted = Some(Counted { held: held.clone(), client, bytes: wanted });
            }
        }
        Ok(())
    }

    /// The message is over, or so much of it that what is left does not count.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if bytes <= UNCOUNTED {
            self.counted = None;
        }
    }

    /// The message, which holds what was reserved for it until the last copy of it is gone.
    pub(crate) fn bind(self, message: Bytes) -> Bytes {
        if self.counted.is_none() { message } else { Bytes::from_owner(Bound { message, _reservation: self }) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Less always fits.
        let _ = self.held.change(self.client, self.bytes, 0);
    }
}

struct Bound {
    message: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Bound {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    use watchgate_telemetry::{Telemetry, TelemetryConfig};

    use super::*;

    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;

    fn held(limit: usize) -> (Arc<HeldBytes>, Arc<Telemetry>) {
        let telemetry = Telemetry::new(TelemetryConfig::default()).unwrap();
        (Arc::new(HeldBytes::new(limit, telemetry.process_bounds())), telemetry)
    }

    fn client(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[track_caller]
    fn reserve(of: &Arc<HeldBytes>, by: u8, bytes: usize) -> Reservation {
        let mut reservation = Reservation::default();
        assert_eq!(reservation.grow(of, client(by), bytes), Ok(()), "{bytes} bytes of {by}");
        reservation
    }

    #[track_caller]
    fn check_no_room(of: &Arc<HeldBytes>, by: u8, bytes: usize) {
        let before = of.held();
        assert_eq!(Reservation::default().grow(of, client(by), bytes), Err(NoRoom), "{bytes} bytes of {by}");
        assert_eq!(of.held(), before);
    }

    #[test]
    fn small_messages_are_not_counted() {
        let (held, _) = held(MIB);
        let many: Vec<Reservation> = (0..1000).map(|_| reserve(&held, 1, 64 * KIB)).collect();
        assert_eq!((many.len(), held.held()), (1000, (0, 0)));
    }

    #[test]
    fn one_client_gets_a_quarter_and_all_together_no_more_than_there_is() {
        let (held, telemetry) = held(4 * MIB);
        let mut one = vec![reserve(&held, 1, MIB / 2), reserve(&held, 1, MIB / 2)];
        check_no_room(&held, 1, 65 * KIB);
        let others: Vec<Reservation> = (2..5).map(|other| reserve(&held, other, MIB)).collect();
        check_no_room(&held, 5, 65 * KIB);
        assert_eq!(held.held(), (4 * MIB, 4));
        assert!(telemetry.render_prometheus().contains("watchgate_held_bytes 4194304"));
        one.pop();
        let five = reserve(&held, 5, MIB / 2);
        check_no_room(&held, 5, 65 * KIB);
        drop((one, others, five));
        assert_eq!(held.held(), (0, 0));
    }

    #[test]
    fn a_message_grows_in_steps_and_what_is_refused_leaves_it_as_it_was() {
        let (held, _) = held(4 * MIB);
        let _other = reserve(&held, 2, 2 * MIB);
        let mut growing = Reservation::default();
        for (bytes, expected) in [(64 * KIB, 0), (64 * KIB + 1, 128 * KIB), (128 * KIB, 128 * KIB), (700 * KIB, MIB), (2 * MIB, 2 * MIB)] {
            assert_eq!(growing.grow(&held, client(1), bytes), Ok(()));
            assert_eq!(held.held().0, 2 * MIB + expected, "{bytes}");
        }
        assert_eq!(growing.grow(&held, client(1), 2 * MIB + 1), Err(NoRoom));
        assert_eq!(held.held().0, 4 * MIB);
        growing.shrink(64 * KIB + 1);
        assert_eq!(held.held().0, 4 * MIB, "some of it is still there");
        growing.shrink(0);
        assert_eq!(held.held(), (2 * MIB, 1));
    }

    #[test]
    fn a_message_that_is_alone_passes_whatever_its_size() {
        let (held, _) = held(MIB);
        let large = reserve(&held, 1, 16 * MIB);
        check_no_room(&held, 2, 65 * KIB);
        drop(large);
        held.set_limit(32 * MIB);
        let _other = reserve(&held, 2, 16 * MIB);
        let _large = reserve(&held, 1, 16 * MIB);
    }

    #[test]
    fn what_is_bound_is_held_until_its_last_slice_is_gone() {
        let (held, _) = held(MIB);
        let bound = reserve(&held, 1, 100 * KIB).bind(Bytes::from(vec![7; 100 * KIB]));
        let slice = bound.slice(1..3);
        drop(bound);
        assert_eq!((held.held(), &slice[..]), ((128 * KIB, 1), &[7, 7][..]));
        drop(slice);
        assert_eq!(held.held(), (0, 0));
    }
}
