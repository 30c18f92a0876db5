//! One check and what it found, as operators see it.

use serde::Serialize;

/// What does the checking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// The gateway looks at itself.
    Core,
    /// The gateway probes a configured server.
    Upstream,
    /// A health plugin.
    Plugin,
}

impl CheckKind {
    /// The name in JSON and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Upstream => "upstream",
            Self::Plugin => "plugin",
        }
    }
}

/// How a check stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Somebody should look.
    Degraded,
    /// It does not work.
    Failing,
    /// The check has not run yet, or could not tell.
    Unknown,
}

impl CheckStatus {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The server's, the plugin's or the core check's name; unique within its kind.
    pub name: String,
    /// What does the checking.
    pub kind: CheckKind,
    /// How it stands.
    pub status: CheckStatus,
    /// One sentence.
    pub detail: String,
    /// Since when it stands so, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it last ran, milliseconds since the Unix epoch; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_at_ms: Option<u64>,
    /// How many times in a row it could not tell.
    #[serde(skip_serializing_if = "is_zero")]
    pub unknown_in_a_row: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Something of the gateway's own that health shows, a check of kind `core`. It is asked for each snapshot, so it must not block.
pub trait OwnCheck: Send + Sync {
    /// The check's name.
    fn name(&self) -> &'static str;

    /// How it stands, and one sentence; `None` while there is nothing to check.
    fn look(&self) -> Option<(CheckStatus, String)>;
}

/// What one run of a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub status: CheckStatus,
    pub detail: String,
}

impl Finding {
    pub fn new(status: CheckStatus, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}
