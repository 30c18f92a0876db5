//! What would be said for every exchange is said once in a while.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two times that it is said.
const PAUSE: Duration = Duration::from_secs(10);

/// Said at most once in a [`PAUSE`].
#[derive(Default)]
pub(crate) struct Seldom(Mutex<State>);

#[derive(Default)]
struct State {
    said: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Whether to say it now. Then: how often it was not said since the last time.
    pub(crate) fn may_say(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < PAUSE) {
            state.unsaid += 1;
            return None;
        }
        state.said = Some(now);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_every_ten_seconds() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let check = |millis, expected| assert_eq!(seldom.may_say(start + Duration::from_millis(millis)), expected);
        check(0, Some(0));
        check(1, None);
        check(9_999, None);
        check(10_000, Some(2));
        check(15_000, None);
        check(60_000, Some(1));
    }
}
