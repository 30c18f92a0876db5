//! The room that runs plugins: WebAssembly components in wasmtime, each call bounded in CPU time, wall time, memory, output and host
//! calls, with nothing linked that is not granted.
//!
//! [`Sandbox::load`] turns bytes and [`PluginSettings`] into a [`Candidate`], which is tried out and then goes live as the four traits
//! of `hooks`. The room reads no files but its compile cache and knows no HTTP server; which plugins there are is the catalog's.

mod bindings;
mod candidate;
mod capacity;
mod code;
mod egress;
mod engine;
mod exports;
mod failure;
mod generation;
mod hooks;
mod host;
mod instance;
mod limiter;
mod link;
mod meter;
mod plugin;
mod plugin_log;
mod quarantine;
mod refusal;
mod samples;
mod sandbox;
mod settings;
mod slots;
mod state;
mod stdio;
mod ticker;
mod trial;
mod verify;

pub use candidate::{Candidate, LivePlugin};
pub use engine::PoolConfig;
pub use refusal::{LoadCode, LoadError, SandboxError};
pub use sandbox::{PoolUsage, Sandbox, SandboxConfig};
pub use settings::{Grants, Isolation, Limits, PluginSettings};
