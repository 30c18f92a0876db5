//! What is linked to a component: the contract and inert WASI always, the rest by grant.

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::watchgate::plugin::{alerts, log, mcp_client, messages, metrics, operations, startup};
use crate::state::State;

/// Builds the linker of every plugin; `mcp-client` and `wasi:http` come on top of a clone of it.
pub(crate) fn base(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    log::add_to_linker::<_, HasSelf<State>>(&mut linker, itself)?;
    metrics::add_to_linker::<_, HasSelf<State>>(&mut linker, itself)?;
    messages::add_to_linker::<_, HasSelf<State>>(&mut linker, itself)?;
    operations::add_to_linker::<_, HasSelf<State>>(&mut linker, itself)?;
    alerts::add_to_linker::<_, HasSelf<State>>(&mut linker, itself)?;
    startup::add_to_linker::<_, HasSelf<State>>(&mut linker, itself)?;
    Ok(linker)
}

/// Links `mcp-client`.
pub(crate) fn add_mcp_client(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    mcp_client::add_to_linker::<_, HasSelf<State>>(linker, itself)
}

/// Links `wasi:http/outgoing-handler` and its types.
pub(crate) fn add_http(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

fn itself(state: &mut State) -> &mut State {
    state
}
