//! The traits a plugin implements: `Plugin`, and one for each kind.

use crate::{Alert, Message, Operation, Report, Setup, Verdict};

/// A plugin of any kind: how one instance of it comes into being.
pub trait Plugin: Sized + 'static {
    /// Called once for each instance, before anything else. It reads the settings ([`Setup::config_as`]), says what the plugin wants to see
    /// and declares its metrics. The gateway makes several instances of a redaction policy, so it must do the same each time.
    ///
    /// # Errors
    /// One sentence for operators; the plugin is then refused.
    fn start(setup: &Setup) -> Result<Self, String>;
}

/// Kind `redaction`: sees messages inline and may change or deny them. A trap or a timeout denies the message.
pub trait RedactionPolicy: Plugin {
    /// Called for every message the plugin wants. Keep no message content in `self`: which instance sees which message is not defined.
    fn redact(&mut self, message: &Message) -> Verdict;
}

/// Kind `derivation`: sees every finished operation, off the request path, and derives metrics of its own.
pub trait MetricDerivation: Plugin {
    /// Called for each finished operation, one after the other, always on the same instance until the plugin fails or is replaced.
    fn observe(&mut self, operation: &Operation);
}

/// Kind `collection`: besides `derivation`, computes values on a timer.
pub trait MetricCollection: MetricDerivation {
    /// Called every `collect_interval`, never during `observe`.
    fn collect(&mut self);
}

/// Kind `health`: says how well something is.
pub trait HealthCheck: Plugin {
    /// Called on the check's schedule, never twice at once.
    fn check(&mut self) -> Report;
}

/// Kind `alerting`: carries an alert to somebody.
pub trait AlertAction: Plugin {
    /// Called when an alert fires, repeats or is resolved.
    ///
    /// # Errors
    /// One sentence; the gateway then tries again with back-off.
    fn notify(&mut self, alert: &Alert) -> Result<(), String>;
}
