//! The whole proxy in this process, between scripted servers and real clients: redaction policies written by hand, many endpoints of a server,
//! limits, breakers, sessions, HTTP/2, TLS, compression, reload and drain. No wasmtime here.

#![allow(clippy::unwrap_used)]

mod admission;
mod balancing;
mod bodies;
mod breakers;
mod compression;
mod connections;
mod denials;
mod drain;
mod evasions;
mod failing;
mod header_names;
mod hosts;
mod http2;
mod http2_peers;
mod http2_upstream;
mod idle;
mod late_answers;
mod limits;
mod outcomes;
mod overtaken;
mod own_paths;
mod policy;
mod protected;
mod redaction;
mod reload;
mod restarts;
mod rig;
mod sessions;
mod stalled;
mod tls;
mod tls_peers;
mod tokens;
mod told;
mod trailers;
