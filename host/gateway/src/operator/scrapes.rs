//! Scrapes over a window of time, and what changed from its first to its last. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::exposition::{Reading, Scrape, SeriesName};

/// Scrapes kept for a window: more would only make its beginning more exact.
const MOST_SCRAPES: u32 = 60;

/// The last scrapes, with the moments at which they were taken.
pub struct Scrapes {
    window: Duration,
    taken: VecDeque<(Duration, Scrape)>,
    last: Scrape,
    now: Duration,
}

/// What there is to show.
pub struct Change {
    /// From the first scrape of the window to the last.
    pub elapsed: Duration,
    /// Each series as it is, and what was added to it in that time.
    pub series: BTreeMap<SeriesName, (Reading, Reading)>,
}

impl Change {
    /// One scrape by itself: all that was added since the gateway began.
    pub fn whole(scrape: Scrape) -> Self {
        let series = scrape.series.into_iter().map(|(name, reading)| (name, (reading.clone(), reading)));
        Self { elapsed: Duration::ZERO, series: series.collect() }
    }
}

impl Scrapes {
    /// Nothing yet; moments count from any beginning.
    pub fn new(window: Duration) -> Self {
        Self { window, taken: VecDeque::new(), last: Scrape::default(), now: Duration::ZERO }
    }

    /// Takes in a scrape, and forgets those before the window.
    pub fn add(&mut self, now: Duration, scrape: Scrape) {
        let spacing = self.window / MOST_SCRAPES;
        if self.taken.back().is_none_or(|(last, _)| now.saturating_sub(*last) >= spacing) {
            self.taken.push_back((now, scrape.clone()));
        }
        // The first may be older than the window, so that the window is whole.
        while self.taken.get(1).is_some_and(|(next, _)| now.saturating_sub(*next) >= self.window) {
            self.taken.pop_front();
        }
        (self.last, self.now) = (scrape, now);
    }

    /// What the last scrape says, and what was added since the first in the window.
    pub fn change(&self) -> Change {
        let first = self.taken.front();
        let series = self.last.series.iter().map(|(name, reading)| {
            // A series that was not there at the beginning began at 0.
            let before = first.and_then(|(_, scrape)| scrape.series.get(name));
            (name.clone(), (reading.clone(), reading.since(before)))
        });
        Change { elapsed: first.map_or(Duration::ZERO, |(at, _)| self.now.saturating_sub(*at)), series: series.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::exposition::Kind;

    #[test]
    fn the_window_moves_on() {
        let mut scrapes = Scrapes::new(Duration::from_secs(60));
        let check = |scrapes: &mut Scrapes, at: u64, value: f64, expected: (u64, f64)| {
            scrapes.add(Duration::from_secs(at), Scrape::parse(&format!("# TYPE c counter\nc {value}\n")).unwrap());
            let change = scrapes.change();
            let (_, (now, added)) = change.series.first_key_value().unwrap();
            assert_eq!(*now, Reading::Number(Kind::Counter, value));
            assert_eq!((change.elapsed.as_secs(), added), (expected.0, &Reading::Number(Kind::Counter, expected.1)), "at {at}");
        };
        check(&mut scrapes, 0, 10.0, (0, 0.0));
        check(&mut scrapes, 30, 12.0, (30, 2.0));
        check(&mut scrapes, 60, 15.0, (60, 5.0));
        check(&mut scrapes, 90, 20.0, (60, 8.0));
        check(&mut scrapes, 100, 21.0, (70, 9.0));
        check(&mut scrapes, 200, 2.0, (100, 2.0));
        assert!(scrapes.taken.len() <= 3);
    }
}
