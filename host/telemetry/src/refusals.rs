//! What is refused before it is known which server it is for: connections, and requests of strangers.

use crate::families::Families;
use crate::words::{ConnectionRefusal, CounterByWord, GuardRefusal};

/// Counters that all exist from the start: a flood of refusals must cost as little as possible.
pub(crate) struct Refusals {
    pub connections: CounterByWord<ConnectionRefusal>,
    pub guard: CounterByWord<GuardRefusal>,
}

impl Refusals {
    pub fn new(families: &Families) -> Self {
        Self {
            connections: CounterByWord::new(|reason| families.connections_refused.with(&[reason])),
            guard: CounterByWord::new(|reason| families.guard_refused.with(&[reason])),
        }
    }
}
