//! JSON over complete slices: check it, find values in it, read its strings, edit it in place. Iterative throughout.
//!
//! All offsets are bytes from the start of the slice given. Where a key occurs twice the last one counts, as for `JSON.parse`.

mod escape;
mod find;
mod special;
mod splice;
mod strings;
mod walk;

pub use escape::{RawRanges, decode, decode_into, escape_into, is_boundary};
pub(crate) use escape::{decode_exact, decode_lossy};
pub use find::{LocateError, Member, array_elements, locate, object_members};
pub use splice::splice;
pub use strings::{StringToken, Strings, strings};
pub use walk::{JsonError, JsonFault, validate};
