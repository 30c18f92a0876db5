//! Three rings of records that share one bound: who takes more than its share gives way first.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::trace::config::RecentConfig;
use crate::trace::record::TraceRecord;

/// The rings, in the order in which they give way: normal exchanges, slow ones and those asked for, failed ones.
const RINGS: usize = 3;
const NORMAL: usize = 0;
const SLOW: usize = 1;
const FAILED: usize = 2;
/// What part of the store is each ring's to keep, as a divisor; what one does not use, the others may.
const SHARES: [usize; RINGS] = [4, 4, 2];

pub(super) struct Rings {
    bounds: RecentConfig,
    rings: [Ring; RINGS],
    /// Records are numbered as they come, because a clock may step back.
    next: u64,
}

#[derive(Default)]
struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
}

struct Entry {
    number: u64,
    bytes: usize,
    record: Arc<TraceRecord>,
}

impl Rings {
    pub fn new(bounds: RecentConfig) -> Self {
        Self { bounds, rings: Default::default(), next: 0 }
    }

    /// Adds a record that fits into an empty store, and takes out what has to go.
    pub fn add(&mut self, record: Arc<TraceRecord>, bytes: usize) -> Vec<Arc<TraceRecord>> {
        let ring = match () {
            () if record.is_error => FAILED,
            () if record.is_slow || record.is_forced => SLOW,
            () => NORMAL,
        };
        let number = self.next;
        self.next += 1;
        self.rings[ring].entries.push_back(Entry { number, bytes, record });
        self.rings[ring].bytes += bytes;
        let mut evicted = Vec::new();
        while let Some(ring) = self.over_bound() {
            let Some(entry) = self.rings[ring].entries.pop_front() else { break };
            self.rings[ring].bytes -= entry.bytes;
            evicted.push(entry.record);
        }
        evicted
    }

    /// Every record, the latest first.
    pub fn newest_first(&self) -> Vec<Arc<TraceRecord>> {
        let count = self.rings.iter().map(|ring| ring.entries.len()).sum();
        let mut records = Vec::with_capacity(count);
        let mut rings = self.rings.each_ref().map(|ring| ring.entries.iter().rev().peekable());
        while let Some(newest) = rings
            .iter_mut()
            .filter_map(|ring| ring.peek().map(|entry| entry.number).map(|number| (number, ring)))
            .max_by_key(|(number, _)| *number)
            .and_then(|(_, ring)| ring.next())
        {
            records.push(newest.record.clone());
        }
        records
    }

    /// The ring furthest above its share, if the store as a whole is over a bound.
    fn over_bound(&self) -> Option<usize> {
        let count = self.rings.iter().map(|ring| ring.entries.len()).sum::<usize>();
        let bytes = self.rings.iter().map(|ring| ring.bytes).sum::<usize>();
        let used: fn(&Ring) -> usize = if count > self.bounds.count {
            |ring| ring.entries.len()
        } else if bytes > self.bounds.bytes {
            |ring| ring.bytes
        } else {
            return None;
        };
        // Of equals the last is the greatest for `max_by_key`, so that the first to give way comes last.
        (0..RINGS).rev().max_by_key(|ring| used(&self.rings[*ring]).saturating_mul(SHARES[*ring]))
    }
}
