//! Learns when the configuration's files have changed: from the operating system's events, and by looking every few seconds where there are
//! none (network folders) or they go astray. What counts is the content: a link that is turned to another file, as Kubernetes does, is a change;
//! a file that is only touched is none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Time between two looks without an event.
const LOOK: Duration = Duration::from_secs(3);
/// A file that an editor is writing has another content after this long.
const SETTLE: Duration = Duration::from_millis(100);
/// One that is still being written after so many looks is read as it is then.
const PATIENCE: usize = 20;
/// A file that is larger is looked at no further.
const MAX_BYTES: u64 = 4 << 20;

/// Follows a set of files.
pub struct ConfigWatch {
    files: Vec<PathBuf>,
    /// The content when it was last read; `None` before the first time.
    seen: Option<Content>,
    wake: Arc<Notify>,
    /// Kept for its `Drop`, which ends the watch.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

/// A digest of what all files hold.
type Content = [u8; 32];

impl ConfigWatch {
    /// Follows the configuration file; without one there is never a change.
    pub fn new(file: Option<PathBuf>) -> Self {
        let mut watch = Self { files: Vec::new(), seen: None, wake: Arc::default(), watcher: None, folders: BTreeSet::new() };
        watch.follow(file.into_iter().collect());
        watch
    }

    /// Follows these files from now on.
    pub fn follow(&mut self, files: Vec<PathBuf>) {
        let folders = folders(&files);
        if self.folders != folders {
            // The old watch ends first: the system's limit on watches may leave no room for two.
            self.watcher = None;
            self.watcher = attach(&folders, &self.wake);
            self.folders = folders;
        }
        self.files = files;
    }

    /// Notes what the files hold now: it is about to be read.
    pub async fn look(&mut self) {
        self.seen = content(&self.files).await;
    }

    /// Returns once the files hold something else than when last looked at. Cancelling it loses nothing.
    pub async fn changed(&self) {
        if self.files.is_empty() {
            std::future::pending::<()>().await;
        }
        while self.is_as_seen().await {
            // Either an event or its absence for a while leads to a look.
            let _ = timeout(LOOK, self.wake.notified()).await;
            // Another file of the folder, such as a log, may be written all the time.
            sleep(SETTLE).await;
        }
    }

    /// Waits for writers to be done.
    async fn is_as_seen(&self) -> bool {
        let mut now = content(&self.files).await;
        if now == self.seen {
            return true;
        }
        for _ in 0..PATIENCE {
            sleep(SETTLE).await;
            let then = std::mem::replace(&mut now, content(&self.files).await);
            if then == now {
                break;
            }
        }
        now == self.seen
    }
}

/// The folders in which a change of the files shows: their own, and those that links lead to.
fn folders(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    let real = |path: &PathBuf| path.canonicalize().ok();
    files.iter().flat_map(|path| [parent(path), real(path).and_then(|path| parent(&path))]).flatten().collect()
}

/// Asks the operating system for events; where it refuses, looking every few seconds remains.
fn attach(folders: &BTreeSet<PathBuf>, wake: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let wake = Arc::clone(wake);
    let notice = move |event: notify::Result<notify::Event>| {
        // Reading a file is an event too; heeding it would feed the watch with itself.
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            wake.notify_one();
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
