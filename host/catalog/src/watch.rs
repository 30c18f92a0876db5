//! Learns from the operating system that the folder may have changed. Events only say "look": the scan decides.
//!
//! The parent is watched as well, because a folder that is removed and created again, or a link to a folder that is
//! turned to another one, ends every event of the old watch without a word.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use crate::folder::FileEvent;
use crate::sighting::{EntryName, FileKey};

/// More files than this between two looks are not told apart: everything is looked at anew.
const MAX_FILES_NOTED: usize = 4096;

/// After the operating system refused to watch, it is asked again at this interval.
const RETRY_NATIVE: Duration = Duration::from_secs(30);

/// How changes of the folder are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchMode {
    /// By the operating system's events; by scanning often where that cannot be had.
    #[default]
    Native,
    /// By scanning often: for network folders, whose other writers cause no events here.
    Poll,
}

/// What happened since it was last taken.
#[derive(Debug, Default)]
pub struct Noted {
    /// Something happened: a scan is due.
    pub is_dirty: bool,
    /// Events were lost: what earlier ones said about writers no longer holds.
    pub has_lost: bool,
    /// The folder itself came, went or was renamed: the watch must be renewed, even when the folder there now has the
    /// inode of the old one.
    pub has_moved: bool,
    /// The newest event of each file.
    pub files: BTreeMap<FileKey, FileEvent>,
}

/// Where the event thread leaves what it saw. A mailbox of bounded size rather than a queue, so that a burst of
/// events costs one wake-up and nothing overflows.
#[derive(Debug, Default)]
pub struct Mailbox {
    noted: Mutex<Noted>,
    wake: Notify,
}

impl Mailbox {
    /// Returns once something is noted. Cancelling it loses nothing.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Takes what was noted.
    pub fn take(&self) -> Noted {
        std::mem::take(&mut self.noted.lock())
    }

    fn note(&self, change: impl FnOnce(&mut Noted)) {
        change(&mut self.noted.lock());
        self.wake.notify_one();
    }

    fn note_file(&self, path: &Path, event: FileEvent) {
        let Some(name) = path.file_name() else { return };
        let key = match EntryName::of(name) {
            EntryName::Plugin(key) => Some(key),
            EntryName::Odd(_) | EntryName::Other => None,
        };
        self.note(|noted| {
            // Writing is no reason to look before it has ended.
            noted.is_dirty |= event != FileEvent::Written;
            let Some(key) = key else { return };
            if noted.files.len() >= MAX_FILES_NOTED {
                noted.files.clear();
                noted.is_dirty = true;
                noted.has_lost = true;
            } else {
                noted.files.insert(key, event);
            }
        });
    }
}

/// Device, inode and, where the file system has it, the time of creation: inodes are used again at once.
type Identity = (u64, u64, Option<SystemTime>);

/// The watch of one folder. Owned by whoever scans: it is renewed just before a scan, so that nothing can happen
/// between the two unnoticed.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    mode: WatchMode,
    mailbox: Arc<Mailbox>,
    attached: Option<Attached>,
    refused_at: Option<Instant>,
}

#[derive(Debug)]
struct Attached {
    /// Kept for its `Drop`, which ends the watch.
    _watcher: RecommendedWatcher,
    /// The folder that is watched; `None` while there is none and only the parent is.
    identity: Option<Identity>,
}

impl Watch {
    /// A watch that is not attached yet.
    pub fn new(folder: PathBuf, mode: WatchMode, mailbox: Arc<Mailbox>) -> Self {
        Self { folder, mode, mailbox, attached: None, refused_at: None }
    }

    /// Makes sure that the folder which is there now is the one being watched; `has_moved` when an event said that it
    /// is another one. Blocks shortly.
    pub fn refresh(&mut self, has_moved: bool) {
        if self.mode == WatchMode::Poll || self.refused_at.is_some_and(|at| at.elapsed() < RETRY_NATIVE) {
            return;
        }
        let identity = identity(&self.folder);
        if !has_moved && self.attached.as_ref().is_some_and(|attached| attached.identity == identity) {
            return;
        }
        let is_first = self.attached.is_none() && self.refused_at.is_none();
        // The old watch ends first: the system's limit on watches may leave no room for two.
        self.attached = None;
        match attach(&self.folder, identity, &self.mailbox) {
            Ok(attached) => {
                self.refused_at = None;
                self.attached = Some(attached);
                if !is_first {
                    tracing::info!(folder = %self.folder.display(), present = identity.is_some(), "watching the plugin folder anew");
                    self.mailbox.note(|noted| noted.has_lost = true);
                }
            }
            Err(error) => {
                tracing::warn!(folder = %self.folder.display(), %error, "cannot watch the plugin folder; scanning it often instead");
                self.refused_at = Some(Instant::now());
                self.mailbox.note(|noted| noted.has_lost = true);
            }
        }
    }

    /// Whether changes must be found by scanning often.
    pub fn needs_polling(&self) -> bool {
        self.attached.is_none()
    }
}

fn attach(folder: &Path, identity: Option<Identity>, mailbox: &Arc<Mailbox>) -> notify::Result<Attached> {
    let sorter = Sorter { folder: folder.to_owned(), mailbox: Arc::clone(mailbox) };
    let mut watcher = notify::recommended_watcher(move |event| sorter.sort(event))?;
    if identity.is_some() {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    // Without a parent to watch (none, or it is gone too) the periodic scan finds the folder.
    if let Some(parent) = parent(folder)
        && let Err(error) = watcher.watch(&parent, RecursiveMode::NonRecursive)
    {
        tracing::debug!(parent = %parent.display(), %error, "cannot watch the plugin folder's parent");
    }
    Ok(Attached { _watcher: watcher, identity })
}

fn parent(folder: &Path) -> Option<PathBuf> {
    folder.file_name()?;
    let parent = folder.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

fn identity(folder: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Sorts events on the event thread.
struct Sorter {
    folder: PathBuf,
    mailbox: Arc<Mailbox>,
}

impl Sorter {
    fn sort(&self, event: notify::Result<Event>) {
        let event = match event {
            Ok(event) if event.need_rescan() => return self.lose(),
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "watching the plugin folder");
                return self.lose();
            }
        };
        let meaning = match event.kind {
            // Reading a plugin is an event too; heeding it would feed the watch with itself.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(FileEvent::Finished),
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(FileEvent::Finished),
            // Repeats what From and To have said.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
            EventKind::Modify(ModifyKind::Data(_)) => Some(FileEvent::Written),
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => Some(FileEvent::Replaced),
            _ => None,
        };
        for path in &event.paths {
            self.sort_path(path, meaning);
        }
    }

    fn sort_path(&self, path: &Path, meaning: Option<FileEvent>) {
        let is_folder = path == self.folder || path.file_name().is_some_and(|name| Some(name) == self.folder.file_name());
        match meaning {
            _ if path.parent() == Some(&self.folder) => match meaning {
                Some(event) => self.mailbox.note_file(path, event),
                None => self.mailbox.note(|noted| noted.is_dirty = true),
            },
            _ if is_folder => self.mailbox.note(|noted| {
                noted.is_dirty = true;
                noted.has_moved |= meaning.is_some();
            }),
            // The parent's other entries are none of ours.
            _ => {}
        }
    }

    fn lose(&self) {
        self.mailbox.note(|noted| {
            noted.is_dirty = true;
            noted.has_lost = true;
        });
    }
}
