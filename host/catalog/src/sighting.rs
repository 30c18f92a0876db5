//! What one scan of the folder saw: plain values, so that deciding what changed needs no file system.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

/// A component file may have this many bytes. The largest real ones (JavaScript and Python guests) stay under 40 MiB.
pub const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// A plugin name may have this many bytes; it is a label value.
pub const MAX_NAME_BYTES: usize = 64;

/// Nothing has touched a file that has been as it is for this long: no need to look twice. Coarse, because some file
/// systems keep times in steps of two seconds.
pub const LONG_QUIET: Duration = Duration::from_secs(2);

/// SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Lower-case hexadecimal.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.to_hex()[..12])
    }
}

/// Which of a plugin's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// `NAME.wasm`.
    Component,
    /// `NAME.toml`.
    Settings,
}

impl Part {
    /// The extension with its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Component => ".wasm",
            Self::Settings => ".toml",
        }
    }
}

/// One file of one plugin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// The plugin's name: letters, digits, `.`, `-` and `_`, beginning with a letter or digit.
    pub name: String,
    /// Which file.
    pub part: Part,
}

/// What a directory entry's name means to the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryName {
    /// A plugin's file.
    Plugin(FileKey),
    /// A component whose name cannot be a plugin's; escaped for showing.
    Odd(String),
    /// Hidden, or none of ours.
    Other,
}

impl EntryName {
    /// Reads an entry's name. Hidden files are never plugins: that is where unfinished files and the bookkeeping of
    /// ConfigMap volumes live.
    pub fn of(name: &std::ffi::OsStr) -> Self {
        let shown = name.to_string_lossy();
        if shown.starts_with('.') {
            return Self::Other;
        }
        let found = [Part::Component, Part::Settings].into_iter().find_map(|part| Some((part, shown.strip_suffix(part.extension())?)));
        match found {
            Some((part, stem)) if name.to_str().is_some() && is_plugin_name(stem) => Self::Plugin(FileKey { name: stem.to_owned(), part }),
            Some((Part::Component, stem)) => Self::Odd(stem.escape_debug().take(MAX_NAME_BYTES).collect()),
            _ => Self::Other,
        }
    }
}

fn is_plugin_name(stem: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    stem.len() <= MAX_NAME_BYTES && stem.bytes().all(sound) && stem.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
}

/// What the metadata of a file says; two equal stamps mean the same content, unless it was written again within the
/// resolution of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Device and inode of the file behind any symbolic link.
    pub identity: (u64, u64),
    /// Bytes.
    pub size: u64,
    /// When the content last changed.
    pub modified: SystemTime,
    /// When content or metadata last changed; unlike `modified` nobody can set it.
    pub changed: SystemTime,
}

impl Stamp {
    /// Whether at `now` the file had been as it is for [`LONG_QUIET`]. A time in the future is never quiet.
    pub fn is_quiet(&self, now: SystemTime) -> bool {
        now.duration_since(self.modified.max(self.changed)).is_ok_and(|age| age > LONG_QUIET)
    }
}

/// Why a file has no content for us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileProblem {
    /// A directory, pipe, socket or device.
    NotAFile,
    /// Larger than its kind of file may be; the size in bytes.
    TooLarge(u64),
    /// It cannot be read, or a link points nowhere.
    Unreadable(String),
}

/// What a file held, or why it holds nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// The hash of its bytes.
    Bytes(Digest),
    /// No bytes.
    Problem(FileProblem),
}

/// One file in one scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It changed while it was read, or is known to be open for writing.
    BeingWritten,
    /// It stood still while it was read.
    Still {
        /// Its metadata, unless that could not be read.
        stamp: Option<Stamp>,
        /// What it held.
        content: Content,
        /// Whether nothing had touched it for a while.
        quiet: bool,
    },
}

/// One look at the folder.
#[derive(Clone, Debug)]
pub enum Scan {
    /// The folder is not there or cannot be listed; nothing follows about any file.
    Unreadable(String),
    /// What was in it.
    Listed {
        /// The plugins' files.
        files: BTreeMap<FileKey, Sighting>,
        /// Names of components that cannot be plugins' names.
        odd_names: BTreeSet<String>,
    },
}

/// The settled pair of files of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// `NAME.wasm`, if there is one.
    pub component: Option<Content>,
    /// `NAME.toml`, if there is one.
    pub settings: Option<Content>,
}
