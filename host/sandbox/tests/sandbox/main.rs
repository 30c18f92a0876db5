//! The promises of the sandbox, kept against components built from `tests/guests` and some made by hand.

#![allow(clippy::unwrap_used)]

mod bounds;
mod evil;
mod handmade;
mod kinds;
mod log;
mod metrics;
mod neighbours;
mod network;
mod quarantine;
mod refusals;
mod reuse;
mod rig;
