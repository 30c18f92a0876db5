//! Health: is the gateway alive, ready, and do the servers behind it answer?
//!
//! It owns the checks (upstream probes, health plugins, the state of the plugins), their schedule, readiness and the aggregate. It must not
//! know the proxy or the admin listener: it reaches servers through `UpstreamCalls` and is asked through [`Health::snapshot`].

mod check;
mod contained;
mod health;
mod pace;
mod plugin_checks;
mod plugin_states;
mod probe;
mod results;
mod server_checks;
mod snapshot;
mod verdict;

pub use check::{Check, CheckKind, CheckStatus, OwnCheck};
pub use health::{Health, HealthConfig};
pub use snapshot::HealthSnapshot;
pub use verdict::{Overall, UNKNOWN_COUNTS_AS_FAILING};
