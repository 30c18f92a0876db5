//! The names that a server's lists give, bounded.

use crate::envelope::{ListKind, ListedName};
use crate::json::decode_lossy;

/// A longer name becomes no label and identifies nothing, so it is only counted.
const MAX_NAME_BYTES: usize = 256;
/// Lists of real servers are shorter; beyond this the rest is only counted.
const MAX_NAMES: usize = 500;

/// The lists of one result. Each is kept by itself, because a key that comes again starts only its own list anew.
#[derive(Default)]
pub(super) struct Lists {
    lists: [List; 3],
    current: CurrentName,
}

#[derive(Default)]
struct List {
    names: Vec<ListedName>,
    dropped: u32,
}

/// The name of the element being read.
#[derive(Default)]
enum CurrentName {
    #[default]
    Absent,
    Text(Box<str>),
    TooLong,
}

impl Lists {
    pub(super) fn begin_list(&mut self, kind: ListKind) {
        *self.list(kind) = List::default();
    }

    /// An element begins, or its name comes again.
    pub(super) fn begin_name(&mut self) {
        self.current = CurrentName::Absent;
    }

    pub(super) fn name(&mut self, raw: &[u8]) {
        // Longer than any character, so that a name over the limit is seen to be.
        let name = decode_lossy(raw, MAX_NAME_BYTES + 4);
        self.current = if name.len() <= MAX_NAME_BYTES { CurrentName::Text(name.into()) } else { CurrentName::TooLong };
    }

    pub(super) fn end_element(&mut self, kind: ListKind) {
        let total: usize = self.lists.iter().map(|list| list.names.len()).sum();
        let current = std::mem::take(&mut self.current);
        let list = self.list(kind);
        match current {
            CurrentName::Text(name) if total < MAX_NAMES => list.names.push(ListedName { kind, name }),
            CurrentName::Text(_) | CurrentName::TooLong => list.dropped = list.dropped.saturating_add(1),
            CurrentName::Absent => {}
        }
    }

    /// All names, list by list, and how many more there were.
    pub(super) fn finish(self) -> (Vec<ListedName>, u32) {
        let mut names = Vec::new();
        let mut dropped = 0_u32;
        for mut list in self.lists {
            dropped = dropped.saturating_add(list.dropped);
            if names.is_empty() {
                names = list.names;
            } else {
                names.append(&mut list.names);
            }
        }
        (names, dropped)
    }

    fn list(&mut self, kind: ListKind) -> &mut List {
        &mut self.lists[match kind {
            ListKind::Tool => 0,
            ListKind::Prompt => 1,
            ListKind::ResourceTemplate => 2,
        }]
    }
}
