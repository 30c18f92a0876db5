//! One alert from the moment its condition first holds: pending, firing, over. Pure.

use std::time::{Duration, SystemTime};

use crate::moment::Moment;

/// A condition that holds.
pub(crate) struct Condition {
    phase: Phase,
    value: f64,
}

enum Phase {
    Pending { since: Duration },
    Firing { started_at: SystemTime, said: Duration },
}

/// What has to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    Fires,
    StillFires,
}

impl Condition {
    /// The condition holds for the first time.
    pub fn begin(now: Moment, value: f64) -> Self {
        Self { phase: Phase::Pending { since: now.elapsed }, value }
    }

    /// The condition holds (still, or for the first time).
    pub fn hold(&mut self, now: Moment, value: f64, for_: Duration, repeat_interval: Duration) -> Option<Transition> {
        self.value = value;
        match &mut self.phase {
            Phase::Pending { since } if now.elapsed.saturating_sub(*since) >= for_ => {
                self.phase = Phase::Firing { started_at: now.wall, said: now.elapsed };
                Some(Transition::Fires)
            }
            Phase::Pending { .. } => None,
            Phase::Firing { said, .. } if now.elapsed.saturating_sub(*said) >= repeat_interval => {
                *said = now.elapsed;
                Some(Transition::StillFires)
            }
            Phase::Firing { .. } => None,
        }
    }

    /// When it began to fire; `None` while pending.
    pub fn firing_since(&self) -> Option<SystemTime> {
        match self.phase {
            Phase::Pending { .. } => None,
            Phase::Firing { started_at, .. } => Some(started_at),
        }
    }

    /// The value last compared.
    pub fn value(&self) -> f64 {
        self.value
    }
}
