//! `mcp_*_operation_*` and `watchgate_mcp_tool_*` of one server: one lookup by a small key finds every handle.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter};

use super::known_names::KnownNames;
use crate::core::{Core, METHODS, VERSIONS};
use crate::error_type::ErrorType;
use crate::facts::{NameKind, OperationFinished};
use crate::intern::OTHER;

/// Detailed combinations of label values for one server. Past it, name, error and protocol version of a new combination
/// become `_other`, so that the rest is bounded by the closed sets.
const MOST_COMBINATIONS: usize = 4096;

const TOOLS_CALL: &str = "tools/call";

/// Initiator, method, outcome, protocol version and error, each by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key(usize);

/// The handles of one combination.
struct Handles {
    server: Histogram,
    /// Made when the upstream was first asked.
    client: OnceLock<Histogram>,
    /// Only for `tools/call`.
    tool: Option<(IntCounter, Histogram)>,
}

/// The series of one tool, one prompt, or of operations without a name.
pub(crate) struct SeriesOfName {
    tool: Box<str>,
    prompt: Box<str>,
    /// Sorted by key; few entries, so that copying it for a new one is cheap.
    series: ArcSwap<Vec<(Key, Arc<Handles>)>>,
    making: Mutex<()>,
}

/// How many combinations a server may still have.
pub(super) struct OperationSeries {
    left: AtomicUsize,
}

impl SeriesOfName {
    /// `tool` and `prompt` are the label values; one of them is empty.
    pub fn new(tool: &str, prompt: &str) -> Self {
        Self { tool: tool.into(), prompt: prompt.into(), series: ArcSwap::default(), making: Mutex::new(()) }
    }
}

impl OperationSeries {
    pub fn new() -> Self {
        Self { left: AtomicUsize::new(MOST_COMBINATIONS) }
    }

    pub fn record(&self, core: &Core, names: &KnownNames, fact: &OperationFinished<'_>) {
        let labels = Labels::of(core, fact);
        let key = labels.key(core);
        names.with_series(labels.named.map(|kind| (kind, fact.name)), |series| {
            if !series.record_known(key, core, names, &labels, fact) {
                self.make_and_record(core, names, series, &labels, fact);
            }
        });
    }

    #[cold]
    fn make_and_record(&self, core: &Core, names: &KnownNames, series: &SeriesOfName, labels: &Labels, fact: &OperationFinished<'_>) {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            series.make(core, names, labels).record(core, names, series, labels, fact);
            return;
        }
        let (series, labels) = (names.other(labels.named), labels.coarse());
        if !series.record_known(labels.key(core), core, names, &labels, fact) {
            series.make(core, names, &labels).record(core, names, series, &labels, fact);
        }
    }
}

impl SeriesOfName {
    /// `false` when the combination has no handles yet.
    fn record_known(&self, key: Key, core: &Core, names: &KnownNames, labels: &Labels, fact: &OperationFinished<'_>) -> bool {
        let snapshot = self.series.load();
        let Ok(index) = snapshot.binary_search_by_key(&key, |(key, _)| *key) else { return false };
        snapshot[index].1.record(core, names, self, labels, fact);
        true
    }

    fn make(&self, core: &Core, names: &KnownNames, labels: &Labels) -> Arc<Handles> {
        let key = labels.key(core);
        let _one_at_a_time = self.making.lock();
        let known = self.series.load();
        let place = match known.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(index) => return known[index].1.clone(),
            Err(place) => place,
        };
        let (families, owner) = (&core.families, names.owner());
        let (server, method, outcome) = (names.server(), labels.method(core), labels.outcome(core));
        let tool = (method == TOOLS_CALL && labels.from_client).then(|| {
            let tool = if self.tool.is_empty() { OTHER } else { &self.tool };
            (families.tool_calls.owned(owner, &[server, tool, outcome]), families.tool_call_duration.owned(owner, &[server, tool]))
        });
        let error = labels.error(core, ErrorType::is_server_error);
        let (code, version, initiator) = (labels.rpc_code(), labels.version(core), labels.initiator());
        let values = [server, method, &self.tool, &self.prompt, error, code, outcome, version, initiator];
        let operations = families.server_operation_duration.owned(owner, &values);
        let made = Arc::new(Handles { server: operations, client: OnceLock::new(), tool });
        let mut next = Vec::clone(&known);
        next.insert(place, (key, made.clone()));
        self.series.store(Arc::new(next));
        made
    }
}

