//! What can be wrong with a target's configuration, and what can go wrong on the way there.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::words::PushLoss;

/// Why nothing can be pushed with this configuration: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum PushConfigError {
    /// The endpoint is no URL to push to.
    #[error("`{endpoint}` is no endpoint to export to: {reason}; write it as http://HOST:PORT or https://HOST:PORT/PATH")]
    Endpoint {
        /// As configured, without what may be a password.
        endpoint: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A header's name or value cannot be sent.
    #[error("the header `{0}` cannot be sent: names are tokens, values have no control characters")]
    Header(String),
    /// A file for TLS cannot be read or used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The thread that exports cannot be started.
    #[error("cannot start the thread that exports: {0}")]
    Thread(io::Error),
}

/// Why a batch did not get through. The texts hold nothing of its content and no header's value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeliveryError {
    /// There is no connection, or it broke.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// It took longer than the configured timeout.
    #[error("no answer in time")]
    TimedOut,
    /// The collector asks to be left alone for a while.
    #[error("the collector is busy: {answer}")]
    Busy {
        /// What it answered.
        answer: String,
        /// When to try again at the earliest.
        retry_after: Option<Duration>,
    },
    /// The collector does not want this batch, and would not want it later.
    #[error("the collector refuses: {0}")]
    Refused(String),
    /// What answers is something else.
    #[error("what answers there is no collector of this protocol: {0}")]
    NotACollector(String),
}

impl DeliveryError {
    /// Whether the same batch may get through later.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut | Self::Busy { .. })
    }

    /// The word by which lost records are counted.
    pub const fn loss(&self) -> PushLoss {
        match self {
            Self::Unreachable(_) => PushLoss::Unreachable,
            Self::TimedOut => PushLoss::Timeout,
            Self::Busy { .. } => PushLoss::Busy,
            Self::Refused(_) => PushLoss::Refused,
            Self::NotACollector(_) => PushLoss::NotACollector,
        }
    }

    /// When to try again at the earliest, where the collector said so.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
