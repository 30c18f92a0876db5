//! Where the time of one exchange went: the client, the gateway, the plugins, the server.

use std::time::{Duration, Instant, SystemTime};

/// The moments of one exchange.
pub(crate) struct Timing {
    started: Instant,
    started_at: SystemTime,
    /// When all of the request was here.
    read: Instant,
    forwarded: Option<Instant>,
    /// Since when the server is being waited for.
    waiting: Option<Instant>,
    /// How long it was waited for before that. A client that is slow to take what the server sent is not in it.
    waited: Duration,
    /// When all of an answer was here that is redacted as a whole.
    answered: Option<Instant>,
    plugins: Duration,
    plugins_before_forward: Duration,
}

impl Timing {
    /// The head of the request is here.
    pub(crate) fn begin() -> Self {
        let started = Instant::now();
        Self {
            started,
            started_at: SystemTime::now(),
            read: started,
            forwarded: None,
            waiting: None,
            waited: Duration::ZERO,
            answered: None,
            plugins: Duration::ZERO,
            plugins_before_forward: Duration::ZERO,
        }
    }

    /// All of the request is here, or no more of it comes.
    pub(crate) fn note_read(&mut self) {
        self.read = Instant::now();
    }

    /// The request goes to the server now.
    pub(crate) fn note_forwarded(&mut self) {
        let now = Instant::now();
        (self.forwarded, self.waiting) = (Some(now), Some(now));
        self.plugins_before_forward = self.plugins;
    }

    /// The server sent something, which was here at `now`.
    pub(crate) fn note_came(&mut self, now: Instant) {
        if let Some(since) = self.waiting.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// Everything that the server sent has been passed on, and more must come. Reads the clock once, however often it is asked.
    pub(crate) fn note_waiting(&mut self) {
        self.waiting.get_or_insert_with(Instant::now);
    }

    /// All of the answer is here.
    pub(crate) fn note_answered(&mut self) {
        let now = Instant::now();
        self.answered = Some(now);
        self.note_came(now);
    }

    /// Time that a message waited for redaction.
    pub(crate) fn note_plugins(&mut self, duration: Duration) {
        self.plugins += duration;
    }

    /// When the head of the request was here.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The same on the wall clock.
    pub(crate) fn started_at(&self) -> SystemTime {
        self.started_at
    }

    /// Time that messages waited for redaction.
    pub(crate) fn plugins(&self) -> Duration {
        self.plugins
    }

    /// Time from the head of the request to all of its body.
    pub(crate) fn read(&self) -> Duration {
        self.read.saturating_duration_since(self.started)
    }

    /// Time that the server was waited for, connecting included.
    pub(crate) fn upstream(&self) -> Duration {
        self.waited + self.waiting.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Time in the gateway itself: between having the request and forwarding it, and between having the answer and now; without plugins. `None`
    /// for what was not forwarded. What an answer that passes at once costs cannot be told from the client's taking it.
    pub(crate) fn overhead(&self) -> Option<Duration> {
        let before = self.forwarded?.saturating_duration_since(self.read).saturating_sub(self.plugins_before_forward);
        let after = self.answered.map(|answered| answered.elapsed().saturating_sub(self.plugins_since_forward()));
        Some(before + after.unwrap_or_default())
    }

    /// What is left of `duration`, the time of the whole exchange, when the server has been heard: passing the answer on, and
    /// waiting for a client that is slow to take it. Zero for what was not forwarded.
    pub(crate) fn write(&self, duration: Duration) -> Duration {
        let Some(overhead) = self.overhead() else { return Duration::ZERO };
        duration.saturating_sub(self.read() + self.upstream() + self.plugins + overhead)
    }

    fn plugins_since_forward(&self) -> Duration {
        self.plugins.saturating_sub(self.plugins_before_forward)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_waiting_for_the_server_is_its_time() {
        let begun = Instant::now().checked_sub(100 * SECOND).unwrap();
        let mut timing = Timing { started: begun, read: begun + 2 * SECOND, ..Timing::begin() };
        assert_eq!((timing.upstream(), timing.overhead()), (Duration::ZERO, None));
        (timing.forwarded, timing.waiting) = (Some(begun + 3 * SECOND), Some(begun + 3 * SECOND));
        // The head after 4 s, then a client that takes 30 s for the first piece, and the last piece 5 s after it was taken.
        timing.note_came(begun + 7 * SECOND);
        assert_eq!(timing.upstream(), 4 * SECOND);
        timing.note_came(begun + 37 * SECOND);
        timing.waiting = Some(begun + 37 * SECOND);
        timing.note_waiting();
        timing.note_came(begun + 42 * SECOND);
        assert_eq!(timing.upstream(), 9 * SECOND);
        assert_eq!((timing.read(), timing.overhead()), (2 * SECOND, Some(SECOND)));
        assert_eq!(timing.write(50 * SECOND), 38 * SECOND);
        timing.note_waiting();
        assert!(timing.upstream() < 10 * SECOND);
    }
}
