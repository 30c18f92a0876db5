//! Decides from scans and events which plugins changed. Pure: time and sightings are arguments.
//!
//! A file counts as seen once a writer closed it or renamed it in, or when two scans found it equal, or when nothing
//! has touched it for long. It counts as removed when it stayed absent from a folder that could be listed. Until both
//! files of a plugin are settled the plugin keeps its last version.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::sighting::{Content, FileKey, Part, Scan, Sighting, Stamp, Version};

/// After a writer closed a file, others may follow within this time (`cp` of both files of a plugin).
pub const DEBOUNCE: Duration = Duration::from_millis(20);

/// Two scans this far apart that find a file equal settle it when no event told of its end (links, network folders).
pub const STABLE: Duration = Duration::from_millis(150);

/// A file absent in two scans this far apart is removed; shorter gaps are how careless tools replace files.
pub const ABSENT: Duration = Duration::from_millis(250);

/// A writer that pauses keeps its file unsettled for this long; then it is taken to have forgotten to close it.
pub const WRITE_HOLD: Duration = Duration::from_secs(5);

/// What an event said about one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileEvent {
    /// Created, removed or renamed away: what was known about its writer is over.
    Replaced,
    /// Content was written; the writer has not closed it.
    Written,
    /// A writer closed it, or it was renamed in.
    Finished,
}

/// What is known about whoever writes a file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Writer {
    #[default]
    Unknown,
    Writing(Instant),
    Finished(Instant),
}

/// One file: what it settled as, and what may replace that.
#[derive(Debug, Default)]
struct Track {
    settled: Option<Content>,
    /// The metadata that `settled` was last seen with.
    stamp: Option<Stamp>,
    /// Touched or written again since [`Folder::take_rewritten`], with the same content.
    is_rewritten: bool,
    writer: Writer,
    pending: Pending,
}

#[derive(Debug, Default)]
enum Pending {
    /// The last scan agreed with `settled`.
    #[default]
    Nothing,
    /// Present and still changing, as of this scan or event.
    Moving(Instant),
    /// Found like this since then.
    Different { stamp: Option<Stamp>, content: Content, since: Instant },
    /// Not in the folder since then.
    Absent(Instant),
}

/// Follows every file of the folder.
#[derive(Debug, Default)]
pub struct Folder {
    tracks: BTreeMap<FileKey, Track>,
    reported: BTreeMap<String, Version>,
}

/// A plugin whose settled files changed. An absent component means that the plugin was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The plugin.
    pub name: String,
    /// Its files now.
    pub version: Version,
}

impl Folder {
    /// Takes note of an event. The next scan that starts [`DEBOUNCE`] after a `Finished` settles the file.
    pub fn note(&mut self, key: &FileKey, event: FileEvent, now: Instant) {
        let writer = match event {
            FileEvent::Replaced => Writer::Unknown,
            FileEvent::Written => Writer::Writing(now),
            FileEvent::Finished => Writer::Finished(now),
        };
        let track = self.tracks.entry(key.clone()).or_default();
        track.writer = writer;
        if matches!(event, FileEvent::Written) && track.settled.is_none() {
            track.pending = Pending::Moving(now);
        }
    }

    /// Forgets what events said, because some were lost.
    pub fn forget_events(&mut self) {
        for track in self.tracks.values_mut() {
            track.writer = Writer::Unknown;
        }
    }

    /// The files that somebody has open for writing, as far as events tell; reading them now would be in vain.
    pub fn being_written(&self, now: Instant) -> BTreeSet<FileKey> {
        self.tracks.iter().filter(|(_, track)| track.is_held(now)).map(|(key, _)| key.clone()).collect()
    }

    /// Takes in a scan that was started at `started` (not finished: events after the start count as newer than what
    /// the scan saw) and answers which plugins changed.
    pub fn observe(&mut self, started: Instant, scan: &Scan) -> Vec<Change> {
        let Scan::Listed { files, .. } = scan else {
            for track in self.tracks.values_mut() {
                track.pending = Pending::Nothing;
                track.writer = Writer::Unknown;
            }
            return Vec::new();
        };
        for key in files.keys() {
            self.tracks.entry(key.clone()).or_default();
        }
        for (key, track) in &mut self.tracks {
            match files.get(key) {
                Some(sighting) => track.present(started, sighting),
                None => track.absent(started),
            }
        }
        self.tracks.retain(|_, track| !track.is_over());
        self.changes()
    }

    /// The plugins with a file that somebody touched or wrote again as it was. That is no change, but it may be a wish.
    pub fn take_rewritten(&mut self) -> BTreeSet<String> {
        let rewritten = self.tracks.iter_mut().filter_map(|(key, track)| std::mem::take(&mut track.is_rewritten).then(|| key.name.clone()));
        rewritten.collect()
    }

