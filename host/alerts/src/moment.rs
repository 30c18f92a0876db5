//! What time it is, as it is handed in: this room reads no clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Time since some fixed point in this process; never goes back. Windows, `for` and back-off are measured on it, because the wall clock
    /// may be set.
    pub elapsed: Duration,
    /// What is shown to people.
    pub wall: SystemTime,
}

/// Reads both clocks. The gateway hands in the real ones, tests their own.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;
