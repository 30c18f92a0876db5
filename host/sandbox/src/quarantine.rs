//! When a plugin is no longer called because it keeps being interrupted, and for how long. Time is handed in.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Interrupts in a row that raise the question whether it is the plugin or what it is shown.
pub(crate) const SUSPECT_AFTER: u32 = 3;
/// How long the first quarantine lasts.
const FIRST: Duration = Duration::from_secs(1);
/// How long one lasts at most. A plugin that has been well for so long begins anew with [`FIRST`].
const LONGEST: Duration = Duration::from_secs(60);
/// At most one line in this time says that messages, and not the plugin, were at fault.
const BETWEEN_REMARKS: Duration = Duration::from_secs(60);

/// The record of one generation.
#[derive(Default)]
pub(crate) struct Quarantine {
    /// In a row. Each call looks at it and at `closed`, so they stand outside of the lock.
    interrupts: AtomicU32,
    closed: AtomicBool,
    being_heard: AtomicBool,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    /// The length of the last quarantine, zero before the first.
    last: Duration,
    reopened: Option<Instant>,
    remarked: Option<Instant>,
}

/// While it exists, the plugin is asked about the samples, and nobody else asks.
pub(crate) struct Hearing<'a>(&'a Quarantine);

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.0.being_heard.store(false, Ordering::Release);
    }
}

impl Quarantine {
    /// Whether the plugin is not called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A call ended otherwise than by an interrupt.
    pub(crate) fn answered(&self) {
        if self.interrupts.load(Ordering::Relaxed) != 0 && !self.is_closed() {
            self.interrupts.store(0, Ordering::Relaxed);
        }
    }

    /// A call was interrupted. When that makes a row, and nobody asks yet, the caller is the one to ask.
    pub(crate) fn interrupted(&self) -> Option<Hearing<'_>> {
        let in_a_row = self.interrupts.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let is_due = in_a_row >= SUSPECT_AFTER && !self.is_closed() && !self.being_heard.swap(true, Ordering::Acquire);
        is_due.then_some(Hearing(self))
    }

    /// It was what the plugin was shown. Answers whether to say so in the log.
    pub(crate) fn acquit(&self, now: Instant) -> bool {
        self.interrupts.store(0, Ordering::Relaxed);
        let mut record = self.record.lock();
        let is_news = record.remarked.is_none_or(|at| now - at >= BETWEEN_REMARKS);
        if is_news {
            record.remarked = Some(now);
        }
        is_news
    }

    /// It was the plugin, which is not called from now on. Answers for how long.
    pub(crate) fn close(&self, now: Instant) -> Duration {
        let mut record = self.record.lock();
        if record.reopened.is_some_and(|at| now - at >= LONGEST) {
            record.last = Duration::ZERO;
        }
        self.closed.store(true, Ordering::Release);
        record.lengthen()
    }

    /// The time is over, and it is still the plugin. Answers how long it is not called this time.
    pub(crate) fn prolong(&self) -> Duration {
        self.record.lock().lengthen()
    }

    /// The plugin is called again, on trial: until a call is answered, a single interrupt raises the question anew.
    pub(crate) fn reopen(&self, now: Instant) {
        self.record.lock().reopened = Some(now);
        self.interrupts.store(SUSPECT_AFTER - 1, Ordering::Relaxed);
        self.closed.store(false, Ordering::Release);
    }
}

impl Record {
    fn lengthen(&mut self) -> Duration {
        self.last = (self.last * 2).clamp(FIRST, LONGEST);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interrupts until somebody is to ask; how many that took.
    fn until_heard(quarantine: &Quarantine) -> u32 {
        (1..10).find(|_| quarantine.interrupted().is_some()).unwrap_or(10)
    }

    #[test]
    fn three_in_a_row_raise_the_question_and_an_answer_ends_the_row() {
        let quarantine = Quarantine::default();
        assert!(quarantine.interrupted().is_none() && quarantine.interrupted().is_none());
        quarantine.answered();
        assert_eq!(until_heard(&quarantine), 3);
        assert!(quarantine.acquit(Instant::now()));
        assert_eq!(until_heard(&quarantine), 3);
        assert!(!quarantine.is_closed());
    }

    #[test]
    fn one_asks_at_a_time_and_who_gives_up_leaves_it_to_the_next() {
        let quarantine = Quarantine::default();
        let (_, _) = (quarantine.interrupted().is_none(), quarantine.interrupted().is_none());
        let hearing = quarantine.interrupted();
        assert!(hearing.is_some() && quarantine.interrupted().is_none(), "two ask at once");
        drop(hearing);
        assert!(quarantine.interrupted().is_some(), "the question was forgotten");
    }

    #[test]
    fn each_quarantine_is_twice_as_long_until_it_stays_well() {
        let (quarantine, begin) = (Quarantine::default(), Instant::now());
        let seconds = |length: Duration| length.as_secs();
        assert_eq!(until_heard(&quarantine), 3);
        assert_eq!(seconds(quarantine.close(begin)), 1);
        assert!(quarantine.is_closed());
        quarantine.answered();
        assert!(quarantine.interrupted().is_none(), "a call that was still running counts");
        assert_eq!([(); 7].map(|()| seconds(quarantine.prolong())), [2, 4, 8, 16, 32, 60, 60]);
        quarantine.reopen(begin);
        assert!(!quarantine.is_closed());
        assert_eq!(until_heard(&quarantine), 1, "it was not on trial");
        assert_eq!(seconds(quarantine.close(begin + LONGEST / 2)), 60);
        quarantine.reopen(begin + LONGEST);
        quarantine.answered();
        assert_eq!(until_heard(&quarantine), 3, "an answer did not end the trial");
        assert_eq!(seconds(quarantine.close(begin + LONGEST * 2)), 1, "a minute without trouble did not count");
    }

    #[test]
    fn that_it_was_the_messages_is_said_once_a_minute() {
        let (quarantine, begin) = (Quarantine::default(), Instant::now());
        let said: Vec<bool> = [0, 1, 59, 60, 119, 120].map(|second| quarantine.acquit(begin + Duration::from_secs(second))).into();
        assert_eq!(said, [true, false, false, true, false, true]);
    }
}
