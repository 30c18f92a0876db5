//! Names from outside (plugins, checks, severities) as label values: the first so many, then `_other`.

use std::collections::HashSet;

use parking_lot::RwLock;

use crate::intern::OTHER;

/// Longer names are cut for use as a label, bytes.
pub(crate) const LONGEST_LABEL: usize = 128;

/// At most `most` distinct names.
pub(crate) struct BoundedNames {
    most: usize,
    seen: RwLock<HashSet<Box<str>>>,
}

impl BoundedNames {
    pub fn new(most: usize) -> Self {
        Self { most, seen: RwLock::default() }
    }

    /// The label value for `name`.
    pub fn label<'a>(&self, name: &'a str) -> &'a str {
        let name = cut(name);
        if self.seen.read().contains(name) {
            return name;
        }
        let mut seen = self.seen.write();
        if seen.len() < self.most || seen.contains(name) {
            seen.insert(name.into());
            return name;
        }
        OTHER
    }

    /// Makes room for another name; the caller removes the series first.
    pub fn forget(&self, name: &str) {
        self.seen.write().remove(cut(name));
    }
}

/// The first [`LONGEST_LABEL`] bytes of `text`, less what would split a character.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_LABEL)]
}

#[cfg(test)]
mod tests {
    use super::{BoundedNames, cut};

    #[test]
    fn names_past_the_bound_are_other() {
        let names = BoundedNames::new(2);
        assert_eq!(["a", "b", "a", "c", "b"].map(|name| names.label(name)), ["a", "b", "a", "_other", "b"]);
        names.forget("a");
        names.forget("never seen");
        assert_eq!(["c", "a", "b"].map(|name| names.label(name)), ["c", "_other", "b"]);
    }

    #[test]
    fn a_cut_keeps_characters_whole() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(200)).len(), 128);
        assert_eq!(cut(&format!("x{}", "ü".repeat(100))).len(), 127);
    }
}
