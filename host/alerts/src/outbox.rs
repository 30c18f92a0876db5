//! What one action has still to be told: which notification is next, when it is tried again, when it is given up. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use watchgate_hooks::{Alert, AlertState};

/// Notifications that one action may have waiting. An alert has at most three of them, so this is hundreds of alerts; more would only say
/// later what operators already know.
const CAPACITY: usize = 1000;
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
/// With the back-off above, a notification is tried for four minutes.
const MAX_TRIES: u32 = 10;

/// The notifications of one action, one line for each alert: in order within a line, independent across lines, so that one notification
/// that the action refuses does not hold up the others.
#[derive(Default)]
pub(crate) struct Outbox {
    lines: BTreeMap<String, Line>,
    waiting: usize,
}

struct Line {
    /// Never empty while the line exists. The front is what is tried.
    waiting: VecDeque<Alert>,
    tries: u32,
    due: Duration,
    in_flight: bool,
}

/// What `push` did besides adding.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// Notifications that need not be said any more.
    pub superseded: usize,
    /// The outbox is full; the notification was not taken.
    pub refused: bool,
}

/// What comes after a failed try.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    Retry { after: Duration },
    GivenUp,
    Superseded,
}

impl Outbox {
    /// Adds a notification. A resolution makes everything older about the same alert superfluous, a repeat only what says that it fires.
    pub fn push(&mut self, now: Duration, alert: Alert) -> Pushed {
        let mut pushed = Pushed::default();
        if let Some(line) = self.lines.get_mut(&alert.fingerprint) {
            pushed.superseded = line.supersede(now, &alert);
            self.waiting -= pushed.superseded;
        }
        if self.waiting >= CAPACITY {
            return Pushed { refused: true, ..pushed };
        }
        self.waiting += 1;
        self.lines
            .entry(alert.fingerprint.clone())
            .or_insert_with(|| Line { waiting: VecDeque::new(), tries: 0, due: now, in_flight: false })
            .waiting
            .push_back(alert);
        pushed
    }

    /// The next notification to try, if one is due. What was never tried goes first, so that an alert that just began is not held up by
    /// retries. It stays in the outbox until `delivered` or `failed`.
    pub fn take_due(&mut self, now: Duration) -> Option<Alert> {
        let line =
            self.lines.values_mut().filter(|line| !line.in_flight && line.due <= now).min_by_key(|line| (line.tries > 0, line.due))?;
        line.in_flight = true;
        line.waiting.front().cloned()
    }

    /// When the next one is due, if anything waits that is not being tried.
    pub fn next_due(&self) -> Option<Duration> {
        self.lines.values().filter(|line| !line.in_flight).map(|line| line.due).min()
    }

    /// The notification being tried has arrived.
    pub fn delivered(&mut self, fingerprint: &str, now: Duration) {
        self.advance(fingerprint, now);
    }

    /// The notification being tried has not arrived.
    pub fn failed(&mut self, fingerprint: &str, now: Duration, patience: Patience) -> AfterFailure {
        let Some(line) = self.lines.get_mut(fingerprint) else { return AfterFailure::GivenUp };
        line.in_flight = false;
        line.tries += 1;
        let superseded = match (line.waiting.front(), line.waiting.back()) {
            (Some(front), Some(back)) => line.waiting.len() > 1 && supersedes(back, front),
            _ => false,
        };
        if superseded {
            self.advance(fingerprint, now);
            return AfterFailure::Superseded;
        }
        if line.tries >= MAX_TRIES || patience == Patience::LastTry {
            self.advance(fingerprint, now);
            return AfterFailure::GivenUp;
        }
        let after = back_off(line.tries);
        line.due = now + after;
        AfterFailure::Retry { after }
    }

    /// Makes everything due now: there will be no later.
    pub fn hurry(&mut self, now: Duration) {
        for line in self.lines.values_mut() {
            line.due = line.due.min(now);
        }
    }

    /// Notifications that have not arrived, the one being tried included.
    pub fn len(&self) -> usize {
        self.waiting
    }

    fn advance(&mut self, fingerprint: &str, now: Duration) {
        let Some(line) = self.lines.get_mut(fingerprint) else { return };
        if line.waiting.pop_front().is_some() {
            self.waiting -= 1;
        }
        line.restart(now);
        if line.waiting.is_empty() {
            self.lines.remove(fingerprint);
        }
    }
}

/// Whether a failed notification is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// With back-off.
    Retry,
    /// The process ends.
    LastTry,
}

impl Line {
    /// Removes what `newer` makes superfluous, except what is being tried. Returns how many.
    fn supersede(&mut self, now: Duration, newer: &Alert) -> usize {
        let before = self.waiting.len();
        let tried = self.in_flight;
        let mut index = 0;
        let mut front_went = false;
        self.waiting.retain(|older| {
            let keep = (tried && index == 0) || !supersedes(newer, older);
            front_went |= index == 0 && !keep;
            index += 1;
            keep
        });
        if front_went {
            self.restart(now);
        }
        before - self.waiting.len()
    }

    fn restart(&mut self, now: Duration) {
        self.tries = 0;
        self.due = now;
        self.in_flight = false;
    }
}

fn supersedes(newer: &Alert, older: &Alert) -> bool {
    newer.state == AlertState::Resolved || older.state == AlertState::Firing
}

