//! Alerting: which conditions on the metrics operators want to hear of, where each alert stands, and who has been told.
//!
//! It owns the rules, the state machine of an alert (pending, firing, resolved) and delivery with retries to the alert plugins that are
//! live. It must not know sockets, configuration files, Wasm or how metrics come about, and it reads no clock: [`Clock`] is handed in.
//! [`Evaluator`] is pure; [`Alerts`] is the loop around it.

mod condition;
mod config;
mod courier;
mod delivery;
mod evaluator;
mod fingerprint;
mod moment;
mod outbox;
mod rate;
mod rule;
mod schedule;
mod select;
mod status;

pub use config::{AlertsConfig, AlertsConfigError};
pub use evaluator::{Evaluator, MAX_ALERTS_PER_RULE};
pub use moment::{Clock, Moment};
pub use rule::{Operator, Rule, RuleKind};
pub use schedule::Alerts;
pub use status::{ActiveAlert, AlertPhase, AlertsSnapshot, RuleStatus};
