//! Looks at the folder on disk: lists its top level, follows links, hashes what changed. Blocking; runs off the workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::manifest::MAX_SETTINGS_BYTES;
use crate::sighting::{Content, Digest, EntryName, FileKey, FileProblem, MAX_COMPONENT_BYTES, Part, Scan, Sighting, Stamp};

/// Scans one folder again and again, hashing only what changed since.
#[derive(Debug)]
pub struct Scanner {
    folder: PathBuf,
    known: BTreeMap<FileKey, Known>,
}

/// A hash that holds as long as the stamp does.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    content: Content,
    /// Whether the file had been quiet when it was hashed. If not, it may be written again without the stamp showing
    /// it, within one step of the file system's clock.
    trusted: bool,
}

impl Scanner {
    /// A scanner of this folder, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, known: BTreeMap::new() }
    }

    /// Looks once. Files in `being_written` are listed but not read.
    pub fn scan(&mut self, being_written: &BTreeSet<FileKey>) -> Scan {
        match self.list(being_written) {
            Ok(scan) => scan,
            Err(error) => Scan::Unreadable(error.to_string()),
        }
    }

    fn list(&mut self, being_written: &BTreeSet<FileKey>) -> io::Result<Scan> {
        let mut files = BTreeMap::new();
        let mut odd_names = BTreeSet::new();
        for entry in std::fs::read_dir(&self.folder)? {
            match EntryName::of(&entry?.file_name()) {
                EntryName::Plugin(key) => {
                    let sighting = if being_written.contains(&key) { Sighting::BeingWritten } else { self.look_at(&key) };
                    files.insert(key, sighting);
                }
                EntryName::Odd(name) => {
                    odd_names.insert(name);
                }
                EntryName::Other => {}
            }
        }
        self.known.retain(|key, _| files.contains_key(key));
        Ok(Scan::Listed { files, odd_names })
    }

    fn look_at(&mut self, key: &FileKey) -> Sighting {
        let now = SystemTime::now();
        let path = file_path(&self.folder, key);
        let stamp = std::fs::metadata(&path).ok().map(|metadata| stamp(&metadata));
        if let (Some(stamp), Some(known)) = (stamp, self.known.get(key))
            && known.trusted
            && known.stamp == stamp
        {
            return Sighting::Still { stamp: Some(stamp), content: known.content.clone(), quiet: true };
        }
        let (stamp, content) = match read(&path, limit(key.part)) {
            Ok(read) => (Some(read.stamp), Content::Bytes(read.digest)),
            Err(ReadError::Changed) => return Sighting::BeingWritten,
            Err(ReadError::Problem(problem)) => (stamp, Content::Problem(problem)),
        };
        let quiet = stamp.is_some_and(|stamp| stamp.is_quiet(now));
        if let (Some(stamp), Content::Bytes(_)) = (stamp, &content) {
            self.known.insert(key.clone(), Known { stamp, content: content.clone(), trusted: quiet });
        }
        Sighting::Still { stamp, content, quiet }
    }
}

/// The whole of a file, read in one go.
#[derive(Debug)]
pub struct ReadFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub digest: Digest,
    /// The metadata, equal before and after reading.
    pub stamp: Stamp,
}

/// Why a file was not read.
#[derive(Debug)]
pub enum ReadError {
    /// It changed while it was read.
    Changed,
    /// It has no content for us.
    Problem(FileProblem),
}

/// Reads a regular file of at most `limit` bytes, following links.
pub fn read(path: &Path, limit: u64) -> Result<ReadFile, ReadError> {
    let unreadable = |error: io::Error| ReadError::Problem(FileProblem::Unreadable(error.to_string()));
    // Opening a pipe would wait for its writer.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let mut file = file.map_err(|error| refine(path, error))?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(ReadError::Problem(FileProblem::NotAFile));
    }
    let before = stamp(&metadata);
    if before.size > limit {
        return Err(ReadError::Problem(FileProblem::TooLarge(before.size)));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.size).unwrap_or_default());
    // One byte more than it should have shows a file that grows.
    Read::by_ref(&mut file).take(before.size + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let after = stamp(&file.metadata().map_err(unreadable)?);
    if before != after || bytes.len() as u64 != before.size {
        return Err(ReadError::Changed);
    }
    let digest = Digest(Sha256::digest(&bytes).into());
    Ok(ReadFile { bytes, digest, stamp: before })
}

/// The most bytes that this kind of file may have.
pub fn limit(part: Part) -> u64 {
    match part {
        Part::Component => MAX_COMPONENT_BYTES,
        Part::Settings => MAX_SETTINGS_BYTES,
    }
}

/// Where a plugin's file lies.
pub fn file_path(folder: &Path, key: &FileKey) -> PathBuf {
    folder.join(format!("{}{}", key.name, key.part.extension()))
}

/// A socket cannot be opened at all; that it is no file says more than the error.
fn refine(path: &Path, error: io::Error) -> ReadError {
    let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
    let problem = match kind {
        Ok(kind) if kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device() => FileProblem::NotAFile,
        _ => FileProblem::Unreadable(error.to_string()),
    };
    ReadError::Problem(problem)
}

fn stamp(metadata: &Metadata) -> Stamp {
    Stamp {
        identity: (metadata.dev(), metadata.ino()),
        size: metadata.len(),
        modified: time(metadata.mtime(), metadata.mtime_nsec()),
        changed: time(metadata.ctime(), metadata.ctime_nsec()),
    }
}

fn time(seconds: i64, nanoseconds: i64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(whole) } else { SystemTime::UNIX_EPOCH.checked_add(whole) };
    let part = Duration::from_nanos(nanoseconds.unsigned_abs());
    base.and_then(|base| base.checked_add(part)).unwrap_or(SystemTime::UNIX_EPOCH)
}