impl Handles {
    fn record(&self, core: &Core, names: &KnownNames, series: &SeriesOfName, labels: &Labels, fact: &OperationFinished<'_>) {
        let seconds = fact.duration.as_secs_f64();
        self.server.observe(seconds);
        if fact.from_client && !fact.upstream.is_zero() {
            let client = self.client.get_or_init(|| {
                let error = labels.error(core, |_| true);
                let (method, outcome, version) = (labels.method(core), labels.outcome(core), labels.version(core));
                let values = [names.server(), method, &series.tool, &series.prompt, error, labels.rpc_code(), outcome, version];
                core.families.client_operation_duration.owned(names.owner(), &values)
            });
            client.observe(fact.upstream.as_secs_f64());
        }
        if let Some((calls, duration)) = &self.tool {
            calls.inc();
            duration.observe(seconds);
        }
    }
}

/// The label values of one operation by their numbers, its name aside.
#[derive(Clone, Copy)]
struct Labels {
    from_client: bool,
    method: usize,
    outcome: usize,
    version: Option<usize>,
    error: Option<LabelledError>,
    /// The kind of name the labels speak of.
    named: Option<NameKind>,
}

#[derive(Clone, Copy)]
enum LabelledError {
    Exact(ErrorType),
    Other,
}

impl Labels {
    fn of(core: &Core, fact: &OperationFinished<'_>) -> Self {
        Self {
            from_client: fact.from_client,
            method: fact.method.map_or(METHODS, |method| core.methods.number(method)),
            outcome: core.outcomes.number(fact.outcome),
            version: fact.protocol_version.map(|version| core.versions.number(version)),
            error: fact.error_type.map(LabelledError::Exact),
            named: fact.name_kind.filter(|kind| *kind != NameKind::Resource),
        }
    }

    fn coarse(self) -> Self {
        Self { version: self.version.map(|_| VERSIONS), error: self.error.map(|_| LabelledError::Other), ..self }
    }

    fn method<'a>(&self, core: &'a Core) -> &'a str {
        core.methods.text(self.method)
    }

    fn outcome<'a>(&self, core: &'a Core) -> &'a str {
        core.outcomes.text(self.outcome)
    }

    fn version<'a>(&self, core: &'a Core) -> &'a str {
        self.version.map_or("", |version| core.versions.text(version))
    }

    fn initiator(&self) -> &'static str {
        if self.from_client { "client" } else { "server" }
    }

    fn error<'a>(&self, core: &'a Core, counts: impl Fn(ErrorType) -> bool) -> &'a str {
        match self.error {
            None => "",
            Some(LabelledError::Other) => OTHER,
            Some(LabelledError::Exact(error)) if counts(error) => error.label(&core.error_words),
            Some(LabelledError::Exact(_)) => "",
        }
    }

    fn rpc_code(&self) -> &'static str {
        match self.error {
            Some(LabelledError::Exact(error)) => error.rpc_code(),
            // The error may have been one of another kind, or have had any code.
            Some(LabelledError::Other) => OTHER,
            None => "",
        }
    }

    fn key(&self, core: &Core) -> Key {
        let error = match self.error {
            None => 0,
            Some(LabelledError::Other) => usize::from(u16::MAX),
            Some(LabelledError::Exact(error)) => usize::from(error.number(&core.error_words)),
        };
        let version = self.version.map_or(0, |version| version + 1);
        Key([usize::from(self.from_client), self.method, self.outcome, version].into_iter().fold(0, |key, number| key << 8 | number) << 16
            | error)
    }
}
