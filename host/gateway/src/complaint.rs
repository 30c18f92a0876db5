//! One mistake of the operator, with its place.

use std::fmt;
use std::path::PathBuf;

/// Where a mistake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the configuration file, from 1.
    File(PathBuf, usize),
    /// The file as a whole.
    WholeFile(PathBuf),
    /// A flag, or the environment variable that stands for it.
    Flag(&'static str),
    /// What came out of all of them together.
    Together,
}

/// One mistake: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where.
    pub place: Place,
    /// What.
    pub text: String,
}

impl Complaint {
    /// A mistake in a flag.
    pub fn flag(flag: &'static str, text: impl Into<String>) -> Self {
        Self { place: Place::Flag(flag), text: text.into() }
    }

    /// A mistake that no single place makes.
    pub fn together(text: impl Into<String>) -> Self {
        Self { place: Place::Together, text: text.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path, line) => write!(out, "{}:{line}: {}", path.display(), self.text),
            Place::WholeFile(path) => write!(out, "{}: {}", path.display(), self.text),
            Place::Flag(flag) => write!(out, "{flag}: {}", self.text),
            Place::Together => out.write_str(&self.text),
        }
    }
}
