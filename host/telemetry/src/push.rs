//! Pushing telemetry to a collector: how the operator says where to, and what can go wrong on the way.

mod client;
mod config;
mod connection;
mod courier;
mod endpoint;
mod error;
mod grpc;
mod haste;
mod tls;
mod worker;

pub(crate) use client::Transport;
pub use config::{Compression, HeaderValueText, PushConfig, PushTls};
pub(crate) use courier::{Courier, Payload};
pub use error::PushConfigError;
pub(crate) use worker::Worker;
