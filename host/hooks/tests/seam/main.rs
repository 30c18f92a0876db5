//! What the room promises, with policies written by hand.
#![allow(clippy::unwrap_used)]

mod ask;
mod chain;
mod clearing;
mod edits;
mod live;
mod mirrored_headers;
mod queue;
mod scripted;
