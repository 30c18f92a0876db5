//! Whether connections to an endpoint are used again. Not for a while after one broke under a request before a byte of its answer: servers do that
//! which close connections unannounced, and the request that meets it is lost, since it must not be sent twice.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The first pause. Each further one is twice as long, where it follows within ten times the length of the one before.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(320);
const SOON: u32 = 10;

/// Of one endpoint. Costs a relaxed load as long as nothing broke.
pub(crate) struct Reuse {
    epoch: Instant,
    /// Nanoseconds since `epoch` until which every request has a fresh connection; 0 for never.
    paused_until: AtomicU64,
    /// The length of the last pause. Held while one begins.
    last: Mutex<Duration>,
}

impl Reuse {
    /// Allowed.
    pub(crate) fn new(now: Instant) -> Self {
        Self { epoch: now, paused_until: AtomicU64::new(0), last: Mutex::new(Duration::ZERO) }
    }

    /// Whether it is allowed. `now` is asked for only where that matters.
    pub(crate) fn is_allowed(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.paused_until.load(Relaxed);
        until == 0 || self.nanos(now()) >= until
    }

    /// A connection that was used again broke. Says how long the pause is that this begins; `None` where there is one: many connections break at once
    /// when a server goes.
    pub(crate) fn note_broken(&self, now: Instant) -> Option<Duration> {
        let mut last = self.last.lock();
        let (now, until) = (self.nanos(now), self.paused_until.load(Relaxed));
        if now < until {
            return None;
        }
        let is_soon = Duration::from_nanos(now - until) < last.saturating_mul(SOON);
        *last = if is_soon { last.saturating_mul(2).min(LONGEST) } else { FIRST };
        self.paused_until.store(now.saturating_add(nanos(*last)), Relaxed);
        Some(*last)
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_it_goes_on_and_begin_anew_after_a_good_while() {
        let start = Instant::now();
        let reuse = Reuse::new(start);
        let at = |second| start + Duration::from_secs(second);
        let allowed = |second, expected| assert_eq!(reuse.is_allowed(|| at(second)), expected, "at {second} s");
        let broken =
            |second, pause: Option<u64>| assert_eq!(reuse.note_broken(at(second)), pause.map(Duration::from_secs), "at {second} s");
        allowed(0, true);
        broken(1, Some(10));
        broken(1, None);
        allowed(10, false);
        broken(10, None);
        allowed(11, true);
        broken(12, Some(20));
        allowed(31, false);
        allowed(32, true);
        // Ten times the last one has gone well.
        broken(232, Some(10));
        let mut second = 242;
        for pause in [20, 40, 80, 160, 320, 320] {
            broken(second, Some(pause));
            second += pause;
        }
        allowed(second - 1, false);
        allowed(second, true);
    }
}
