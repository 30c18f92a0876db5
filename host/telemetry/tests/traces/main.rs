//! Traces as they leave the gateway: through real exporters to real receivers, good ones and bad ones.

#![allow(clippy::unwrap_used)]

mod bad_days;
mod collector;
mod endings;
mod grpc_collector;
mod logged;
mod otlp;
mod scene;
mod secure;
mod zipkin;
