//! Rate limits: one token bucket for each client.
//!
//! Not `governor`: its keyed limiter has no bound on the number of keys (forgetting is a scan of all that somebody must start), reads
//! its own clock and keeps the keys themselves. Here a bucket is 16 bytes, and what a client sends is only ever hashed.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::server_config::RateLimit;

/// Clients that are remembered at once. At 17 to 34 bytes each, 3 MB.
const CLIENTS: usize = 100_000;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;

/// What a request is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RateSubject<'a> {
    /// The client's address; of an IPv6 address the first 64 bits, which is what one subscriber has.
    Address(IpAddr),
    /// A header's value, a session id, or the name of a client.
    Value(&'a [u8]),
}

/// The buckets of one server's clients, by GCRA: of each bucket only the moment is kept at which it will be full again.
pub(crate) struct RateLimiter {
    epoch: Instant,
    /// Nanoseconds in which one token comes.
    interval: u64,
    /// How far ahead of now, in nanoseconds, a bucket may be full and still give a token.
    tolerance: u64,
    /// Random for each process, so that nobody can choose values that collide.
    hashing: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    /// By the hash of the client: when the bucket is full, in nanoseconds since the epoch.
    full_at: HashMap<u64, u64, BuildHasherDefault<Hashed>>,
    capacity: usize,
}

/// Passes on what is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl RateLimiter {
    /// Every bucket is full.
    pub(crate) fn new(limit: &RateLimit, now: Instant) -> Self {
        Self::bounded(limit, now, CLIENTS)
    }

    fn bounded(limit: &RateLimit, now: Instant, clients: usize) -> Self {
        let interval = (1e9 / limit.per_second).round().max(1.0) as u64;
        let capacity = (clients / SHARDS).max(1);
        Self {
            epoch: now,
            interval,
            tolerance: interval.saturating_mul(u64::from(limit.burst.max(1) - 1)),
            hashing: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(Shard { full_at: HashMap::default(), capacity })),
        }
    }

    /// Takes so many tokens, or none.
    ///
    /// # Errors
    /// When there are not as many: how long until there are. There never are more than the burst.
    pub(crate) fn check(&self, subject: RateSubject<'_>, tokens: u32, now: Instant) -> Result<(), Duration> {
        let client = match subject {
            RateSubject::Address(address) => self.hashing.hash_one((0_u8, client_network(address))),
            RateSubject::Value(value) => self.hashing.hash_one((1_u8, value)),
        };
        let now = u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
        // The table places its entries by the lowest and the highest bits.
        let mut shard = self.shards[(client >> 32) as usize % SHARDS].lock();
        let full_at = shard.full_at.get(&client).map_or(now, |full_at| now.max(*full_at));
        let last = self.interval.saturating_mul(u64::from(tokens.max(1) - 1));
        let wait = (full_at - now).saturating_add(last).saturating_sub(self.tolerance);
        if wait > 0 {
            return Err(Duration::from_nanos(wait));
        }
        shard.insert(client, full_at.saturating_add(last).saturating_add(self.interval));
        Ok(())
    }

    /// Clients that are remembered.
    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().full_at.len()).sum()
    }
}

impl Shard {
    fn insert(&mut self, client: u64, full_at: u64) {
        if self.full_at.len() >= self.capacity && !self.full_at.contains_key(&client) {
            self.make_room();
        }
        self.full_at.insert(client, full_at);
    }

