//! Two counts over a span that moves with time, without a lock: a ring of ten slices.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Slices of a window. The one under way counts too, so between nine and ten tenths of the span are looked back on.
const SLICES: usize = 10;

/// A slice is one word, so that it changes as a whole: its number in the upper 24 bits, then twice 20 bits of counts.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const NUMBER_BITS: u32 = 64 - 2 * COUNT_BITS;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// By how many slices a thread may be late at most to be known for it: ten spans. Longer, and of 2^24 numbers too many would be younger ones to a slice
/// that nobody has counted in for that long.
const LATEST: u64 = 10 * SLICES as u64;

/// Where both counts of a slice are halved, which keeps their ratio. Half of what fits: threads that meet here may each add one more.
const FULL: u64 = 1 << (COUNT_BITS - 1);

/// Two counts over the last while.
pub(crate) struct Window {
    epoch: Instant,
    slice_nanos: u64,
    slices: [AtomicU64; SLICES],
}

/// What a window counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// For instance all exchanges.
    pub(crate) all: u64,
    /// For instance those that failed.
    pub(crate) marked: u64,
}

impl Window {
    /// Empty. `span` is what it looks back on.
    pub(crate) fn new(span: Duration, now: Instant) -> Self {
        let slice = span / SLICES as u32;
        let slice_nanos = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { epoch: now, slice_nanos, slices: Default::default() }
    }

    /// Counts.
    pub(crate) fn add(&self, now: Instant, counts: Counts) {
        self.add_if(now, counts, |_| true);
    }

    /// Counts if `permits` what the slice under way holds so far; says whether. No other thread comes between the two.
    pub(crate) fn add_if(&self, now: Instant, counts: Counts, permits: impl Fn(Counts) -> bool) -> bool {
        let number = self.number(now);
        let updated = self.slot(number).fetch_update(Relaxed, Relaxed, |word| {
            let (age, kept) = (age(number, word), Counts::unpack(word));
            // One that is empty was cleared, whatever number it has.
            if age > NUMBER_MASK - LATEST && kept != Counts::default() {
                // This thread was held up for a whole span or some, and the place has gone to a younger slice.
                return None;
            }
            let slice = if age == 0 { kept } else { Counts::default() };
            permits(slice).then(|| slice.plus(counts).pack(number))
        });
        updated.is_ok()
    }

    /// The totals, the slice under way included.
    pub(crate) fn counts(&self, now: Instant) -> Counts {
        let number = self.number(now);
        let recent = self.slices.iter().map(|slice| slice.load(Relaxed)).filter(|word| age(number, *word) < SLICES as u64);
        recent.fold(Counts::default(), |totals, word| {
            let slice = Counts::unpack(word);
            Counts { all: totals.all + slice.all, marked: totals.marked + slice.marked }
        })
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for slice in &self.slices {
            slice.store(0, Relaxed);
        }
    }

    fn number(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX) / self.slice_nanos
    }

    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.slices[(number % SLICES as u64) as usize]
    }
}

impl Counts {
    fn plus(self, more: Self) -> Self {
        let sum = Self { all: self.all + more.all, marked: self.marked + more.marked };
        if sum.all < FULL && sum.marked < FULL { sum } else { Self { all: sum.all / 2, marked: sum.marked / 2 } }
    }

    fn pack(self, number: u64) -> u64 {
        (number & NUMBER_MASK) << (2 * COUNT_BITS) | self.all << COUNT_BITS | self.marked
    }

    fn unpack(word: u64) -> Self {
        Self { all: word >> COUNT_BITS & COUNT_MASK, marked: word & COUNT_MASK }
    }
}

/// How many slices ago the one in `word` was. Numbers begin anew after months, so one that is a little younger than `number` is as good as all of them
/// ago.
fn age(number: u64, word: u64) -> u64 {
    number.wrapping_sub(word >> (2 * COUNT_BITS)) & NUMBER_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(10);
    const GOOD: Counts = Counts { all: 1, marked: 0 };
    const BAD: Counts = Counts { all: 1, marked: 1 };

    fn check(window: &Window, now: Instant, all: u64, marked: u64) {
        assert_eq!(window.counts(now), Counts { all, marked });
    }

    #[test]
    fn what_is_older_than_the_span_is_forgotten() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let window = Window::new(SPAN, start);
        check(&window, start, 0, 0);
        window.add(at(0), GOOD);
        window.add(at(999), BAD);
        window.add(at(5_000), BAD);
        check(&window, at(9_999), 3, 2);
        check(&window, at(10_000), 1, 1);
        check(&window, at(14_999), 1, 1);
        check(&window, at(15_000), 0, 0);
        window.add(at(20_000), GOOD);
        check(&window, at(20_000), 1, 0);
        window.clear();
        check(&window, at(20_000), 0, 0);
    }

    #[test]
    fn a_late_thread_does_not_wipe_what_is_young() {
        let start = Instant::now();
        let window = Window::new(SPAN, start);
        let later = start + Duration::from_secs(30);
        window.add(later, BAD);
        window.add(start, GOOD);
        check(&window, later, 1, 1);
    }

    #[test]
    fn a_full_slice_keeps_its_ratio_and_a_long_rest_is_a_rest() {
        let start = Instant::now();
        let window = Window::new(SPAN, start);
        for round in 0..4 * FULL {
            window.add(start, if round % 4 == 0 { BAD } else { GOOD });
        }
        let Counts { all, marked } = window.counts(start);
        assert!((FULL / 2..FULL).contains(&all), "{all}");
        assert!((marked * 4).abs_diff(all) < 16, "{marked} of {all}");
        check(&window, start + Duration::from_secs(40_000_000), 0, 0);
    }

    /// Numbers that a word has no bits for, and the first of which half of all are older.
    const EDGES: [u64; 2] = [NUMBER_MASK / 2, NUMBER_MASK];

    #[test]
    fn after_months_it_counts_as_on_the_first_day() {
        for edge in EDGES {
            let start = Instant::now();
            let window = Window::new(SPAN, start);
            for (cleared, slice) in (edge - 25..edge + 25).enumerate() {
                let now = start + Duration::from_secs(slice);
                window.add(now, BAD);
                check(&window, now, (cleared as u64 % 20 + 1).min(10), (cleared as u64 % 20 + 1).min(10));
                if cleared % 20 == 19 {
                    window.clear();
                }
            }
        }
    }

    #[test]
    fn a_thread_that_comes_too_late_takes_nothing_from_a_younger_slice() {
        for slice in [100, NUMBER_MASK / 2, NUMBER_MASK, NUMBER_MASK + 5] {
            let start = Instant::now();
            let window = Window::new(SPAN, start);
            let now = start + Duration::from_secs(slice);
            window.add(now, GOOD);
            window.add(now - SPAN, BAD);
            check(&window, now, 1, 0);
        }
    }

    #[test]
    fn spans_of_any_length_work() {
        let start = Instant::now();
        for span in [Duration::ZERO, Duration::from_nanos(3), Duration::MAX] {
            let window = Window::new(span, start);
            window.add(start, GOOD);
            check(&window, start, 1, 0);
        }
    }

    #[test]
    fn threads_lose_no_count() {
        let start = Instant::now();
        let window = Window::new(SPAN, start);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let window = &window;
                scope.spawn(move || {
                    for round in 0..10_000_u64 {
                        window.add(start + Duration::from_micros(round * 500), if thread == 0 { BAD } else { GOOD });
                    }
                });
            }
        });
        check(&window, start + Duration::from_secs(5), 40_000, 10_000);
    }
}
