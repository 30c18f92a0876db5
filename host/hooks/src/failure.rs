//! Why a plugin call gave no answer: a closed set, because it is a metric label.

use std::fmt;

/// Why a call failed. The text of [`FailureReason::as_str`] is the `reason` label of
/// `watchgate_plugin_failures_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The guest trapped (panic, unreachable, out of bounds ...).
    Trap,
    /// The guest used up its CPU budget and was stopped.
    CpuTimeout,
    /// The wall deadline of the call passed.
    WallTimeout,
    /// The guest wanted more memory than it may have.
    Memory,
    /// The result, an edit or an export did not keep the contract.
    InvalidOutput,
    /// The guest itself answered with an error.
    GuestError,
    /// No instance came free within the wall deadline.
    NoCapacity,
    /// The plugin is quarantined for a while after repeated interrupts and was not called.
    Quarantined,
    /// A fresh instance could not be made or its `start` failed.
    Start,
    /// Too many or too large host calls.
    HostCalls,
}

impl FailureReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Trap,
        Self::CpuTimeout,
        Self::WallTimeout,
        Self::Memory,
        Self::InvalidOutput,
        Self::GuestError,
        Self::NoCapacity,
        Self::Quarantined,
        Self::Start,
        Self::HostCalls,
    ];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::CpuTimeout => "cpu_timeout",
            Self::WallTimeout => "wall_timeout",
            Self::Memory => "memory",
            Self::InvalidOutput => "invalid_output",
            Self::GuestError => "guest_error",
            Self::NoCapacity => "no_capacity",
            Self::Quarantined => "quarantined",
            Self::Start => "start",
            Self::HostCalls => "host_calls",
        }
    }
}

/// A failed plugin call. It is always the plugin's fault; `detail` is one sentence for operators and never holds
/// message content.
#[derive(Clone, Debug, thiserror::Error)]
pub struct HookFailure {
    /// The class of failure.
    pub reason: FailureReason,
    /// One sentence.
    pub detail: String,
}

impl HookFailure {
    /// A failure with its sentence.
    pub fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for HookFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.reason.as_str(), self.detail)
    }
}
