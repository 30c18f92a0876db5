//! What the configuration file may hold: one closed table of keys, each with its form, bounds, default and meaning.
//!
//! The gateway refuses every key that is not in it and takes the bounds from it; the reference in `docs/proxying.md` is written from it.
//! It must know neither TOML nor any room that is configured, so that the reference can be written without building them.

mod form;
mod reference;
mod section;
mod table;

pub use form::Form;
pub use reference::reference_markdown;
pub use section::{Absent, Key, Section, Shape};
pub use table::SECTIONS;
