//! The whole proxy in this process, between scripted servers and real clients: redaction policies written by hand, many endpoints of a server,
//! limits, breakers, sessions, HTTP/2, TLS, compression, reload and drain. No wasmtime here.

#![allow(clippy::unwrap_used)]

mod admission;
mod balancing;
mod breakers;
mod compression;
mod denials;
mod drain;
mod failing;
mod hosts;
mod http2;
mod http2_peers;
mod http2_upstream;
mod idle;
mod limits;
mod policy;
mod protected;
mod redaction;
mod reload;
mod restarts;
mod rig;
mod sessions;
mod tls;
mod tls_peers;
mod trailers;
