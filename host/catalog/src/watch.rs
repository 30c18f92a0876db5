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
    attach: Attach,
    attached: Option<Attached>,
    refused_at: Option<Instant>,
}

/// Asks the operating system for events; an argument because tests cannot make it refuse.
type Attach = fn(&Path, Option<Identity>, &Arc<Mailbox>) -> notify::Result<Attached>;

#[derive(Debug)]
struct Attached {
    /// Kept for its `Drop`, which ends the watch.
    _watcher: RecommendedWatcher,
    /// The folder that is watched; `None` while there is none and only the parent is.
    identity: Option<Identity>,
    /// Neither the folder nor its parent is there.
    is_blind: bool,
}

impl Watch {
    /// A watch that is not attached yet.
    pub fn new(folder: PathBuf, mode: WatchMode, mailbox: Arc<Mailbox>) -> Self {
        Self { folder, mode, mailbox, attach, attached: None, refused_at: None }
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
        match (self.attach)(&self.folder, identity, &self.mailbox) {
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
        self.attached.as_ref().is_none_or(|attached| attached.is_blind)
    }
}

fn attach(folder: &Path, identity: Option<Identity>, mailbox: &Arc<Mailbox>) -> notify::Result<Attached> {
    let sorter = Sorter { folder: folder.to_owned(), mailbox: Arc::clone(mailbox) };
    let mut watcher = notify::recommended_watcher(move |event| sorter.sort(event))?;
    if identity.is_some() {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    let watches_parent = parent(folder).is_some_and(|parent| match watcher.watch(&parent, RecursiveMode::NonRecursive) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(parent = %parent.display(), %error, "cannot watch the plugin folder's parent");
            false
        }
    });
    Ok(Attached { _watcher: watcher, identity, is_blind: identity.is_none() && !watches_parent })
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use notify::event::{AccessKind, AccessMode, CreateKind, DataChange, Flag, MetadataKind, ModifyKind, RemoveKind, RenameMode};
    use notify::{Event, EventKind};

    use super::{FileEvent, Mailbox, Noted, RETRY_NATIVE, Sorter, Watch, WatchMode, attach};

    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const TOUCHED: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);
    const RENAMED_IN: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const RENAMED_AWAY: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));

    fn noted_after(events: Vec<notify::Result<Event>>) -> Noted {
        let mailbox = Arc::new(Mailbox::default());
        let sorter = Sorter { folder: "etc/plugins".into(), mailbox: Arc::clone(&mailbox) };
        for event in events {
            sorter.sort(event);
        }
        mailbox.take()
    }

    /// Checks what these events about one path come to: what is noted about the file, and `dirty`, `lost`, `moved`.
    fn check(path: &str, kinds: &[EventKind], file: Option<FileEvent>, flags: &[&str]) {
        let noted = noted_after(kinds.iter().map(|kind| Ok(Event::new(*kind).add_path(Path::new(path).to_owned()))).collect());
        assert_eq!(noted.files.values().next().copied(), file, "{path} {kinds:?}");
        check_flags(&noted, flags);
    }

    fn check_flags(noted: &Noted, expected: &[&str]) {
        let flags = [("dirty", noted.is_dirty), ("lost", noted.has_lost), ("moved", noted.has_moved)];
        let found: Vec<&str> = flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| *flag).collect();
        assert_eq!(found, expected, "{noted:?}");
    }

    #[test]
    fn reading_a_plugin_is_no_reason_to_read_it_again() {
        check("etc/plugins/a.wasm", &[OPENED], None, &[]);
        check("etc/plugins", &[OPENED], None, &[]);
    }

    #[test]
    fn a_file_is_followed_from_its_creation_to_its_end() {
        let file = "etc/plugins/a.wasm";
        check(file, &[CREATED], Some(FileEvent::Replaced), &["dirty"]);
        check(file, &[WRITTEN], Some(FileEvent::Written), &[]);
        check(file, &[CREATED, WRITTEN, CLOSED], Some(FileEvent::Finished), &["dirty"]);
        check(file, &[CLOSED, WRITTEN], Some(FileEvent::Written), &["dirty"]);
        check(file, &[RENAMED_IN], Some(FileEvent::Finished), &["dirty"]);
        check(file, &[RENAMED_AWAY], Some(FileEvent::Replaced), &["dirty"]);
        check(file, &[CLOSED, REMOVED], Some(FileEvent::Replaced), &["dirty"]);
        check(file, &[TOUCHED], None, &["dirty"]);
    }

    #[test]
    fn names_of_no_plugin_only_say_look() {
        check("etc/plugins/..data", &[RENAMED_IN], None, &["dirty"]);
        check("etc/plugins/.a.wasm.tmp", &[WRITTEN], None, &[]);
    }

    #[test]
    fn of_the_parent_only_the_folder_counts() {
        check("etc/plugins", &[CREATED], None, &["dirty", "moved"]);
        check("./plugins", &[RENAMED_AWAY], None, &["dirty", "moved"]);
        check("etc/plugins", &[TOUCHED], None, &["dirty"]);
        check("etc/access.log", &[WRITTEN, CLOSED, REMOVED], None, &[]);
    }

    #[test]
    fn lost_events_are_admitted() {
        let overflow = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        check_flags(&noted_after(vec![Ok(overflow)]), &["dirty", "lost"]);
        check_flags(&noted_after(vec![Err(notify::Error::generic("broken"))]), &["dirty", "lost"]);
        let flood = (0..5000).map(|index| Ok(Event::new(CLOSED).add_path(format!("etc/plugins/p{index}.wasm").into())));
        let noted = noted_after(flood.collect());
        check_flags(&noted, &["dirty", "lost"]);
        assert!(noted.files.len() <= super::MAX_FILES_NOTED);
    }

    #[tokio::test(start_paused = true)]
    async fn where_the_system_refuses_to_watch_the_folder_is_polled() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = Arc::new(Mailbox::default());
        let mut watch = Watch::new(folder.path().to_owned(), WatchMode::Native, Arc::clone(&mailbox));
        watch.attach = |_, _, _| Err(notify::Error::io(std::io::Error::from_raw_os_error(libc::EMFILE)));
        watch.refresh(false);
        assert!(watch.needs_polling());
        check_flags(&mailbox.take(), &["lost"]);
        // It is asked again after a while, not at each scan.
        watch.attach = attach;
        watch.refresh(false);
        assert!(watch.needs_polling());
        tokio::time::advance(RETRY_NATIVE).await;
        watch.refresh(false);
        assert!(!watch.needs_polling());
    }
}
