//! Learns when the configuration's files have changed: from the operating system's events, and by looking every few seconds where there are
//! none (network folders) or they go astray. What counts is the content: a link that is turned to another file, as Kubernetes does, is a change;
//! a file that is only touched is none. A file that somebody is still writing is left alone: half of a configuration may be a sound one that lets
//! everybody in.

mod writers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use writers::Writers;

/// Time between two looks without an event.
const LOOK: Duration = Duration::from_secs(3);
/// Time between two looks at files that have changed. What whoever wrote it has closed is believed when it is the same after this long: an editor may
/// write twice.
const SETTLE: Duration = Duration::from_millis(100);
/// Without an event that says so a writer is done when nothing has changed for this long; so, too, where the content itself is in doubt.
const CALM: Duration = Duration::from_secs(2);
/// Files that still change after this long are read as they are then.
const PATIENCE: Duration = Duration::from_secs(30);
/// A file that is larger is looked at no further.
const MAX_BYTES: u64 = 4 << 20;

/// Follows a set of files.
pub struct ConfigWatch {
    files: Vec<PathBuf>,
    /// The content when it was last read; `None` before the first time, and when it is to be read once more.
    seen: Option<Content>,
    /// A content that was read and not believed.
    doubted: Option<Content>,
    /// How often writers were done when the content was last read.
    heard: u64,
    events: Arc<Events>,
    /// Kept for its `Drop`, which ends the watch.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

/// Where the event thread leaves what it saw.
#[derive(Default)]
struct Events {
    writers: Mutex<Writers>,
    wake: Notify,
}

/// A digest of what all files hold.
type Content = [u8; 32];

impl ConfigWatch {
    /// Follows the configuration file; without one there is never a change.
    pub fn new(file: Option<PathBuf>) -> Self {
        let mut watch = Self {
            files: Vec::new(),
            seen: None,
            doubted: None,
            heard: 0,
            events: Arc::default(),
            watcher: None,
            folders: BTreeSet::new(),
        };
        watch.follow(file.into_iter().collect());
        watch
    }

    /// Follows these files from now on.
    pub fn follow(&mut self, files: Vec<PathBuf>) {
        let paths = paths(&files);
        let folders = paths.iter().filter_map(|path| path.parent().map(Path::to_owned)).collect();
        self.events.writers.lock().follow(paths);
        if self.folders != folders {
            // The old watch ends first: the system's limit on watches may leave no room for two.
            self.watcher = None;
            self.watcher = attach(&folders, &self.events);
            self.folders = folders;
        }
        self.files = files;
    }

    /// Notes what the files hold now: it is about to be read.
    pub async fn look(&mut self) {
        self.heard = self.events.writers.lock().finished();
        self.seen = content(&self.files).await;
    }

    /// What was last looked at may be half of something: it counts as a change again when it has not changed for a while.
    pub fn doubt(&mut self) {
        self.doubted = self.seen.take();
    }

    /// Whether what was last looked at was doubted before, and has been the same since.
    pub fn is_confirmed(&self) -> bool {
        self.seen.is_some() && self.seen == self.doubted
    }

    /// Waits a little until nobody is writing the files; whether that is so now.
    pub async fn is_written(&self) -> bool {
        let begun = Instant::now();
        while self.are_writing() {
            if begun.elapsed() >= CALM {
                return false;
            }
            sleep(SETTLE).await;
        }
        true
    }

    /// Returns once the files hold something else than when last looked at, and whoever wrote it is done. Cancelling it loses nothing.
    pub async fn changed(&self) {
        if self.files.is_empty() {
            std::future::pending::<()>().await;
        }
        while self.is_as_seen().await {
            // Either an event or its absence for a while leads to a look.
            let _ = timeout(LOOK, self.events.wake.notified()).await;
            // Another file of the folder, such as a log, may be written all the time.
            sleep(SETTLE).await;
        }
    }

    /// Waits for writers to be done.
    async fn is_as_seen(&self) -> bool {
        let begun = Instant::now();
        let mut now = content(&self.files).await;
        let mut since = begun;
        while now != self.seen && !self.is_settled(&now, since.elapsed()) && begun.elapsed() < PATIENCE {
            sleep(SETTLE).await;
            let then = std::mem::replace(&mut now, content(&self.files).await);
            if then != now {
                since = Instant::now();
            }
        }
        now == self.seen
    }

    /// Whether nothing more is expected of a content that has been the same for this long.
    fn is_settled(&self, content: &Option<Content>, still: Duration) -> bool {
        let writers = self.events.writers.lock();
        let is_told = writers.finished() != self.heard && *content != self.doubted;
        !writers.are_writing(Instant::now()) && still >= if is_told { SETTLE } else { CALM }
    }

    fn are_writing(&self) -> bool {
        self.events.writers.lock().are_writing(Instant::now())
    }
}

/// The paths by which events name the files, and those that links lead to.
fn paths(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let in_folder = |path: &PathBuf| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").join(path),
        _ => path.clone(),
    };
    files.iter().flat_map(|path| [Some(in_folder(path)), path.canonicalize().ok()]).flatten().collect()
}

/// Asks the operating system for events; where it refuses, looking every few seconds remains.
fn attach(folders: &BTreeSet<PathBuf>, events: &Arc<Events>) -> Option<RecommendedWatcher> {
    let events = Arc::clone(events);
    let notice = move |event: notify::Result<notify::Event>| {
        if events.writers.lock().note(event, Instant::now()) {
            events.wake.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(notice).inspect_err(refused).ok()?;
    for folder in folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            refused(&error);
        }
    }
    Some(watcher)
}

fn refused(error: &notify::Error) {
    tracing::debug!(%error, "changes of the configuration are found by looking every few seconds");
}

/// What the files hold; `None` only when looking itself failed.
async fn content(files: &[PathBuf]) -> Option<Content> {
    let files = files.to_vec();
    tokio::task::spawn_blocking(move || digest(&files)).await.ok()
}

fn digest(files: &[PathBuf]) -> Content {
    let mut all = Sha256::new();
    for path in files {
        // A file that cannot be read counts by the reason: one that appears is a change.
        let found = match std::fs::metadata(path) {
            Ok(metadata) if metadata.len() > MAX_BYTES => Err("too large".to_owned()),
            Ok(_) => std::fs::read(path).map_err(|error| error.kind().to_string()),
            Err(error) => Err(error.kind().to_string()),
        };
        all.update(match found {
            Ok(bytes) => Sha256::digest(bytes),
            Err(reason) => Sha256::digest(reason),
        });
    }
    all.finalize().into()
}

#[cfg(test)]
mod tests;
