//! End-to-end tests: the real binary between real sockets, one executable so that it links once.
#![allow(clippy::unwrap_used)]

mod alerting;
mod broken;
mod captured;
mod chaos;
mod collected;
mod config_reload;
mod config_sources;
mod conformance;
mod differential;
mod drain;
mod echo;
mod examples;
mod guarded;
mod health_plugins;
mod hostile;
mod http_sse;
mod joined_traces;
mod messages;
mod observability;
mod outcomes;
mod peers;
mod peers_guarded;
mod plugins;
mod redaction;
mod refusals;
mod relay;
mod reload;
mod routing;
mod secrets;
mod secrets_in_requests;
mod soak;
mod startup;
mod streams;
mod timing;
mod upstream_errors;
