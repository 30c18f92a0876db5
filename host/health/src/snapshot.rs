//! How the gateway stands at one moment, ready to be written as JSON.

use std::time::Duration;

use serde::Serialize;
use serde::ser::Serializer;

use crate::check::Check;
use crate::verdict::Overall;

/// What `/health` shows.
#[derive(Clone, Debug, Serialize)]
pub struct HealthSnapshot {
    /// The aggregate.
    pub status: Overall,
    /// The process serves. There is no snapshot in which this is false.
    pub live: bool,
    /// Traffic may come.
    pub ready: bool,
    /// The first scan of the plugin folder is over and listeners are open.
    pub startup: bool,
    /// Why traffic should not come; empty when ready.
    pub not_ready_because: Vec<String>,
    /// Every check, by kind and name.
    pub checks: Vec<Check>,
    /// The version of the gateway.
    pub version: &'static str,
    /// Time since start; in JSON `uptime_seconds`.
    #[serde(rename = "uptime_seconds", serialize_with = "seconds")]
    pub uptime: Duration,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Milliseconds are enough, and shorter to read.
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}
