//! Why a file does not go live: the closed set of reason codes, the same in the log, the metrics and the status.

use std::fmt;

use watchgate_sandbox::{LoadCode, LoadError};

use crate::manifest::ManifestError;
use crate::sighting::FileProblem;

/// The code of a refusal. What the sandbox finds keeps the sandbox's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The file cannot be read, or a link points nowhere.
    Unreadable,
    /// A directory, pipe, socket or device has the name of a plugin.
    NotAFile,
    /// The component is over 64 MiB, or its settings over 1 MiB.
    TooLarge,
    /// A component's name cannot be a plugin's name.
    BadName,
    /// Somebody was still writing the file when the gateway had to start.
    StillChanging,
    /// `NAME.toml` holds mistakes.
    BadSettings,
    /// The component lacks a kind that the live generation has, and its settings do not list `kinds`.
    KindLost,
    /// It took longer to load than any plugin should.
    LoadTimeout,
    /// The gateway itself failed while loading it.
    Internal,
    /// The sandbox refused it.
    Sandbox(LoadCode),
}

impl Reason {
    /// The codes that are the catalog's own.
    const OWN: [Self; 9] = [
        Self::Unreadable,
        Self::NotAFile,
        Self::TooLarge,
        Self::BadName,
        Self::StillChanging,
        Self::BadSettings,
        Self::KindLost,
        Self::LoadTimeout,
        Self::Internal,
    ];

    /// Every code there is.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::OWN.into_iter().chain(LoadCode::ALL.into_iter().map(Self::Sandbox))
    }

    /// The code in kebab case: the `reason` label of `watchgate_reload_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NotAFile => "not-a-file",
            Self::TooLarge => "too-large",
            Self::BadName => "bad-name",
            Self::StillChanging => "still-changing",
            Self::BadSettings => "bad-settings",
            Self::KindLost => "kind-lost",
            Self::LoadTimeout => "load-timeout",
            Self::Internal => "internal",
            Self::Sandbox(code) => code.as_str(),
        }
    }

    /// Whether the same files may be accepted later. All else is not tried again before a file changes.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Unreadable | Self::Sandbox(LoadCode::NoCapacity))
    }
}

/// A refusal with its sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class.
    pub reason: Reason,
    /// For operators; never holds settings' values or file contents.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// A problem of the file called `file`.
    pub fn of_file(file: &str, problem: &FileProblem) -> Self {
        match problem {
            FileProblem::NotAFile => Self::new(Reason::NotAFile, format!("{file} is not a regular file")),
            FileProblem::TooLarge(size) => Self::new(Reason::TooLarge, format!("{file} has {size} bytes")),
            FileProblem::Unreadable(error) => Self::new(Reason::Unreadable, format!("{file}: {error}")),
        }
    }
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        Self { reason: Reason::Sandbox(error.code), detail: error.detail }
    }
}

impl From<ManifestError> for Refusal {
    fn from(error: ManifestError) -> Self {
        Self::new(Reason::BadSettings, error.to_string())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.reason.as_str(), self.detail)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use watchgate_telemetry::{Label, MetricName, label_values};

    use super::Reason;

    #[test]
    fn every_code_is_its_own_and_in_kebab_case() {
        let codes: Vec<&str> = Reason::all().map(Reason::as_str).collect();
        let distinct: BTreeSet<&str> = codes.iter().copied().collect();
        assert_eq!(codes.len(), distinct.len(), "{codes:?}");
        for code in codes {
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code}");
        }
        let documented = label_values(MetricName::Reloads, Label::Reason).unwrap_or_default();
        assert_eq!(documented.into_iter().collect::<BTreeSet<_>>(), distinct);
    }
}
