//! The seam between traffic and plugins: what a plugin kind is, in what order plugins run, what a failure means, and
//! which set of plugins is live. It knows neither HTTP nor wasmtime.
//!
//! The proxy takes the live set from [`LiveHooks`] for each message and runs its [`RedactionChain`]; the catalog builds
//! a new [`HookSet`] and swaps it in; the sandbox implements the four traits.

mod ask;
mod chain;
mod cleared;
mod derivation_queue;
mod edit;
mod envelope_check;
mod failure;
mod interest;
mod live;
mod message;
mod mirrored;
mod operation_text;
mod policy;
mod scalars;
mod status;
mod status_board;
mod string_index;
mod trigger;
mod upstream;

pub use ask::{AskError, Era, McpSession, ask, probe};
pub use chain::{CallOutcome, ChainResult, ChainedPolicy, Denial, DenyReason, PolicyCall, RedactionChain, check_edits};
pub use cleared::{Cleared, ClearedRecord, UnclearedRecord, clear};
pub use derivation_queue::{DerivationQueue, MAX_OPERATIONS, MAX_QUEUED_BYTES};
pub use edit::{EditDraft, EditError, MAX_BODY_BYTES, MAX_EDITS};
pub use failure::{FailureReason, HookFailure};
pub use interest::Interest;
pub use live::{HookSet, LiveHooks};
pub use message::{Edit, Kind, Message, MirroredHeader, Reply, Surface, Verdict};
pub use policy::{
    Alert, AlertAction, AlertState, BoxFuture, HealthCheck, HealthReport, HealthStatus, MetricDerivation, Operation, RedactionPolicy,
};
pub use status::{Generation, KindSet, PluginKind, PluginState, PluginStatus, unix_ms};
pub use status_board::StatusBoard;
pub use upstream::{KeptFrom, UpstreamCallError, UpstreamCalls, UpstreamEndpoint, UpstreamEndpoints, UpstreamRequest, UpstreamResponse};
