//! Turns what wasmtime says about a failed call into a reason of the closed set.

use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;
use watchgate_hooks::{FailureReason, HookFailure};

use crate::state::TooManyHostCalls;

/// Bytes kept of a sentence about a failure, and of a sentence that a plugin wrote.
const DETAIL_BYTES: usize = 1024;

/// Why the call failed. `refused_memory`: the instance wanted more memory than it may have, which most guests do not survive.
pub(crate) fn classify(error: &wasmtime::Error, refused_memory: bool) -> HookFailure {
    let sentence = || cut(error.root_cause().to_string());
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => HookFailure::new(FailureReason::CpuTimeout, "it used up its CPU time"),
        _ if refused_memory => HookFailure::new(FailureReason::Memory, format!("it wanted more memory than it may have: {}", sentence())),
        Some(_) => HookFailure::new(FailureReason::Trap, sentence()),
        None if error.is::<TooManyHostCalls>() || error.is::<ResourceTableError>() => {
            HookFailure::new(FailureReason::HostCalls, sentence())
        }
        None if error.is::<I32Exit>() => HookFailure::new(FailureReason::Trap, sentence()),
        None if error.is::<PoolConcurrencyLimitError>() => HookFailure::new(FailureReason::NoCapacity, sentence()),
        // Raised by a host function on behalf of the guest, or by wasmtime while it read the guest's result.
        None => HookFailure::new(FailureReason::InvalidOutput, sentence()),
    }
}

/// Cuts a text that may be the plugin's own to [`DETAIL_BYTES`].
pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(DETAIL_BYTES));
    text
}
