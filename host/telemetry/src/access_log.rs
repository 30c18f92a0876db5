//! The access log: one JSON object a line for each exchange.

mod field;
mod line;
mod slow;

use std::path::PathBuf;

use crate::sink::{Output, Rotation};

pub use field::{AccessField, FieldKind, UnknownField};
pub(crate) use line::{AccessRecord, Members, milliseconds};
pub(crate) use slow::SlowCalls;
pub use slow::is_call;

/// Where access lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// Appended to this file, which is made when absent.
    File(PathBuf),
    /// Nowhere: none are made, so none are remembered or pushed either.
    #[default]
    Off,
}

impl AccessLogTarget {
    pub(crate) fn output(&self, rotation: Option<Rotation>) -> Option<Output> {
        match self {
            Self::Stdout => Some(Output::Stdout),
            Self::File(path) => Some(Output::File { path: path.clone(), rotation }),
            Self::Off => None,
        }
    }
}
