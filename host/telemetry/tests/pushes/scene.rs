//! A gateway's telemetry that pushes, and what it has to say.

use std::sync::Arc;
use std::time::Duration;

use watchgate_telemetry::{LogsPushConfig, MetricsPushConfig, OtlpProtocol, PushConfig, Telemetry, TelemetryConfig};

#[path = "../room/scene.rs"]
#[allow(dead_code, reason = "the tests of the room need more of it")]
mod facts;

pub use facts::{exchange, tool_call};

/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(30);
/// Longer than any test: what is pushed is pushed by a flush.
const NEVER: Duration = Duration::from_secs(3600);

pub fn push(url: &str) -> PushConfig {
    PushConfig { endpoint: url.to_owned(), timeout: Duration::from_secs(5), ..PushConfig::default() }
}

/// Metrics go there when they are flushed.
pub fn metrics_to(url: &str, protocol: OtlpProtocol) -> Arc<Telemetry> {
    let metrics_push = Some(MetricsPushConfig { protocol, push: push(url), interval: NEVER });
    Telemetry::new(TelemetryConfig { metrics_push, servers: vec!["weather".into()], ..TelemetryConfig::default() }).unwrap()
}

pub fn logs_push(url: &str, protocol: OtlpProtocol) -> Option<LogsPushConfig> {
    Some(LogsPushConfig { protocol, push: push(url), interval: NEVER, ..LogsPushConfig::default() })
}

/// The value of a counter by signal and reason.
pub fn dropped(telemetry: &Telemetry, signal: &str, reason: &str) -> f64 {
    let snapshot = telemetry.snapshot();
    let mut series = snapshot.of("watchgate_telemetry_dropped_total");
    let found = series.find(|series| series.label("signal") == signal && series.label("reason") == reason);
    found.unwrap_or_else(|| panic!("{signal} {reason}")).value
}
