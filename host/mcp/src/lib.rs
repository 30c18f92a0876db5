//! The Model Context Protocol as pure functions and types: what a gateway must know of the bytes that pass, and nothing of sockets.
//!
//! [`Scanner`] reads JSON-RPC envelopes out of bytes fed in any pieces, [`sse`] frames event streams, [`json`] works on complete
//! bodies, [`header`] codes the mirrored headers. Nothing here does IO, keeps a clock, recurses, or panics on any input; it compiles
//! for `wasm32-wasip2` too, because the plugin SDK uses [`json`].

mod direction;
mod envelope;
pub mod header;
pub mod json;
pub mod method;
mod outcome;
pub mod request;
mod request_id;
pub mod rpc_error;
mod scanner;
pub mod sse;
pub mod trace_meta;

pub use direction::Direction;
pub use envelope::{ContentCounts, Envelope, ListKind, ListedName, MessageKind, MethodText, ResultType};
pub use outcome::Outcome;
pub use request_id::RequestId;
pub use scanner::{ScanEnd, Scanner};
