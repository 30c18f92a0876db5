//! Metrics and logs as they leave the gateway by OTLP: through real exporters to real receivers.

#![allow(clippy::unwrap_used)]

#[path = "../traces/collector.rs"]
#[allow(dead_code, reason = "the tests of traces need more of it")]
mod collector;
#[path = "../room/everything.rs"]
mod everything;
#[path = "../room/exposition.rs"]
#[allow(dead_code, reason = "the tests of the scrape need more of it")]
mod exposition;
mod grpc;
mod logs;
mod metrics;
mod scene;
