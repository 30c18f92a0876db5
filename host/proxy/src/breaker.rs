//! Circuit breaker of one endpoint: which exchanges may go there, and what their ends say about it.

pub(crate) mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::breaker::window::{Counts, Window};
use crate::server_config::BreakerConfig;

/// How long the breaker is open at most, in relation to the configured time.
const LONGEST: u32 = 10;

/// A trial that takes longer than this, and longer than the breaker is open, does not keep others from being tried.
const SHORTEST_TRIAL: Duration = Duration::from_secs(1);

/// Closed, it costs an exchange one relaxed load on the way in and one relaxed update on the way out.
pub(crate) struct Breaker {
    config: BreakerConfig,
    epoch: Instant,
    /// The gate in the lowest bits, above it how often it has changed: so a verdict from before a change is known for what it is.
    /// Written only under the lock.
    word: AtomicU64,
    connect_failures: AtomicU32,
    window: Window,
    opened: Mutex<Opened>,
}

/// What matters while it is not closed.
#[derive(Default)]
struct Opened {
    /// Since `epoch`: when a trial may go out, or another one.
    until: Duration,
    /// In a row.
    failed_trials: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Closed,
    /// Half-open once `until` has passed.
    Open,
    Trial,
    ForcedOpen,
    ForcedClosed,
}

/// Whether one exchange may go to the endpoint. What was not refused must be noted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Admission {
    /// Go.
    Pass(Ticket),
    /// Go; whether others may follow hangs on it.
    Trial(Ticket),
    /// Leave it alone.
    Refused {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// Which spell of the breaker an admission belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// How an exchange ended, as far as the endpoint is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It did its work, whatever it answered.
    Ok,
    /// It did not.
    Failed,
    /// It could not be reached.
    ConnectFailed,
    /// Nobody waited for the end, so nothing is known.
    Abandoned,
    /// The same, after a wait that was long: a balancer may draw its conclusions, but a share of errors is one of answers.
    GivenUp,
    /// The connection had carried an exchange before, and was closed by the server just when this one began: nothing is known either.
    Stale,
}

/// What metrics and operators see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakerState {
    /// Everything passes.
    Closed,
    /// Nothing passes.
    Open,
    /// One exchange passes, on trial.
    HalfOpen,
}

impl BreakerState {
    /// The word for operators.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What an operator has decided by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forced {
    /// Nothing passes.
    Open,
    /// Everything passes.
    Closed,
    /// Nothing: it goes by what it sees.
    None,
}

/// An exchange that was let through. Dropped without a verdict, it was abandoned.
pub(crate) struct Admitted {
    breaker: Arc<Breaker>,
    admission: Admission,
}

impl Breaker {
    /// Closed.
    pub(crate) fn new(config: BreakerConfig, now: Instant) -> Self {
        Self {
            epoch: now,
            word: AtomicU64::new(0),
            connect_failures: AtomicU32::new(0),
            window: Window::new(config.window, now),
            opened: Mutex::default(),
            config,
        }
    }

