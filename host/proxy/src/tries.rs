//! The tries of one request that never left: elsewhere at once, and where that was tried already after a while, since a server that restarts is
//! soon back.

use std::time::{Duration, Instant};

use tokio::time::Instant as Moment;
use watchgate_telemetry::Retry;

use crate::fault::Fault;
use crate::server::{Phase, Server, Shared};

/// No wait is longer, unless the first already is.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What was tried so far. Costs nothing until a try has failed.
pub(crate) struct Tries<'a> {
    shared: &'a Shared,
    server: &'a Server,
    only: Option<usize>,
    tried: Vec<usize>,
    waits: u32,
    /// When the last of them must be over that ask somebody again: the time that one connection may take covers all of them.
    until: Moment,
    /// Why the last one failed.
    fault: Option<Fault>,
}

impl<'a> Tries<'a> {
    /// Of a request that begins now, and may go to one endpoint `only` or to any.
    pub(crate) fn new(shared: &'a Shared, server: &'a Server, only: Option<usize>) -> Self {
        let until = Moment::now() + server.config.timeouts.connect;
        Self { shared, server, only, tried: Vec::new(), waits: 0, until, fault: None }
    }

    /// The endpoints that were tried.
    pub(crate) fn tried(&self) -> &[usize] {
        &self.tried
    }

    /// How many tries there were, the one under way included.
    pub(crate) fn count(&self) -> u32 {
        self.tried.len() as u32 + 1
    }

    /// How long opening a connection to an endpoint may take now.
    pub(crate) fn connect_timeout(&self, index: usize) -> Duration {
        let timeout = self.server.config.timeouts.connect;
        if self.is_again(index) { timeout.min(self.until.saturating_duration_since(Moment::now())) } else { timeout }
    }

    fn is_again(&self, index: usize) -> bool {
        self.tried.contains(&index)
    }

    /// Nobody is left who would be asked: what clients are told.
    pub(crate) fn refused(&self, fault: Fault) -> Fault {
        self.fault.unwrap_or(fault)
    }

    /// A try begins.
    pub(crate) fn begin(&self) {
        if !self.tried.is_empty() {
            self.server.metrics.retried(Retry::Sent);
        }
    }

    /// A try has failed and the request never left, or was turned away unseen: how long to wait before the next. `None` when that was the last.
    pub(crate) fn next_after(&mut self, index: usize, fault: Fault, turned_away: bool) -> Option<Duration> {
        self.tried.push(index);
        self.fault = Some(fault);
        if self.tried.len() as u32 > self.server.config.retry.max {
            return None;
        }
        let now = Instant::now();
        let wait = self.next_wait(now)?;
        // What waits puts no load on a server that is not there, and reaches it once when it is back: what goes elsewhere at once is charged, and what comes
        // again to a server that has too much to do.
        if (wait.is_zero() || turned_away) && !self.server.retries.try_retry(now, self.tried.len() as u32) {
            self.server.metrics.retried(Retry::OverBudget);
            return None;
        }
        Some(wait)
    }

    /// Waits; whoever drops this has ended it. Says whether the request may go on.
    pub(crate) async fn wait(&mut self, wait: Duration) -> bool {
        if wait.is_zero() {
            return true;
        }
        self.waits += 1;
        let mut phase = self.shared.phase.subscribe();
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            // The time to finish is over: an answer that says so is better than a connection that breaks.
            _ = phase.wait_for(|phase| *phase >= Phase::EndStreams) => false,
        }
    }

    /// How long to wait before the next try: not at all where there is somebody else to ask. `None` where another try makes no sense.
    fn next_wait(&self, now: Instant) -> Option<Duration> {
        let would_answer = |index: usize| self.server.endpoints[index].breaker.would_admit(now);
        let mut all = match self.only {
            Some(index) => index..index + 1,
            None => 0..self.server.endpoints.len(),
        };
        if all.clone().any(|index| !self.is_again(index) && would_answer(index)) {
            return Some(Duration::ZERO);
        }
        let first = self.server.config.retry.backoff;
        if first.is_zero() || !all.any(would_answer) {
            return None;
        }
        let whole = first.saturating_mul(2_u32.saturating_pow(self.waits)).min(LONGEST_WAIT.max(first));
        // Anything from a half to the whole, so that those who failed together do not come back together.
        let wait = whole.mul_f64(0.5 + fastrand::f64() / 2.0);
        (Moment::now() + wait < self.until).then_some(wait)
    }
}
