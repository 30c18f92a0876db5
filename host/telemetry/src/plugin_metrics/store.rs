//! Which generation of each plugin is seen in the scrape, and who holds which metric name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::declaration::{Declaration, DeclareError};
use super::series::PluginFamily;
use super::{GenerationSeries, MOST_SERIES};
use crate::MetricKind;
use crate::core::Core;
use crate::family::Gathered;

/// Plugin series live here and nowhere else: a shared registry would keep a name's labels for the life of the process.
pub(crate) struct PluginStore {
    core: Arc<Core>,
    numbers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The visible generation of each plugin.
    visible: BTreeMap<Box<str>, Arc<GenerationSeries>>,
    /// By sample name, each generation that has declared it. All agree, except generations of one plugin.
    holders: HashMap<String, Vec<Holder>>,
}

struct Holder {
    plugin: Box<str>,
    generation: u64,
    family: String,
    kind: MetricKind,
}

impl PluginStore {
    pub fn new(core: Arc<Core>) -> Self {
        Self { core, numbers: AtomicU64::new(1), state: Mutex::default() }
    }

    pub fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes the declaration's names for a generation until it is hidden.
    pub fn reserve(&self, generation: &GenerationSeries, declaration: &Declaration) -> Result<(), DeclareError> {
        let mut state = self.state.lock();
        let names = declaration.sample_names();
        let clashes = |holder: &Holder| {
            let differs = holder.family != declaration.name || holder.kind != declaration.kind;
            // A plugin's next generation may change what its own names mean.
            differs && (holder.plugin != generation.plugin || holder.generation == generation.number)
        };
        if names.iter().filter_map(|name| state.holders.get(name)).flatten().any(clashes) {
            return Err(DeclareError::Taken(declaration.name.clone()));
        }
        for name in names {
            state.holders.entry(name).or_default().push(Holder {
                plugin: generation.plugin.clone(),
                generation: generation.number,
                family: declaration.name.clone(),
                kind: declaration.kind,
            });
        }
        Ok(())
    }

    /// The family of an equal declaration in the generation that is visible in the given one's place.
    pub fn predecessor_family(&self, generation: &GenerationSeries, declaration: &Declaration) -> Option<Arc<PluginFamily>> {
        let predecessor = self.state.lock().visible.get(&generation.plugin)?.clone();
        if predecessor.number == generation.number {
            return None;
        }
        let families = predecessor.families.read();
        families.iter().find(|family| family.declaration() == declaration).cloned()
    }

    /// Makes a generation the visible one of its plugin, unless it has been retired meanwhile.
    pub fn show(&self, generation: &Arc<GenerationSeries>) {
        let mut state = self.state.lock();
        if generation.is_recording() {
            state.visible.insert(generation.plugin.clone(), generation.clone());
        }
    }

    /// Takes a generation out of the scrape, if it is in it, and gives its names back.
    pub fn hide(&self, generation: &GenerationSeries) {
        let mut state = self.state.lock();
        if state.visible.get(&generation.plugin).is_some_and(|visible| visible.number == generation.number) {
            state.visible.remove(&generation.plugin);
        }
        state.holders.retain(|_, holders| {
            holders.retain(|holder| holder.generation != generation.number);
            !holders.is_empty()
        });
    }

    /// Whether a generation with these families may have one series more.
    pub fn may_grow(&self, families: &[Arc<PluginFamily>]) -> bool {
        families.iter().map(|family| family.len()).sum::<usize>() < MOST_SERIES
    }

    pub fn count_overflow(&self, plugin: &str) {
        self.core.families.plugin_series_overflow.with(&[plugin]).inc();
    }

    pub fn count_refused(&self, plugin: &str, reason: &'static str) {
        self.core.families.plugin_values_dropped.with(&[plugin, reason]).inc();
    }

    /// The series of every visible generation; plugins that share a name share a family.
    pub fn collect(&self) -> Vec<Gathered> {
        let visible: Vec<_> = self.state.lock().visible.values().cloned().collect();
        let mut merged: BTreeMap<String, Gathered> = BTreeMap::new();
        for generation in visible {
            for mut more in generation.families.read().iter().filter_map(|family| family.collect()) {
                match merged.get_mut(more.family.name()) {
                    Some(first) => {
                        first.family.mut_metric().append(more.family.mut_metric());
                        first.since.append(&mut more.since);
                    }
                    None => drop(merged.insert(more.family.name().to_owned(), more)),
                }
            }
        }
        merged.into_values().collect()
    }
}
