//! Where the time of one exchange went: the gateway, the plugins, the server.

use std::time::{Duration, Instant, SystemTime};

/// The moments of one exchange.
pub(crate) struct Timing {
    started: Instant,
    started_at: SystemTime,
    /// When all of the request was here.
    read: Instant,
    forwarded: Option<Instant>,
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
            answered: None,
            plugins: Duration::ZERO,
            plugins_before_forward: Duration::ZERO,
        }
    }

    /// All of the request is here.
    pub(crate) fn note_read(&mut self) {
        self.read = Instant::now();
    }

    /// The request goes to the server now.
    pub(crate) fn note_forwarded(&mut self) {
        self.forwarded = Some(Instant::now());
        self.plugins_before_forward = self.plugins;
    }

    /// All of the answer is here.
    pub(crate) fn note_answered(&mut self) {
        self.answered = Some(Instant::now());
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

    /// Time from the request being forwarded to the answer being here (or to now), without what plugins took meanwhile.
    pub(crate) fn upstream(&self) -> Duration {
        match (self.forwarded, self.answered) {
            (Some(forwarded), Some(answered)) => answered.saturating_duration_since(forwarded),
            (Some(forwarded), None) => forwarded.elapsed().saturating_sub(self.plugins_since_forward()),
            (None, _) => Duration::ZERO,
        }
    }

    /// Time in the gateway itself: between having the request and forwarding it, and between having the answer and now; without plugins. `None`
    /// for what was not forwarded. What an answer that passes at once costs cannot be told from waiting for its next piece.
    pub(crate) fn overhead(&self) -> Option<Duration> {
        let before = self.forwarded?.saturating_duration_since(self.read).saturating_sub(self.plugins_before_forward);
        let after = self.answered.map(|answered| answered.elapsed().saturating_sub(self.plugins_since_forward()));
        Some(before + after.unwrap_or_default())
    }

    fn plugins_since_forward(&self) -> Duration {
        self.plugins.saturating_sub(self.plugins_before_forward)
    }
}
