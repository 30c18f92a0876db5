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

/// Names of one kind that become labels because the server listed them. Past it, and for names never learned, the label is `_other`.
const MOST_LISTED: usize = 500;
/// Those that it only answered to. They have a bound of their own, so that invented ones take no room from what is listed later.
const MOST_ANSWERED: usize = 100;
/// Longer names are never labels, bytes.
const LONGEST_NAME: usize = 128;

/// The names of one server. Reading is a snapshot without a lock; learning copies the snapshot, at most 700 times a kind.
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
    known: ArcSwap<HashMap<Box<str>, Known>>,
    /// Whether there is no room for more, by source.
    full: [AtomicBool; 2],
    learning: Mutex<()>,
}

#[derive(Clone)]
struct Known {
    source: Source,
    series: Arc<SeriesOfName>,
}

/// How a name was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The server listed it.
    Listed,
    /// The server answered to it without error.
    Answered,
}

impl Source {
    const fn most(self) -> usize {
        match self {
            Self::Listed => MOST_LISTED,
            Self::Answered => MOST_ANSWERED,
        }
    }
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
        self.of(kind)?.known.load().get(name).map(|known| known.series.clone())
    }

    /// Calls `with` with the series of the name, or of `_other` when the name is not known.
    pub fn with_series<T>(&self, named: Option<(NameKind, Option<&str>)>, with: impl FnOnce(&SeriesOfName) -> T) -> T {
        let Some((kind, name)) = named else { return with(&self.nameless) };
        let (Some(names), Some(name)) = (self.of(kind), name) else { return with(self.other(Some(kind))) };
        match names.known.load().get(name) {
            Some(known) => with(&known.series),
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

    /// What was answered to may be listed later, and is then no longer among those that are only answered.
    pub(super) fn learn(&self, kind: NameKind, name: &str, source: Source) {
        let Some(names) = self.of(kind) else { return };
        let full = &names.full[source as usize];
        // A name that reads as the label of all others is none of its own.
        if full.load(Ordering::Relaxed) || name.is_empty() || name.len() > LONGEST_NAME || name == OTHER || names.is_settled(name, source) {
            return;
        }
        let _one_at_a_time = names.learning.lock();
        let known = names.known.load();
        if names.is_settled(name, source) {
            return;
        }
        if known.values().filter(|known| known.source == source).count() >= source.most() {
            full.store(true, Ordering::Relaxed);
            return;
        }
        let mut next = HashMap::clone(&known);
        let entry = next.entry(name.into()).or_insert_with(|| {
            let series = match kind {
                NameKind::Prompt => SeriesOfName::new("", name),
                NameKind::Tool | NameKind::Resource => SeriesOfName::new(name, ""),
            };
            Known { source, series: Arc::new(series) }
        });
        if std::mem::replace(&mut entry.source, source) != source {
            names.full[Source::Answered as usize].store(false, Ordering::Relaxed);
        }
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

impl Names {
    /// Whether there is nothing to learn.
    fn is_settled(&self, name: &str, source: Source) -> bool {
        self.known.load().get(name).is_some_and(|known| known.source == Source::Listed || source == Source::Answered)
    }
}

#[cfg(test)]
mod tests {
    use super::{KnownNames, LONGEST_NAME, MOST_ANSWERED, MOST_LISTED, Source};
    use crate::facts::NameKind;

    fn check(kind: NameKind, name: &str, known: bool) {
        let names = KnownNames::new("s");
        names.learn(kind, name, Source::Answered);
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
        check(NameKind::Tool, crate::intern::OTHER, false);
    }

    #[test]
    fn the_first_500_that_are_listed_are_learned_whatever_was_invented_before() {
        let names = KnownNames::new("s");
        let is_known = |name: String| names.find(NameKind::Tool, &name).is_some();
        (0..MOST_ANSWERED + 100).for_each(|index| names.learn(NameKind::Tool, &format!("invented-{index}"), Source::Answered));
        assert_eq!([99, 100].map(|index| is_known(format!("invented-{index}"))), [true, false]);
        let series = names.find(NameKind::Tool, "invented-0").unwrap();
        names.learn(NameKind::Tool, "invented-0", Source::Listed);
        assert!(std::sync::Arc::ptr_eq(&series, &names.find(NameKind::Tool, "invented-0").unwrap()), "it goes on counting");
        names.learn(NameKind::Tool, "one-more", Source::Answered);
        names.learn(NameKind::Tool, "and-another", Source::Answered);
        assert_eq!(["one-more", "and-another"].map(|name| is_known(name.to_owned())), [true, false]);
        (1..MOST_LISTED + 100).for_each(|index| names.learn(NameKind::Tool, &format!("tool-{index}"), Source::Listed));
        assert_eq!([499, 500].map(|index| is_known(format!("tool-{index}"))), [true, false]);
        names.learn(NameKind::Prompt, "still", Source::Listed);
        assert!(names.find(NameKind::Prompt, "still").is_some());
    }
}
