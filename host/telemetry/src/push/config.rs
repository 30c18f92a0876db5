//! Where telemetry is pushed to, as the operator says it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// With gzip.
    Gzip,
}

/// The value of a header, which may be a credential: `Debug` shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct HeaderValueText(pub String);

impl fmt::Debug for HeaderValueText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// Whom to trust at an `https` endpoint, and what to show there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushTls {
    /// A PEM file of certificates to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of a client certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Where to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushConfig {
    /// `http://HOST[:PORT][/PATH]` or `https://...`. A URL without a path gets the usual one of its protocol, for example
    /// `/v1/traces`; gRPC has no use for a path.
    pub endpoint: String,
    /// Sent with every request.
    pub headers: Vec<(String, HeaderValueText)>,
    /// For `https`.
    pub tls: PushTls,
    /// How bodies are compressed.
    pub compression: Compression,
    /// For one request, connecting included.
    pub timeout: Duration,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            headers: Vec::new(),
            tls: PushTls::default(),
            compression: Compression::None,
            timeout: Duration::from_secs(10),
        }
    }
}
