//! End-to-end tests: the real binary between real sockets, one executable so that it links once.
#![allow(clippy::unwrap_used)]

mod drain;
mod hostile;
mod messages;
mod outcomes;
mod peers;
mod relay;
mod routing;
mod startup;
mod streams;
mod upstream_errors;
