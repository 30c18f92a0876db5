//! A value made from files: served from memory, made again when they change, kept when the new files are no good.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::error::TlsError;
use super::files::WatchedFile;

/// What a look at the files brought.
#[derive(Debug)]
pub(crate) enum Refreshed {
    /// Nothing new. Also when files that were refused before are still the same.
    Unchanged,
    /// New connections use the new files. Also when files that were refused have become again what is in use.
    Replaced,
    /// The new files are no good, and what was in use stays in use. Said once for each reason, not at each look.
    Failed(TlsError),
}

/// The value in use and the files that it is from.
pub(super) struct Reloaded<T> {
    live: ArcSwap<T>,
    watch: Mutex<Watch>,
}

struct Watch {
    files: Vec<WatchedFile>,
    /// Why the files were refused when they were last read. While there is a complaint they are read at every look: what hindered reading
    /// need not show in how they look.
    complaint: Option<String>,
}

impl<T> Reloaded<T> {
    /// Looks at the files and makes the first value.
    pub(super) fn load<'a>(
        paths: impl IntoIterator<Item = &'a Path>,
        now: SystemTime,
        make: impl FnOnce() -> Result<T, TlsError>,
    ) -> Result<Self, TlsError> {
        let mut files: Vec<_> = paths.into_iter().map(WatchedFile::new).collect();
        look_at_all(&mut files, now);
        Ok(Self { live: ArcSwap::from_pointee(make()?), watch: Mutex::new(Watch { files, complaint: None }) })
    }

    /// The value in use.
    pub(super) fn get(&self) -> arc_swap::Guard<Arc<T>> {
        self.live.load()
    }

    /// Makes the value again if the files may have changed. `make` gets the one in use and answers `None` when what it read is the same.
    pub(super) fn refresh(&self, now: SystemTime, make: impl FnOnce(&T) -> Result<Option<T>, TlsError>) -> Refreshed {
        let mut watch = self.watch.lock();
        if !look_at_all(&mut watch.files, now) && watch.complaint.is_none() {
            return Refreshed::Unchanged;
        }
        match make(&self.live.load()) {
            Ok(value) => {
                let recovered = watch.complaint.take().is_some();
                let new = value.is_some();
                if let Some(value) = value {
                    self.live.store(Arc::new(value));
                }
                if new || recovered { Refreshed::Replaced } else { Refreshed::Unchanged }
            }
            Err(error) => {
                let complaint = error.to_string();
                if watch.complaint.as_ref() == Some(&complaint) {
                    return Refreshed::Unchanged;
                }
                watch.complaint = Some(complaint);
                Refreshed::Failed(error)
            }
        }
    }
}

/// Looks at every one, also after the first that changed: each remembers how it looked.
fn look_at_all(files: &mut [WatchedFile], now: SystemTime) -> bool {
    files.iter_mut().fold(false, |changed, file| file.look(now) | changed)
}
