//! The host's side of the contract: one module for each interface that plugins import.

mod alert;
mod log;
mod mcp_client;
mod message;
mod metrics;
mod operation;
mod setup;

use watchgate_hooks::{Alert, EditDraft, Message, Operation, Surface};

pub(crate) use metrics::DeclaredMetric;
pub use metrics::{CounterHandle, GaugeHandle, HistogramHandle};
pub(crate) use setup::Draft;

/// What a store holds for the length of one call. There is at most one, so the guest's handle says nothing and its number is 0.
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation for each message, and there is one loan an instance")]
pub(crate) enum Loan {
    /// Calls that are lent nothing: `check`, `collect`; `start` has its [`Draft`].
    Nothing,
    /// `redact`.
    Message {
        /// The message.
        message: Message,
        /// What the policy did to it so far.
        edits: EditDraft,
    },
    /// `observe`.
    Operation(Box<Operation>),
    /// `notify`.
    Alert(Box<Alert>),
}

impl Loan {
    /// Whether it is text about to leave as telemetry.
    pub(crate) fn is_telemetry(&self) -> bool {
        matches!(self, Self::Message { message, .. } if message.surface == Surface::Telemetry)
    }

    /// Bytes of the message that is lent.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Message { message, .. } => message.body.len(),
            Self::Nothing | Self::Operation(_) | Self::Alert(_) => 0,
        }
    }
}

/// Stands for `messages.message`.
pub enum LentMessage {}
/// Stands for `operations.operation`.
pub enum LentOperation {}
/// Stands for `alerts.alert`.
pub enum LentAlert {}
/// Stands for `startup.setup`.
pub enum LentSetup {}

/// The number of every lent handle.
pub(crate) const LENT: u32 = 0;

/// A guest used a handle of something that it was not lent. The component's own types make this impossible within a call.
#[derive(Debug, thiserror::Error)]
#[error("the call was lent no {0}")]
pub(crate) struct NotLent(&'static str);
