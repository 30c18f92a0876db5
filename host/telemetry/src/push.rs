//! Pushing telemetry to a collector, by OTLP or as JSON, so that whatever the collector does costs traffic nothing.
//!
//! [`Pusher`] gets one body to a collector. [`Outbox`] is the producers' end: a bounded queue that never blocks, and behind it a thread
//! that gathers batches, gives them to a [`Destination`] and tries again what did not get through.

mod backoff;
mod config;
mod connection;
mod error;
mod grpc;
mod health;
mod outbox;
mod pusher;
mod target;
mod tls;

pub(crate) use backoff::Patience;
pub use config::{Compression, HeaderValueText, PushConfig, PushTls};
pub(crate) use error::DeliveryError;
pub use error::PushConfigError;
pub(crate) use outbox::{Destination, ExportCounts, Outbox, OutboxSettings};
pub(crate) use pusher::{Accepted, Pusher, Transport};
