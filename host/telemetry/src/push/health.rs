//! Says when export begins to fail and when it works again: one line for each change, whatever the number of batches.

use std::time::Instant;

use super::error::DeliveryError;
use super::pusher::Accepted;

/// How many deliveries in a row without trouble end it: what comes and goes is not said each time.
const CALM: u32 = 10;

/// What has been said so far about one way out.
pub(super) struct Health {
    signal: &'static str,
    endpoint: String,
    failing: Option<Failing>,
    rejecting: Trouble,
    overflowing: Trouble,
    /// What producers had lost to a full queue when that was last looked at.
    overflowed: u64,
}

/// Something that goes wrong in some deliveries.
#[derive(Default)]
struct Trouble {
    /// While it does: how many deliveries it has not.
    calm: Option<u32>,
}

#[derive(PartialEq, Eq)]
enum Change {
    None,
    Began,
    Ended,
}

impl Trouble {
    fn note(&mut self, wrong: bool) -> Change {
        let (calm, change) = match (self.calm, wrong) {
            (None, false) => (None, Change::None),
            (None, true) => (Some(0), Change::Began),
            (Some(_), true) => (Some(0), Change::None),
            (Some(calm), false) if calm >= CALM => (None, Change::Ended),
            (Some(calm), false) => (Some(calm + 1), Change::None),
        };
        self.calm = calm;
        change
    }
}

struct Failing {
    since: Instant,
    lost: u64,
}

impl Health {
    pub fn new(signal: &'static str, endpoint: String) -> Self {
        Self { signal, endpoint, failing: None, rejecting: Trouble::default(), overflowing: Trouble::default(), overflowed: 0 }
    }

    /// A batch did not get through.
    pub fn failed(&mut self, error: &DeliveryError) {
        let Self { signal, endpoint, .. } = self;
        if self.failing.is_none() {
            tracing::warn!(
                signal, endpoint, %error,
                "telemetry cannot be exported; traffic goes on, what the queue cannot hold is dropped and counted"
            );
            self.failing = Some(Failing { since: Instant::now(), lost: 0 });
        } else {
            tracing::debug!(signal, endpoint, %error, "telemetry still cannot be exported");
        }
    }

    /// Records were given up after they failed.
    pub fn lost(&mut self, count: u64) {
        if let Some(failing) = &mut self.failing {
            failing.lost += count;
        }
    }

    /// A batch got through, of which the collector rejected a part; so many records have been lost to a full queue, ever.
    pub fn succeeded(&mut self, accepted: &Accepted, overflowed: u64) {
        let Self { signal, endpoint, .. } = self;
        if let Some(failing) = self.failing.take() {
            // That the queue overflowed is no news where nothing got out of it.
            self.overflowed = overflowed;
            let seconds = failing.since.elapsed().as_secs();
            tracing::info!(signal, endpoint, seconds, lost = failing.lost, "telemetry is exported again");
        }
        match self.rejecting.note(accepted.rejected > 0) {
            Change::Began => {
                let (rejected, said) = (accepted.rejected, accepted.said.chars().take(200).collect::<String>());
                tracing::warn!(signal, endpoint, rejected, said, "the collector rejects a part of the telemetry; it is counted");
            }
            Change::Ended => tracing::info!(signal, endpoint, "the collector rejects no more telemetry"),
            Change::None => {}
        }
        let lost = overflowed - std::mem::replace(&mut self.overflowed, overflowed);
        match self.overflowing.note(lost > 0) {
            Change::Began => tracing::warn!(
                signal,
                endpoint,
                lost,
                "telemetry comes faster than it can be exported; what the queue cannot hold is dropped and counted"
            ),
            Change::Ended => tracing::info!(signal, endpoint, "the queue of telemetry no longer overflows"),
            Change::None => {}
        }
    }
}
