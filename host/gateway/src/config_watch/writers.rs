//! What the operating system's events say of whoever writes the files: that somebody is at it, and that somebody is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};

/// Who has written a file and not closed it for so long may never do so; the file is then read as it is. Far longer than editors and scripts pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Kept up to date by the event thread.
#[derive(Debug, Default)]
pub struct Writers {
    /// The files that count, by the paths that events have for them. Others of their folders may be written all the time.
    files: BTreeSet<PathBuf>,
    /// Files that were written and not closed since, with the moment at which that was last seen.
    open: BTreeMap<PathBuf, Instant>,
    /// How often somebody was done: closed a file that was written, or put one, or a link, in the place of another.
    finished: u64,
}

impl Writers {
    /// These files count from now on.
    pub fn follow(&mut self, files: BTreeSet<PathBuf>) {
        self.open.retain(|path, _| files.contains(path));
        self.files = files;
    }

    /// Takes in an event. Whether it is a reason to look at the files.
    pub fn note(&mut self, event: notify::Result<Event>, now: Instant) -> bool {
        let Ok(event) = event else { return self.lose() };
        if event.need_rescan() {
            return self.lose();
        }
        for path in &event.paths {
            self.note_path(event.kind, path, now);
        }
        // Reading a file is an event too; heeding it would feed the watch with itself.
        !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
    }

    /// Whether one of the files is being written.
    pub fn are_writing(&self, now: Instant) -> bool {
        self.open.values().any(|last| now.saturating_duration_since(*last) < LONGEST_PAUSE)
    }

    /// How often somebody was done.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    fn note_path(&mut self, kind: EventKind, path: &Path, now: Instant) {
        match kind {
            EventKind::Modify(ModifyKind::Data(_)) if self.files.contains(path) => {
                self.open.insert(path.to_owned(), now);
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write)) if self.files.contains(path) => self.finish(path),
            // Whole files and links come like this, also links that stand somewhere on the way to a file.
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) | EventKind::Remove(_) => self.finish(path),
            _ => {}
        }
    }

    fn finish(&mut self, path: &Path) {
        self.open.remove(path);
        self.finished += 1;
    }

    /// What was known of writers no longer holds.
    fn lose(&mut self) -> bool {
        self.open.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, DataChange, Flag, MetadataKind, RemoveKind};

    use super::*;

    const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const TOUCHED: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    const RENAMED_IN: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);

    fn following() -> Writers {
        let mut writers = Writers::default();
        writers.follow(BTreeSet::from([PathBuf::from("etc/watchgate.toml"), PathBuf::from("etc/keys")]));
        writers
    }

    /// What these events about `etc/NAME` come to: whether somebody is writing, and how often somebody was done.
    #[track_caller]
    fn check(events: &[(&str, EventKind)], is_writing: bool, finished: u64) {
        let mut writers = following();
        let now = Instant::now();
        for (name, kind) in events {
            writers.note(Ok(Event::new(*kind).add_path(Path::new("etc").join(name))), now);
        }
        assert_eq!((writers.are_writing(now), writers.finished()), (is_writing, finished), "{events:?}");
    }

    #[test]
    fn a_file_is_being_written_until_it_is_closed() {
        let ours = "watchgate.toml";
        check(&[(ours, OPENED), (ours, CREATED), (ours, TOUCHED)], false, 0);
        check(&[(ours, WRITTEN)], true, 0);
        check(&[(ours, WRITTEN), (ours, WRITTEN), (ours, CLOSED)], false, 1);
        check(&[(ours, WRITTEN), (ours, CLOSED), (ours, WRITTEN)], true, 1);
        check(&[(ours, WRITTEN), ("keys", WRITTEN), ("keys", CLOSED)], true, 1);
        check(&[(ours, WRITTEN), (ours, RENAMED_IN)], false, 1);
        check(&[(ours, WRITTEN), (ours, REMOVED)], false, 1);
        check(&[("access.log", WRITTEN), ("access.log", CLOSED)], false, 0);
        check(&[("..data", RENAMED_IN)], false, 1);
    }

    #[test]
    fn who_pauses_for_long_may_never_be_done() {
        let mut writers = following();
        let now = Instant::now();
        writers.note(Ok(Event::new(WRITTEN).add_path("etc/keys".into())), now);
        assert!(writers.are_writing(now + LONGEST_PAUSE - Duration::from_millis(1)));
        assert!(!writers.are_writing(now + LONGEST_PAUSE));
    }

    #[test]
    fn what_is_lost_or_no_longer_followed_is_forgotten() {
        let now = Instant::now();
        let written = || {
            let mut writers = following();
            writers.note(Ok(Event::new(WRITTEN).add_path("etc/keys".into())), now);
            writers
        };
        let mut writers = written();
        assert!(writers.note(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), now));
        assert!(!writers.are_writing(now));
        let mut writers = written();
        writers.follow(BTreeSet::from([PathBuf::from("etc/watchgate.toml")]));
        assert!(!writers.are_writing(now));
    }

    #[test]
    fn reading_is_no_reason_to_look() {
        for (kind, expected) in
            [(OPENED, false), (EventKind::Access(AccessKind::Read), false), (CLOSED, true), (WRITTEN, true), (TOUCHED, true)]
        {
            assert_eq!(following().note(Ok(Event::new(kind).add_path("etc/keys".into())), Instant::now()), expected, "{kind:?}");
        }
    }
}
