//! Event streams (`text/event-stream`): read on the fly, or cut into whole events that can be rewritten.
//!
//! Lines end in LF, CRLF or CR, mixed at will and cut between chunks at any byte.

mod assembler;
mod event;
mod lines;
mod parser;

pub use assembler::{EventTooLarge, SseAssembler};
pub use event::SseEvent;
pub use parser::{SseParser, SsePart};
