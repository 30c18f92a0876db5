//! How near the process is to what it may have at once, over all servers.

use prometheus::{IntCounter, IntGauge};

use crate::families::Families;
use crate::telemetry::Telemetry;

/// Handles for bounds that belong to no server.
pub struct ProcessBounds {
    connections_limit: IntGauge,
    connections_waited: IntCounter,
    held_bytes: IntGauge,
}

impl Telemetry {
    /// The handles for what the process may have at once.
    pub fn process_bounds(&self) -> ProcessBounds {
        ProcessBounds::new(self.families())
    }
}

impl ProcessBounds {
    fn new(families: &Families) -> Self {
        Self {
            connections_limit: families.connections_limit.with(&[]),
            connections_waited: families.connections_waited.with(&[]),
            held_bytes: families.held_bytes.with(&[]),
        }
    }

    /// So many client connections may be open at once from now on.
    pub fn connections_limited(&self, limit: usize) {
        self.connections_limit.set(to_gauge(limit));
    }

    /// A client connection has to wait for another to end.
    pub fn connection_waits(&self) {
        self.connections_waited.inc();
    }

    /// So many bytes of messages are held whole.
    pub fn holding(&self, bytes: usize) {
        self.held_bytes.set(to_gauge(bytes));
    }
}

fn to_gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
