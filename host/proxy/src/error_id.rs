//! Short ids that tie an error a client saw to the line in the access log.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Eight hexadecimal digits of the process and a count: unique within a process, and most likely across them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorId(Box<str>);

impl ErrorId {
    /// The next one.
    pub(crate) fn next() -> Self {
        static PROCESS: LazyLock<u32> = LazyLock::new(|| (RandomState::new().hash_one(std::process::id()) >> 32) as u32);
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self(format!("{:08x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed)).into())
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, for the access line.
    pub(crate) fn into_inner(self) -> Box<str> {
        self.0
    }
}