    /// Whether an exchange may go out now. A trial takes the only place there is.
    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let word = self.word.load(Relaxed);
        match Gate::of(word) {
            Gate::Closed | Gate::ForcedClosed => Admission::Pass(Ticket(word)),
            Gate::ForcedOpen => Admission::Refused { retry_after: self.config.open },
            Gate::Open | Gate::Trial => self.admit_one(now),
        }
    }

    /// As `admit`, with the wait as the error and a guard that cannot forget the end.
    ///
    /// # Errors
    /// When it is refused: how long to stay away.
    pub(crate) fn enter(self: &Arc<Self>, now: Instant) -> Result<Admitted, Duration> {
        match self.admit(now) {
            Admission::Refused { retry_after } => Err(retry_after),
            admission => Ok(Admitted { breaker: self.clone(), admission }),
        }
    }

    /// Whether `admit` would let an exchange through. Takes no place.
    pub(crate) fn would_admit(&self, now: Instant) -> bool {
        match self.gate() {
            Gate::Closed | Gate::ForcedClosed => true,
            Gate::ForcedOpen => false,
            Gate::Open | Gate::Trial => self.has_waited(&self.opened.lock(), now),
        }
    }

    /// Takes in how an exchange ended. Says the new state where that changed it.
    pub(crate) fn note(&self, now: Instant, admission: Admission, attempt: Attempt) -> Option<BreakerState> {
        match admission {
            Admission::Pass(ticket) => self.note_passed(now, ticket, attempt),
            Admission::Trial(ticket) => self.end_trial(now, ticket, attempt),
            Admission::Refused { .. } => None,
        }
    }

    /// What it is now.
    pub(crate) fn state(&self, now: Instant) -> BreakerState {
        match self.gate() {
            Gate::Closed | Gate::ForcedClosed => BreakerState::Closed,
            Gate::ForcedOpen => BreakerState::Open,
            Gate::Trial => BreakerState::HalfOpen,
            Gate::Open if self.has_waited(&self.opened.lock(), now) => BreakerState::HalfOpen,
            Gate::Open => BreakerState::Open,
        }
    }

    /// What an operator has decided.
    pub(crate) fn forced(&self) -> Forced {
        match self.gate() {
            Gate::ForcedOpen => Forced::Open,
            Gate::ForcedClosed => Forced::Closed,
            Gate::Closed | Gate::Open | Gate::Trial => Forced::None,
        }
    }

    /// Opens or closes it by hand, or lets it go by itself again: then it is closed and has seen nothing yet.
    pub(crate) fn force(&self, forced: Forced) {
        let mut opened = self.opened.lock();
        match (forced, self.gate()) {
            (Forced::Open, _) => _ = self.turn(Gate::ForcedOpen),
            (Forced::Closed, _) => _ = self.turn(Gate::ForcedClosed),
            (Forced::None, Gate::ForcedOpen | Gate::ForcedClosed) => self.close(&mut opened),
            (Forced::None, Gate::Closed | Gate::Open | Gate::Trial) => {}
        }
    }

    fn admit_one(&self, now: Instant) -> Admission {
        let mut opened = self.opened.lock();
        let word = self.word.load(Relaxed);
        match Gate::of(word) {
            Gate::Closed | Gate::ForcedClosed => Admission::Pass(Ticket(word)),
            Gate::ForcedOpen => Admission::Refused { retry_after: self.config.open },
            gate @ (Gate::Open | Gate::Trial) if self.has_waited(&opened, now) => {
                // An answer that takes long must not keep everybody else out: the next goes on trial beside it, and the first verdict counts.
                opened.until = self.since_epoch(now).saturating_add(self.config.open.max(SHORTEST_TRIAL));
                Admission::Trial(if gate == Gate::Trial { Ticket(word) } else { self.turn(Gate::Trial) })
            }
            Gate::Open | Gate::Trial => Admission::Refused { retry_after: opened.until - self.since_epoch(now) },
        }
    }

    fn note_passed(&self, now: Instant, ticket: Ticket, attempt: Attempt) -> Option<BreakerState> {
        // An exchange from before it last opened says nothing about the endpoint as it is now.
        if !self.config.enabled || self.word.load(Relaxed) != ticket.0 || Gate::of(ticket.0) != Gate::Closed {
            return None;
        }
        let connect_failures = match attempt {
            Attempt::Abandoned | Attempt::GivenUp | Attempt::Stale => return None,
            Attempt::ConnectFailed => self.connect_failures.fetch_add(1, Relaxed).saturating_add(1),
            Attempt::Ok | Attempt::Failed => {
                if self.connect_failures.load(Relaxed) != 0 {
                    self.connect_failures.store(0, Relaxed);
                }
                0
            }
        };
        let failed = attempt != Attempt::Ok;
        self.window.add(now, Counts { all: 1, marked: u64::from(failed) });
        if !failed || !(self.is_unreachable(connect_failures) || self.fails_too_often(now)) {
            return None;
        }
        let mut opened = self.opened.lock();
        if self.word.load(Relaxed) != ticket.0 {
            return None;
        }
        self.open(&mut opened, now);
        Some(BreakerState::Open)
    }

    fn end_trial(&self, now: Instant, ticket: Ticket, attempt: Attempt) -> Option<BreakerState> {
        let mut opened = self.opened.lock();
        if self.word.load(Relaxed) != ticket.0 {
            return None;
        }
        match attempt {
            Attempt::Ok => {
                self.close(&mut opened);
                Some(BreakerState::Closed)
            }
            Attempt::Failed | Attempt::ConnectFailed => {
                opened.failed_trials = opened.failed_trials.saturating_add(1);
                self.open(&mut opened, now);
                Some(BreakerState::Open)
            }
            Attempt::Abandoned | Attempt::GivenUp | Attempt::Stale => {
                // The next exchange is the next trial.
                opened.until = Duration::ZERO;
                self.turn(Gate::Open);
                None
            }
        }
    }

    fn is_unreachable(&self, connect_failures: u32) -> bool {
        connect_failures > 0 && connect_failures >= self.config.connect_failures
    }

    fn fails_too_often(&self, now: Instant) -> bool {
        let Counts { all, marked } = self.window.counts(now);
        all >= u64::from(self.config.min_requests) && marked as f64 >= self.config.error_share * all as f64
    }

    fn open(&self, opened: &mut Opened, now: Instant) {
        let times = 2_u32.saturating_pow(opened.failed_trials).min(LONGEST);
        opened.until = self.since_epoch(now).saturating_add(self.config.open.saturating_mul(times));
        self.turn(Gate::Open);
    }

    fn close(&self, opened: &mut Opened) {
        *opened = Opened::default();
        self.window.clear();
        self.connect_failures.store(0, Relaxed);
        self.turn(Gate::Closed);
    }

    /// Changes the gate. Only under the lock.
    fn turn(&self, gate: Gate) -> Ticket {
        let word = (self.word.load(Relaxed) | Gate::MASK).wrapping_add(1) | gate as u64;
        self.word.store(word, Relaxed);
        Ticket(word)
    }

    fn gate(&self) -> Gate {
        Gate::of(self.word.load(Relaxed))
    }

    fn has_waited(&self, opened: &Opened, now: Instant) -> bool {
        self.since_epoch(now) >= opened.until
    }

    fn since_epoch(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }
}

impl Gate {
    const MASK: u64 = 7;

    fn of(word: u64) -> Self {
        [Self::Closed, Self::Open, Self::Trial, Self::ForcedOpen, Self::ForcedClosed][(word & Self::MASK) as usize]
    }
}

impl Admitted {
    /// Whether others wait for its end.
    pub(crate) fn is_trial(&self) -> bool {
        matches!(self.admission, Admission::Trial(_))
    }

    /// Says how it ended, and the new state of the breaker where that changed it.
    pub(crate) fn note(mut self, now: Instant, attempt: Attempt) -> Option<BreakerState> {
        // Taken out, so that `Drop` finds nothing to say.
        let admission = std::mem::replace(&mut self.admission, Admission::Refused { retry_after: Duration::ZERO });
        self.breaker.note(now, admission, attempt)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Admission::Trial(ticket) = self.admission {
            // The moment does not matter to an abandoned trial.
            self.breaker.end_trial(self.breaker.epoch, ticket, Attempt::Abandoned);
        }
    }
}

#[cfg(test)]
mod tests;