    /// Drops an eighth of the buckets: those that have been full for longest, which changes nothing for their clients, and then those nearest
    /// to it. So a flood of new clients pays for a scan only once in a while, and the heaviest users are forgotten last.
    fn make_room(&mut self) {
        let surplus = self.capacity.div_ceil(8);
        let mut order: Vec<u64> = self.full_at.values().copied().collect();
        let (_, last_to_go, _) = order.select_nth_unstable(surplus - 1);
        let last_to_go = *last_to_go;
        let mut left = surplus;
        self.full_at.retain(|_, full_at| {
            let goes = *full_at <= last_to_go && left > 0;
            left -= usize::from(goes);
            !goes
        });
    }
}

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `u64` keys are used; this keeps the trait's promise for any other.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What counts as one client: an IPv4 address, however it is written, or an IPv6 network of 64 bits.
pub(crate) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !0 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_config::RateKey;
    use proptest::{collection::vec, prop_oneof, proptest, strategy::Just};
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    fn limit(per_second: f64, burst: u32) -> RateLimit {
        RateLimit { per_second, burst, by: RateKey::Address }
    }

    fn limiter(per_second: f64, burst: u32) -> (RateLimiter, Instant) {
        let now = Instant::now();
        (RateLimiter::new(&limit(per_second, burst), now), now)
    }

    fn address(text: &str) -> RateSubject<'static> {
        RateSubject::Address(text.parse().unwrap())
    }

    const ANN: RateSubject<'static> = RateSubject::Value(b"ann");

    #[track_caller]
    fn check(limiter: &RateLimiter, subject: RateSubject<'_>, now: Instant, passing: u32, wait: Duration) {
        for number in 0..passing {
            assert_eq!(limiter.check(subject, 1, now), Ok(()), "request {number}");
        }
        assert_eq!(limiter.check(subject, 1, now), Err(wait));
    }

    #[test]
    fn a_burst_and_then_one_for_each_interval() {
        let (limiter, start) = limiter(2.0, 5);
        let half = Duration::from_millis(500);
        check(&limiter, ANN, start, 5, half);
        check(&limiter, ANN, start + half / 2, 0, half / 2);
        check(&limiter, ANN, start + half, 1, half);
        check(&limiter, ANN, start + half * 4, 3, half);
        check(&limiter, ANN, start + half * 1000, 5, half);
    }

    #[test]
    fn several_at_once_are_taken_all_or_not_at_all() {
        let (limiter, start) = limiter(2.0, 5);
        let half = Duration::from_millis(500);
        assert_eq!(limiter.check(ANN, 3, start), Ok(()));
        assert_eq!(limiter.check(ANN, 3, start), Err(half), "two are left");
        check(&limiter, ANN, start, 2, half);
        // More than the burst never are there.
        assert_eq!(limiter.check(ANN, 6, start + half * 1000), Err(half));
        assert_eq!(limiter.check(ANN, u32::MAX, start + half * 1000), Err(half * (u32::MAX - 5)));
        check(&limiter, ANN, start + half * 1000, 5, half);
    }

    #[test]
    fn less_than_one_a_second_and_more_than_a_thousand_million() {
        let (slow, start) = limiter(1.0 / 60.0, 1);
        check(&slow, ANN, start, 1, Duration::from_secs(60));
        check(&slow, ANN, start + Duration::from_secs(60), 1, Duration::from_secs(60));
        let (fast, start) = limiter(1e300, 1);
        check(&fast, ANN, start, 1, Duration::from_nanos(1));
        for never in [f64::MIN_POSITIVE, 1e-12] {
            let (never, start) = limiter(never, u32::MAX);
            assert_eq!(never.check(ANN, 1, start), Ok(()));
        }
    }

    #[test]
    fn clients_are_told_apart_by_address_network_or_value() {
        let (limiter, start) = limiter(1.0, 1);
        let second = Duration::from_secs(1);
        for (client, same) in [
            (address("10.0.0.1"), address("::ffff:10.0.0.1")),
            (address("10.0.0.2"), address("10.0.0.2")),
            (address("::ffff:10.0.0.3"), address("10.0.0.3")),
            (address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff:ffff:ffff:ffff")),
            (address("2001:db8:1:3::1"), address("2001:db8:1:3::")),
            (RateSubject::Value(b""), RateSubject::Value(b"")),
            (RateSubject::Value(&[10, 0, 0, 1]), RateSubject::Value(&[10, 0, 0, 1])),
            (ANN, ANN),
        ] {
            check(&limiter, client, start, 1, second);
            check(&limiter, same, start, 0, second);
        }
        assert_eq!(limiter.clients(), 8);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_full_buckets_first() {
        let start = Instant::now();
        let limiter = RateLimiter::bounded(&limit(1.0, 50), start, 1600);
        // The heavy user has spent its whole burst, everybody else one token; all of those are full again a second later.
        check(&limiter, ANN, start, 50, Duration::from_secs(1));
        for round in 0..20_000_u64 {
            let now = start + Duration::from_micros(round);
            limiter.check(RateSubject::Value(&round.to_le_bytes()), 1, now).unwrap();
            assert!(round % 100 != 0 || limiter.clients() <= 1600);
        }
        assert!(limiter.clients() > 1000, "{}", limiter.clients());
        check(&limiter, ANN, start, 0, Duration::from_secs(1));
        for round in 0..20_000_u64 {
            let now = start + Duration::from_secs(10) + Duration::from_micros(round);
            limiter.check(RateSubject::Value(&round.to_be_bytes()), 1, now).unwrap();
        }
        check(&limiter, ANN, start + Duration::from_secs(10), 10, Duration::from_secs(1));
    }

    #[test]
    fn all_buckets_alike_still_make_room() {
        let start = Instant::now();
        let mut shard = Shard { capacity: 100, ..Shard::default() };
        for client in 0..1000 {
            shard.insert(client, 7);
            assert!(shard.full_at.len() <= 100 && shard.full_at.contains_key(&client));
        }
        let smallest = RateLimiter::bounded(&limit(1.0, 1), start, 0);
        for client in 0..100_u8 {
            smallest.check(RateSubject::Value(&[client]), 1, start).unwrap();
        }
        assert!(smallest.clients() <= SHARDS);
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_than_burst_and_rate(
            gaps in vec(prop_oneof![Just(0_u64), 0..1_000_000_u64, 0..3_000_000_000_u64], 1..200),
            per_second in 0.05..2_000.0_f64,
            burst in 1_u32..20,
        ) {
            let (limiter, start) = limiter(per_second, burst);
            let mut now = start;
            let mut passed: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += Duration::from_nanos(gap);
                match limiter.check(ANN, 1, now) {
                    Ok(()) => passed.push(now),
                    Err(wait) => {
                        assert!(wait > Duration::ZERO);
                        assert!(limiter.check(ANN, 1, now + wait - Duration::from_nanos(1)).is_err());
                        // One who waits as told is let in.
                        now += wait;
                        assert_eq!(limiter.check(ANN, 1, now), Ok(()));
                        passed.push(now);
                    }
                }
            }
            for (index, first) in passed.iter().enumerate() {
                for (count, last) in passed[index..].iter().enumerate() {
                    let most = f64::from(burst) + (*last - *first).as_secs_f64() * per_second;
                    assert!((count + 1) as f64 <= most + 0.001, "{} in {:?}", count + 1, *last - *first);
                }
            }
        }
    }

    #[test]
    fn threads_together_get_what_one_would() {
        let (limiter, start) = limiter(1000.0, 10);
        let passed = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        passed.fetch_add(u32::from(limiter.check(ANN, 1, start).is_ok()), Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.load(Relaxed), 10);
    }
}
