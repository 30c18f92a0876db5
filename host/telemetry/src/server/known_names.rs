//! Which tools and prompts of a server have a label of their own, each with the series found under it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::operation_series::SeriesOfName;
use crate::facts::NameKind;
use crate::intern::OTHER;
use crate::owner::Owner;

/// Names of one kind that become labels. Past it, and for names never learned, the label is `_other`.
const MOST_NAMES: usize = 500;
/// Longer names are never labels, bytes.
const LONGEST_NAME: usize = 128;

/// The names of one server. Reading is a snapshot without a lock; learning copies the snapshot, at most 500 times a kind.
pub(crate) struct KnownNames {
    server: Box<str>,
    owner: Owner,
    tools: Names,
    prompts: Names,
    /// Series of operations that name nothing, or a thing that is never a label.
    nameless: SeriesOfName,
    other_tool: SeriesOfName,
    other_prompt: SeriesOfName,
}

#[derive(Default)]
struct Names {
    known: ArcSwap<HashMap<Box<str>, Arc<SeriesOfName>>>,
    full: AtomicBool,
    learning: Mutex<()>,
}

impl KnownNames {
    pub fn new(server: &str) -> Self {
        Self {
            server: server.into(),
            owner: Owner::default(),
            tools: Names::default(),
            prompts: Names::default(),
            nameless: SeriesOfName::new("", ""),
            other_tool: SeriesOfName::new(OTHER, ""),
            other_prompt: SeriesOfName::new("", OTHER),
        }
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// What every series of the server belongs to.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The series of a known name.
    pub fn find(&self, kind: NameKind, name: &str) -> Option<Arc<SeriesOfName>> {
        self.of(kind)?.known.load().get(name).cloned()
    }

    /// Calls `with` with the series of the name, or of `_other` when the name is not known.
    pub fn with_series<T>(&self, named: Option<(NameKind, Option<&str>)>, with: impl FnOnce(&SeriesOfName) -> T) -> T {
        let Some((kind, name)) = named else { return with(&self.nameless) };
        let (Some(names), Some(name)) = (self.of(kind), name) else { return with(self.other(Some(kind))) };
        match names.known.load().get(name) {
            Some(series) => with(series),
            None => with(self.other(Some(kind))),
        }
    }

    /// The series of everything without a label of its own.
    pub fn other(&self, kind: Option<NameKind>) -> &SeriesOfName {
        match kind {
            Some(NameKind::Tool) => &self.other_tool,
            Some(NameKind::Prompt) => &self.other_prompt,
            Some(NameKind::Resource) | None => &self.nameless,
        }
    }

    pub fn learn(&self, kind: NameKind, name: &str) {
        let Some(names) = self.of(kind) else { return };
        if names.full.load(Ordering::Relaxed) || name.is_empty() || name.len() > LONGEST_NAME || names.known.load().contains_key(name) {
            return;
        }
        let _one_at_a_time = names.learning.lock();
        let known = names.known.load();
        if known.len() >= MOST_NAMES {
            names.full.store(true, Ordering::Relaxed);
            return;
        }
        let series = match kind {
            NameKind::Prompt => SeriesOfName::new("", name),
            NameKind::Tool | NameKind::Resource => SeriesOfName::new(name, ""),
        };
        let mut next = HashMap::clone(&known);
        next.entry(name.into()).or_insert_with(|| Arc::new(series));
        names.known.store(Arc::new(next));
    }

    /// `None` for resources: a URI is never a label.
    fn of(&self, kind: NameKind) -> Option<&Names> {
        match kind {
            NameKind::Tool => Some(&self.tools),
            NameKind::Prompt => Some(&self.prompts),
            NameKind::Resource => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KnownNames, LONGEST_NAME, MOST_NAMES};
    use crate::facts::NameKind;

    fn check(kind: NameKind, name: &str, known: bool) {
        let names = KnownNames::new("s");
        names.learn(kind, name);
        assert_eq!(names.find(kind, name).is_some(), known, "{kind:?} {name:?}");
        let another = if kind == NameKind::Tool { NameKind::Prompt } else { NameKind::Tool };
        assert!(names.find(another, name).is_none());
    }

    #[test]
    fn tools_and_prompts_of_sensible_length_are_learned() {
        check(NameKind::Tool, "echo", true);
        check(NameKind::Prompt, "grüße", true);
        check(NameKind::Tool, &"n".repeat(LONGEST_NAME), true);
        check(NameKind::Tool, &"n".repeat(LONGEST_NAME + 1), false);
        check(NameKind::Tool, "", false);
        check(NameKind::Resource, "file:///etc/passwd", false);
    }

    #[test]
    fn the_first_500_of_a_kind_are_learned() {
        let names = KnownNames::new("s");
        for index in 0..MOST_NAMES + 100 {
            names.learn(NameKind::Tool, &format!("tool-{index}"));
        }
        assert!(names.find(NameKind::Tool, "tool-499").is_some());
        assert!(names.find(NameKind::Tool, "tool-500").is_none());
        names.learn(NameKind::Prompt, "still");
        assert!(names.find(NameKind::Prompt, "still").is_some());
    }
}
