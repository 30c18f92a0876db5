//! The proxy with hand-written redaction policies: the table of denials, redaction of documents and events, and policies
//! that come while a stream is open. No wasmtime here.

#![allow(clippy::unwrap_used)]

mod denials;
mod redaction;
mod rig;