/// 1 s after the first failure, doubling to 60 s.
fn back_off(failures: u32) -> Duration {
    FIRST_BACK_OFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn alert(fingerprint: &str, state: AlertState) -> Alert {
        Alert {
            name: "rule".to_owned(),
            state,
            is_repeat: false,
            severity: "warning".to_owned(),
            summary: String::new(),
            value: 2.0,
            threshold: 1.0,
            labels: Vec::new(),
            started_at: SystemTime::UNIX_EPOCH,
            resolved_at: None,
            fingerprint: fingerprint.to_owned(),
        }
    }

    fn firing(fingerprint: &str) -> Alert {
        alert(fingerprint, AlertState::Firing)
    }

    fn resolved(fingerprint: &str) -> Alert {
        alert(fingerprint, AlertState::Resolved)
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Everything that is due at `now`, delivered.
    fn deliver_all(outbox: &mut Outbox, now: Duration) -> Vec<(String, AlertState)> {
        let mut out = Vec::new();
        while let Some(alert) = outbox.take_due(now) {
            outbox.delivered(&alert.fingerprint, now);
            out.push((alert.fingerprint, alert.state));
        }
        out
    }

    #[test]
    fn back_off_doubles_and_ends_after_ten_tries() {
        let mut outbox = Outbox::default();
        let mut now = Duration::ZERO;
        outbox.push(now, firing("a"));
        let mut waits = Vec::new();
        loop {
            let tried = outbox.take_due(now).unwrap();
            assert_eq!(outbox.take_due(now), None, "a notification is tried by one only");
            match outbox.failed(&tried.fingerprint, now, Patience::Retry) {
                AfterFailure::Retry { after } => {
                    waits.push(after.as_secs());
                    assert_eq!(outbox.take_due(now + after - Duration::from_millis(1)), None);
                    now = outbox.next_due().unwrap();
                }
                other => {
                    assert_eq!(other, AfterFailure::GivenUp);
                    break;
                }
            }
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!((outbox.len(), outbox.next_due()), (0, None));
    }

    #[test]
    fn a_resolution_supersedes_what_waits_and_comes_at_once() {
        let mut outbox = Outbox::default();
        outbox.push(seconds(0), firing("a"));
        let tried = outbox.take_due(seconds(0)).unwrap();
        outbox.failed(&tried.fingerprint, seconds(0), Patience::Retry);
        assert_eq!(outbox.push(seconds(0), resolved("a")), Pushed { superseded: 1, refused: false });
        assert_eq!(deliver_all(&mut outbox, seconds(0)), [("a".to_owned(), AlertState::Resolved)]);
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn a_resolution_supersedes_what_is_being_tried_only_when_that_fails() {
        for (arrives, expected_left) in [(true, 1), (false, 1)] {
            let mut outbox = Outbox::default();
            outbox.push(seconds(0), firing("a"));
            let tried = outbox.take_due(seconds(0)).unwrap();
            assert_eq!(outbox.push(seconds(0), resolved("a")), Pushed::default());
            if arrives {
                outbox.delivered(&tried.fingerprint, seconds(1));
            } else {
                assert_eq!(outbox.failed(&tried.fingerprint, seconds(1), Patience::Retry), AfterFailure::Superseded);
            }
            assert_eq!(outbox.len(), expected_left);
            assert_eq!(deliver_all(&mut outbox, seconds(1)), [("a".to_owned(), AlertState::Resolved)]);
        }
    }

    #[test]
    fn a_new_firing_waits_behind_the_resolution_of_the_old_one() {
        let mut outbox = Outbox::default();
        outbox.push(seconds(0), resolved("a"));
        outbox.push(seconds(0), firing("a"));
        assert_eq!(outbox.push(seconds(0), firing("a")), Pushed { superseded: 1, refused: false });
        let order = deliver_all(&mut outbox, seconds(0));
        assert_eq!(order, [("a".to_owned(), AlertState::Resolved), ("a".to_owned(), AlertState::Firing)]);
    }

    #[test]
    fn one_failing_alert_does_not_hold_up_others() {
        let mut outbox = Outbox::default();
        outbox.push(seconds(0), firing("a"));
        let tried = outbox.take_due(seconds(0)).unwrap();
        outbox.failed(&tried.fingerprint, seconds(0), Patience::Retry);
        outbox.push(seconds(1), firing("b"));
        let order: Vec<String> = deliver_all(&mut outbox, seconds(1)).into_iter().map(|(fingerprint, _)| fingerprint).collect();
        assert_eq!(order, ["b", "a"]);
    }

    #[test]
    fn a_full_outbox_refuses_and_still_takes_what_replaces() {
        let mut outbox = Outbox::default();
        for index in 0..CAPACITY {
            assert!(!outbox.push(seconds(0), firing(&index.to_string())).refused);
        }
        assert!(outbox.push(seconds(0), firing("one more")).refused);
        assert_eq!(outbox.push(seconds(0), resolved("7")), Pushed { superseded: 1, refused: false });
        assert_eq!(outbox.len(), CAPACITY);
        assert_eq!(deliver_all(&mut outbox, seconds(0)).len(), CAPACITY);
    }

    #[test]
    fn the_last_try_is_the_last() {
        let mut outbox = Outbox::default();
        outbox.push(seconds(0), firing("a"));
        outbox.take_due(seconds(0)).unwrap();
        outbox.failed("a", seconds(0), Patience::Retry);
        outbox.hurry(seconds(0));
        let tried = outbox.take_due(seconds(0)).unwrap();
        assert_eq!(outbox.failed(&tried.fingerprint, seconds(0), Patience::LastTry), AfterFailure::GivenUp);
        assert_eq!(outbox.len(), 0);
    }
}
