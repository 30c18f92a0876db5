//! End-to-end tests: the real binary between real sockets, one executable so that it links once.
#![allow(clippy::unwrap_used)]

mod peers;
