//! Why a command did not do what it was told, as one line and an exit code.

use std::io;

use thiserror::Error;

/// Why a command ends otherwise than well.
#[derive(Debug, Error)]
pub enum Failure {
    /// What was asked for is not there, or does not hold.
    #[error("{0}")]
    NotMet(String),
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The gateway cannot be reached, or does not answer as one.
    #[error("{0}")]
    Unreachable(String),
    /// Nobody reads what is printed any more, which is no mistake.
    #[error("nobody reads the output")]
    ClosedPipe,
    /// What is to be printed cannot be.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
}

impl Failure {
    /// The exit code; 64 and 69 are `EX_USAGE` and `EX_UNAVAILABLE` of sysexits.h.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::NotMet(_) | Self::Output(_) => 1,
            Self::Usage(_) => 64,
            Self::Unreachable(_) => 69,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::ClosedPipe } else { Self::Output(error) }
    }
}
