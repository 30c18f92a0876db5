//! Reading small files that others replace, and noticing that they were.
//!
//! A file counts as changed by its identity, size and times, so that looking each second costs one `stat`. That follows symbolic links:
//! a Kubernetes secret, whose files are reached through a link to a directory that is swapped, changes its identity. Times are only as
//! fine as the kernel's clock tick, so a file that changed a moment ago is read once more.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::TlsError;

/// The bundle of all public authorities has a quarter of a mebibyte.
const MAX_FILE: u64 = 8 << 20;
/// Coarser than the times of any file system in use; FAT has two seconds.
const RACY: Duration = Duration::from_secs(3);

/// A file and how it looked last.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    /// `None` when it could not be looked at, or when it was so young that a further change could look the same.
    seen: Option<Stamp>,
}

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Of the inode. It moves also when the times of the contents are set back, as copying with times does.
    changed: (i64, i64),
}

impl WatchedFile {
    /// Not looked at yet: the first look says changed.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: None }
    }

    /// Whether it may have changed since the last look. Look first and read afterwards: then a change in between shows in the next look.
    pub(super) fn look(&mut self, now: SystemTime) -> bool {
        let stamp = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        let same = stamp.is_some() && stamp == self.seen;
        self.seen = stamp.filter(|stamp| stamp.is_settled(now));
        !same
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// A time in the future, as from a file server whose clock is ahead, never settles; that costs a read a second and nothing else.
    fn is_settled(&self, now: SystemTime) -> bool {
        let youngest = self.modified.0.max(self.changed.0);
        let limit = now.checked_sub(RACY).and_then(|limit| limit.duration_since(SystemTime::UNIX_EPOCH).ok());
        limit.is_some_and(|limit| i64::try_from(limit.as_secs()).is_ok_and(|limit| youngest < limit))
    }
}

/// The whole of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let refused = |error| refusal(path, error);
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(refused)?.is_file() {
        return Err(TlsError::NotAFile(path.to_owned()));
    }
    let mut content = Vec::new();
    File::open(path).map_err(refused)?.take(MAX_FILE + 1).read_to_end(&mut content).map_err(refused)?;
    if content.len() as u64 > MAX_FILE {
        return Err(TlsError::TooLarge { path: path.to_owned(), limit: MAX_FILE });
    }
    Ok(content)
}

fn refusal(path: &Path, source: io::Error) -> TlsError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => TlsError::Missing(path),
        io::ErrorKind::PermissionDenied => TlsError::Forbidden(path),
        _ => TlsError::Unreadable { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any change is seen, whatever the time; a file that rests is not read again.
    #[test]
    fn a_change_is_seen_and_rest_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = WatchedFile::new(&path);
        let later = SystemTime::now() + Duration::from_secs(60);
        assert!(file.look(later), "a missing file is looked for again");
        fs::write(&path, "one").unwrap();
        assert!(file.look(later));
        assert!(!file.look(later), "settled");
        fs::write(&path, "three").unwrap();
        assert!(file.look(later), "another size");
        fs::write(folder.path().join("next"), "seven").unwrap();
        fs::rename(folder.path().join("next"), &path).unwrap();
        assert!(file.look(later), "another file in its place");
        assert!(!file.look(later), "settled again");
        fs::rename(&path, folder.path().join("away")).unwrap();
        assert!(file.look(later));
        assert!(file.look(later));
    }

    /// Within the grain of the clock two contents can look the same, so a young file is read at every look.
    #[test]
    fn a_young_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let mut file = WatchedFile::new(&path);
        for _ in 0..3 {
            assert!(file.look(SystemTime::now()));
        }
        let later = SystemTime::now() + Duration::from_secs(60);
        assert!(file.look(later));
        assert!(!file.look(later));
    }

    #[test]
    fn what_is_no_small_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge");
        File::create(&huge).unwrap().set_len(MAX_FILE + 1).unwrap();
        let check = |path: &Path, expected: &str| {
            let said = read(path).unwrap_err().to_string();
            assert!(said.contains(expected) && said.contains(&path.display().to_string()), "{said}");
        };
        check(folder.path(), "not a regular file");
        check(Path::new("/dev/zero"), "not a regular file");
        check(&folder.path().join("absent"), "no such file");
        check(&huge, "larger than");
    }
}
