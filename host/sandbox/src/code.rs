//! A linked component: what instances are made from, the same for all of one generation.

use std::sync::Arc;

use wasmtime::component::InstancePre;

use crate::exports::Exports;
use crate::sandbox::Sandbox;
use crate::state::State;

/// A component that has been compiled, linked and checked against the contract.
pub(crate) struct Code {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
}
