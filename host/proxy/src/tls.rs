//! TLS on both sides: certificates from files, read again when they change.
//!
//! [`server`] is TLS towards clients, [`client`] towards servers; each holds a rustls configuration that is swapped whole, so that open
//! connections go on with what they began with. [`stream`] is what HTTP then runs on. Nothing here has a deadline: the callers have one for
//! the connection as a whole.

pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod server;
pub(crate) mod stream;

mod authorities;
mod certificate;
mod files;
pub(crate) mod reloaded;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Given to every configuration by hand: the process has no default provider, so that another part of it cannot change this one.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The protocols to negotiate, the preferred one first.
fn alpn(http2: bool) -> Vec<Vec<u8>> {
    let http1 = b"http/1.1".to_vec();
    if http2 { vec![stream::ALPN_HTTP2.to_vec(), http1] } else { vec![http1] }
}