    /// When the next scan may bring a decision, if anything is undecided.
    pub fn next_scan(&self) -> Option<Instant> {
        self.tracks.values().filter_map(Track::next_scan).min()
    }

    /// The plugins with a file that is not settled.
    pub fn unsettled(&self) -> BTreeSet<&str> {
        self.tracks.iter().filter(|(_, track)| track.is_pending()).map(|(key, _)| key.name.as_str()).collect()
    }

    /// The settled files of a plugin as last reported.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.reported.get(name)
    }

    fn changes(&mut self) -> Vec<Change> {
        let names: BTreeSet<String> = self.tracks.keys().map(|key| key.name.clone()).chain(self.reported.keys().cloned()).collect();
        let mut changes = Vec::new();
        for name in names {
            if self.is_unsettled(&name) {
                continue;
            }
            let version = Version { component: self.settled(&name, Part::Component), settings: self.settled(&name, Part::Settings) };
            if self.reported.get(&name).unwrap_or(&Version::default()) == &version {
                continue;
            }
            if version == Version::default() {
                self.reported.remove(&name);
            } else {
                self.reported.insert(name.clone(), version.clone());
            }
            changes.push(Change { name, version });
        }
        changes
    }

    fn is_unsettled(&self, name: &str) -> bool {
        let of = |part| self.tracks.get(&FileKey { name: name.to_owned(), part }).is_some_and(Track::is_pending);
        of(Part::Component) || of(Part::Settings)
    }

    fn settled(&self, name: &str, part: Part) -> Option<Content> {
        self.tracks.get(&FileKey { name: name.to_owned(), part }).and_then(|track| track.settled.clone())
    }
}

impl Track {
    fn present(&mut self, started: Instant, sighting: &Sighting) {
        let Sighting::Still { stamp, content, quiet } = sighting else {
            self.pending = Pending::Moving(started);
            return;
        };
        if self.is_held(started) {
            self.pending = Pending::Moving(started);
            return;
        }
        if self.settled.as_ref() == Some(content) {
            self.is_rewritten |= self.stamp != *stamp;
            self.stamp = *stamp;
            self.settle(started, Some(content.clone()));
            return;
        }
        let since = match &self.pending {
            Pending::Different { stamp: old_stamp, content: old, since } if old_stamp == stamp && old == content => *since,
            _ => started,
        };
        let finished = matches!(self.writer, Writer::Finished(at) if started >= at + DEBOUNCE);
        let stable = started >= since + STABLE || (*quiet && matches!(self.writer, Writer::Unknown));
        if finished || stable {
            self.stamp = *stamp;
            self.settle(started, Some(content.clone()));
        } else {
            self.pending = Pending::Different { stamp: *stamp, content: content.clone(), since };
        }
    }

    fn absent(&mut self, started: Instant) {
        let since = match self.pending {
            Pending::Absent(since) => since,
            _ => started,
        };
        self.forget_writer_before(started);
        if self.settled.is_none() || started >= since + ABSENT {
            self.settle(started, None);
        } else {
            self.pending = Pending::Absent(since);
        }
    }

    fn settle(&mut self, started: Instant, content: Option<Content>) {
        self.settled = content;
        self.pending = Pending::Nothing;
        self.forget_writer_before(started);
    }

    /// An event after the scan began speaks of something that the scan has not seen, so it is kept.
    fn forget_writer_before(&mut self, started: Instant) {
        if matches!(self.writer, Writer::Finished(at) | Writer::Writing(at) if at <= started) {
            self.writer = Writer::Unknown;
        }
    }

    fn is_held(&self, now: Instant) -> bool {
        matches!(self.writer, Writer::Writing(last) if now < last + WRITE_HOLD)
    }

    fn is_pending(&self) -> bool {
        !matches!(self.pending, Pending::Nothing)
    }

    fn is_over(&self) -> bool {
        self.settled.is_none() && matches!(self.pending, Pending::Nothing) && matches!(self.writer, Writer::Unknown)
    }

    fn next_scan(&self) -> Option<Instant> {
        let by_content = match &self.pending {
            Pending::Nothing => None,
            Pending::Moving(since) | Pending::Different { since, .. } => Some(*since + STABLE),
            Pending::Absent(since) => Some(*since + ABSENT),
        };
        match self.writer {
            Writer::Unknown => by_content,
            Writer::Finished(at) => Some(at + DEBOUNCE),
            // While the writer is held nothing can be decided before the hold ends.
            Writer::Writing(last) => Some(by_content.map_or(last + WRITE_HOLD, |time| time.max(last + WRITE_HOLD))),
        }
    }
}

#[cfg(test)]
#[path = "folder/tests.rs"]
mod tests;
