//! So many lines of one kind in a second: in a flood every exchange would say one.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lines in a second; the next one after that says how many there were not.
const MOST_A_SECOND: u32 = 10;

/// Counts the lines of one kind.
#[derive(Debug, Default)]
pub struct Throttle {
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Throttle {
    /// How many went unsaid since the last one that was said; `None` when this one goes unsaid too.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock();
        if window.began.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1)) {
            (window.began, window.said) = (Some(now), 0);
        }
        if window.said == MOST_A_SECOND {
            window.unsaid += 1;
            return None;
        }
        window.said += 1;
        Some(std::mem::take(&mut window.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Throttle;

    #[test]
    fn ten_a_second_are_said_and_the_others_counted() {
        let start = Instant::now();
        let throttle = Throttle::default();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!((0..10).all(|call| throttle.admit(at(call)) == Some(0)));
        assert!((10..1000).all(|call| throttle.admit(at(call)).is_none()));
        assert_eq!(throttle.admit(at(1000)), Some(990));
        assert_eq!(throttle.admit(at(1001)), Some(0));
    }
}
