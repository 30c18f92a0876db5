//! The promise of the operators' listener, over real sockets.
#![allow(clippy::unwrap_used)]

mod access;
mod answers;
mod bounds;
mod insight;
mod scene;
