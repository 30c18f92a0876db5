//! What can be wrong with a push: the operator's configuration before, the collector or the way to it after.

use std::path::PathBuf;
use std::time::Duration;

/// Why a push cannot be set up: the operator's configuration.
#[derive(Debug, thiserror::Error)]
pub enum PushConfigError {
    /// No `http://` or `https://` URL with a host; credentials do not belong there.
    #[error("`{0}` is no endpoint: write http://HOST:PORT or https://HOST:PORT, and credentials as headers")]
    Endpoint(String),
    /// The name or the value cannot stand in an HTTP header.
    #[error("`{0}` cannot be sent as a header")]
    Header(String),
    /// The file has no usable certificate or key.
    #[error("cannot use {} for TLS: {reason}", path.display())]
    Tls {
        /// The configured file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no thread to push on.
    #[error("cannot start the thread that pushes: {0}")]
    Thread(std::io::Error),
}

/// Why a request was in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The next try may be luckier; not before `after`, where the collector said so.
    Passing { why: String, after: Option<Duration> },
    /// So will be every other try.
    Final { why: String },
}

impl Failure {
    pub fn passing(why: impl ToString) -> Self {
        Self::Passing { why: why.to_string(), after: None }
    }

    pub fn last(why: impl ToString) -> Self {
        Self::Final { why: why.to_string() }
    }

    pub fn why(&self) -> &str {
        match self {
            Self::Passing { why, .. } | Self::Final { why } => why,
        }
    }
}
