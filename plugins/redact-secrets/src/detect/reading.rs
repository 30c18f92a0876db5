//! The loops that read a text, all in one place: so that tests can count what a search reads.

use memchr::memchr_iter;

/// How many of the bytes from `start` on satisfy `wanted`, at most `limit`.
pub fn run(text: &[u8], start: usize, limit: usize, mut wanted: impl FnMut(u8) -> bool) -> usize {
    let length = text.get(start..).unwrap_or_default().iter().take(limit).take_while(|byte| wanted(**byte)).count();
    note(length + 1);
    length
}

/// How many of the bytes before `end`, going back, satisfy `wanted`, at most `limit`.
pub fn run_before(text: &[u8], end: usize, limit: usize, wanted: impl Fn(u8) -> bool) -> usize {
    let length = text.get(..end).unwrap_or_default().iter().rev().take(limit).take_while(|byte| wanted(**byte)).count();
    note(length + 1);
    length
}

/// Where `literal`, which begins with a hyphen or a capital, stands first. Base 64 has no hyphens, so that looking for the first byte alone
/// jumps from line to line; a general search would add more code than the rest of `private_key.rs`.
pub fn find(text: &[u8], literal: &[u8]) -> Option<usize> {
    let found = memchr_iter(literal[0], text).find(|at| text[*at..].starts_with(literal));
    note(found.map_or(text.len(), |at| at + literal.len()));
    found
}

/// Whether the text goes on with `literal` (lower case) at `start`, whatever the case of its letters.
pub fn says(text: &[u8], start: usize, literal: &[u8]) -> bool {
    note(literal.len());
    text.get(start..start + literal.len()).is_some_and(|found| found.eq_ignore_ascii_case(literal))
}

/// Notes that so many bytes were read.
#[cfg(not(test))]
const fn note(_bytes: usize) {}

#[cfg(test)]
pub(crate) use counted::{bytes_read, note};

#[cfg(test)]
mod counted {
    use core::cell::Cell;

    thread_local! {
        static READ: Cell<usize> = const { Cell::new(0) };
    }

    pub fn note(bytes: usize) {
        READ.set(READ.get() + bytes);
    }

    /// The bytes that `search` reads, those that it reads again included.
    pub fn bytes_read(search: impl FnOnce()) -> usize {
        READ.set(0);
        search();
        READ.get()
    }
}
