//! The operators' listener: metrics, traces, logs, health, plugins and alerts over HTTP, and the few things operators can have done.
//!
//! It owns the HTTP API, who may use it, and [`Commands`], what it can ask the gateway for. It must not know the proxy, the sandbox or the
//! catalog: it shows what other rooms post, and commands through a trait.

mod answer;
mod breakers;
mod commands;
mod compressed;
mod cpu_profile;
mod guard;
mod heap_profile;
mod log_level;
mod logs;
mod operator_api;
mod percent;
mod profile_format;
mod query;
mod route;
mod runtime_tasks;
mod secret;
mod server;
mod time_text;
mod traces;

pub use commands::{Breaker, BreakerWish, Commands, ConfigComplaint, ConfigReload, NoSuchEndpoint};
pub use operator_api::AdminState;
pub use route::is_taken;
pub use secret::Secret;
pub use server::{Admin, AdminError};
pub use time_text::parse_duration;
