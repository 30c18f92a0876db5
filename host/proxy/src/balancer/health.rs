//! What is known of one endpoint: exchanges under way, failures in a row, and since when it takes traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An endpoint has at least this part of its share, however new it is; in percent.
const LEAST_PERCENT: u128 = 10;

/// Ejections in a row that still make the next one longer.
const LONGEST: u32 = 10;

/// `since` of an endpoint that is out until a probe finds it up.
const PROBED_DOWN: u64 = u64::MAX;

/// Shared by all exchanges with the endpoint, and carried over when a configuration keeps it. Moments are nanoseconds since `epoch`.
pub(crate) struct EndpointHealth {
    epoch: Instant,
    outstanding: AtomicU32,
    failures_in_a_row: AtomicU32,
    /// The moment from which it takes traffic, and slow start counts from. In the future, it is ejected.
    since: AtomicU64,
    /// The end of the last ejection for failures; a probe that finds it up does not shorten that.
    failed_until: AtomicU64,
    times_ejected: AtomicU32,
}

/// One exchange with an endpoint, counted until it is dropped.
#[must_use]
pub(crate) struct Outstanding(Arc<EndpointHealth>);

impl EndpointHealth {
    /// New, and at the beginning of its slow start.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            outstanding: AtomicU32::new(0),
            failures_in_a_row: AtomicU32::new(0),
            since: AtomicU64::new(0),
            failed_until: AtomicU64::new(0),
            times_ejected: AtomicU32::new(0),
        }
    }

    /// Counts an exchange until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Outstanding {
        self.outstanding.fetch_add(1, Relaxed);
        Outstanding(self.clone())
    }

    /// Exchanges under way.
    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding.load(Relaxed)
    }

    /// Whether it is passed over.
    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        self.since.load(Relaxed) > self.nanos(now)
    }

    /// Whether it is out because of a probe.
    pub(super) fn is_probed_down(&self) -> bool {
        self.since.load(Relaxed) == PROBED_DOWN
    }

    /// Its part of a full share of the traffic, from 10 to 100 percent.
    pub(super) fn percent(&self, slow_start: Duration, now: Instant) -> usize {
        let gone = u128::from(self.nanos(now).saturating_sub(self.since.load(Relaxed)));
        let percent = (gone * 100).checked_div(slow_start.as_nanos()).unwrap_or(100);
        percent.clamp(LEAST_PERCENT, 100) as usize
    }

    pub(super) fn note_success(&self) {
        if self.failures_in_a_row.load(Relaxed) != 0 {
            self.failures_in_a_row.store(0, Relaxed);
        }
    }

    /// Failures in a row, with this one.
    pub(super) fn note_failure(&self) -> u32 {
        self.failures_in_a_row.fetch_add(1, Relaxed).saturating_add(1)
    }

    /// Passes it over for once, twice, up to ten times `base`. One that has been in for ten times `base` since begins anew.
    pub(super) fn eject(&self, base: Duration, now: Instant) -> Duration {
        let in_for = Duration::from_nanos(self.nanos(now).saturating_sub(self.since.load(Relaxed)));
        let before = if in_for >= base.saturating_mul(LONGEST) { 0 } else { self.times_ejected.load(Relaxed) };
        let times = (before + 1).min(LONGEST);
        let duration = base.saturating_mul(times);
        // Below the mark of a probe, which would never let it back.
        let until = self.nanos(now).saturating_add(nanos(duration)).min(PROBED_DOWN - 1);
        self.times_ejected.store(times, Relaxed);
        self.failed_until.store(until, Relaxed);
        self.since.store(until, Relaxed);
        self.failures_in_a_row.store(0, Relaxed);
        duration
    }

    pub(super) fn note_probe(&self, up: bool, now: Instant) {
        let since = if up { self.nanos(now).max(self.failed_until.load(Relaxed)) } else { PROBED_DOWN };
        self.since.store(since, Relaxed);
    }

    /// Ends an ejection, whatever its reason.
    pub(super) fn let_back(&self, now: Instant) {
        self.failed_until.store(0, Relaxed);
        self.since.store(self.nanos(now), Relaxed);
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
