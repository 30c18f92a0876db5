//! Pushing telemetry to a collector: how the operator says where to, and what can go wrong on the way.

mod config;

pub use config::{Compression, HeaderValueText, PushConfig, PushTls};
