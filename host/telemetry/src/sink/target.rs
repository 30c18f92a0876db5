//! Where lines end up: a stream of the process, or a file that is rotated by size and found again when somebody moved it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked whether the file still stands where it was, and tried to open one that could not be opened.
const LOOK: Duration = Duration::from_millis(100);

/// When a log file is put aside for a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes that a file holds at most, but for a single line that is longer.
    pub max_size: u64,
    /// Files put aside that are kept: `NAME.1` is the newest, `NAME.2` the one before ... With 0 a full file is removed.
    pub max_files: u32,
}

/// What is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
    File { path: PathBuf, rotation: Option<Rotation> },
}

/// Takes the bytes of whole lines.
pub(super) trait Target: Send {
    /// Makes ready for `bytes` more, in one piece that begins with a line. What fails here does not keep from writing.
    fn prepare(&mut self, bytes: usize) -> io::Result<()>;

    /// As [`Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Bytes that should come at once at most.
    fn most(&self) -> usize {
        usize::MAX
    }
}

impl Output {
    /// Whether lines for both would end up in the same place, so that one writer must have them all.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let place = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        match (self, other) {
            (Self::File { path, .. }, Self::File { path: other, .. }) => place(path) == place(other),
            _ => self == other,
        }
    }

    pub(super) fn open(&self) -> io::Result<Box<dyn Target>> {
        // The descriptors themselves: the standard library's buffer would hide which lines were lost.
        Ok(match self {
            Self::Stdout => Box::new(Stream(File::from(io::stdout().as_fd().try_clone_to_owned()?))),
            Self::Stderr => Box::new(Stream(File::from(io::stderr().as_fd().try_clone_to_owned()?))),
            Self::File { path, rotation } => Box::new(LogFile::open(path.clone(), *rotation)?),
        })
    }

    /// What it is called in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Stdout => "standard output".to_owned(),
            Self::Stderr => "standard error".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
        }
    }
}

struct Stream(File);

impl Target for Stream {
    fn prepare(&mut self, _bytes: usize) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
}

/// An open file and where it stands.
struct LogFile {
    path: PathBuf,
    rotation: Option<Rotation>,
    /// `None` while it cannot be opened.
    file: Option<File>,
    /// Devices and pipes stay what they are: they are neither rotated nor looked for.
    is_regular: bool,
    size: u64,
    looked: Instant,
    /// Why it was not found when it was last looked for: that holds until the next look.
    missing: Option<io::ErrorKind>,
}

impl LogFile {
    fn open(path: PathBuf, rotation: Option<Rotation>) -> io::Result<Self> {
        let mut made = Self { path, rotation, file: None, is_regular: true, size: 0, looked: Instant::now(), missing: None };
        made.reopen()?;
        Ok(made)
    }

    /// Opens the file anew when it no longer stands where it was opened: logrotate moved it, or its folder is gone.
    fn look(&mut self) -> io::Result<()> {
        if !self.is_regular || self.looked.elapsed() < LOOK {
            return self.missing.map_or(Ok(()), |kind| Err(kind.into()));
        }
        self.looked = Instant::now();
        let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let opened = self.file.as_ref().map(File::metadata).transpose()?.as_ref().map(identity);
        if opened.is_none() || fs::metadata(&self.path).ok().as_ref().map(identity) != opened {
            self.reopen()?;
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        let opened = OpenOptions::new().append(true).create(true).open(&self.path).and_then(|file| Ok((file.metadata()?, file)));
        self.missing = opened.as_ref().err().map(io::Error::kind);
        let (metadata, file) = opened?;
        (self.is_regular, self.size) = (metadata.is_file(), metadata.len());
        self.file = Some(file);
        Ok(())
    }

    fn is_full(&self, rotation: Rotation, bytes: usize) -> bool {
        let more = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.file.is_some() && self.is_regular && self.size > 0 && self.size.saturating_add(more) > rotation.max_size
    }

    /// Puts the file aside: `NAME` becomes `NAME.1`, that one `NAME.2` ..., and the last is written over.
    fn rotate(&mut self, max_files: u32) -> io::Result<()> {
        if max_files == 0 {
            fs::remove_file(&self.path)?;
        } else {
            for number in (1..max_files).rev() {
                match fs::rename(self.aside(number), self.aside(number + 1)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(&self.path, self.aside(1))?;
        }
        self.reopen()
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

impl Target for LogFile {
    fn prepare(&mut self, bytes: usize) -> io::Result<()> {
        self.look()?;
        match self.rotation {
            Some(rotation) if self.is_full(rotation, bytes) => self.rotate(rotation.max_files),
            _ => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let written = file.write(bytes)?;
        self.size += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    /// A quarter of a file, so that files are filled well.
    fn most(&self) -> usize {
        self.rotation.map_or(usize::MAX, |rotation| usize::try_from(rotation.max_size / 4).unwrap_or(usize::MAX))
    }
}
