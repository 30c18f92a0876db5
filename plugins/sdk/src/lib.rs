//! What authors of Watchgate plugins use: the contract of `wit/` with a trait for each kind, and `export_plugin!`.
//!
//! A plugin is a type that implements [`Plugin`] and the trait of each kind it wants to be, and one line that exports it:
//!
//! ```
//! use watchgate_plugin::{Message, Plugin, RedactionPolicy, Setup, Verdict, export_plugin};
//!
//! struct NoShouting;
//!
//! impl Plugin for NoShouting {
//!     fn start(setup: &Setup) -> Result<Self, String> {
//!         setup.want_tool("say");
//!         Ok(Self)
//!     }
//! }
//!
//! impl RedactionPolicy for NoShouting {
//!     fn redact(&mut self, message: &Message) -> Verdict {
//!         if message.body().ends_with(b"!") { Verdict::Deny("too loud".to_owned()) } else { Verdict::Pass }
//!     }
//! }
//!
//! export_plugin!(NoShouting: redaction);
//! # fn main() {}
//! ```
//!
//! `docs/plugins.md` in the repository is the guide: build, settings, limits, and what to do when a plugin is refused.
//!
//! Make the crate a `cdylib` and build it with `cargo build --release --target wasm32-wasip2`; the result is a component. (For
//! `wasm32-unknown-unknown` turn the module into one with `wasm-tools component new`; it then imports nothing of WASI.)
//!
//! | kind | trait |
//! |---|---|
//! | `redaction` | [`RedactionPolicy`] |
//! | `derivation` | [`MetricDerivation`] |
//! | `collection` | [`MetricCollection`], besides `derivation` |
//! | `health` | [`HealthCheck`] |
//! | `alerting` | [`AlertAction`] |
//!
//! Off the Wasm targets everything compiles, so that plugins can be unit-tested; functions that would call the gateway panic there.

#[doc(hidden)]
pub mod bindings;
mod config;
mod export;
mod log;
pub mod matching;
pub mod mcp_client;
mod message;
mod metrics;
mod plugin;

pub use bindings::health::exports::watchgate::plugin::health::{Report, Status};
pub use bindings::imports::watchgate::plugin::alerts::Alert;
pub use bindings::imports::watchgate::plugin::log::Level;
pub use bindings::imports::watchgate::plugin::messages::{Direction, Kind, Message, Surface};
pub use bindings::imports::watchgate::plugin::metrics::{Counter, Gauge, Histogram};
pub use bindings::imports::watchgate::plugin::operations::{ContentCount, Operation};
pub use bindings::imports::watchgate::plugin::startup::Setup;
pub use bindings::redaction::exports::watchgate::plugin::redaction::Verdict;
pub use config::ConfigError;
#[doc(hidden)]
pub use export::__unused;
pub use log::write_log;
pub use matching::Match;
pub use plugin::{AlertAction, HealthCheck, MetricCollection, MetricDerivation, Plugin, RedactionPolicy};

/// The plugins in the guide compile: its code blocks are tests of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/plugins.md")]
struct Guide;
