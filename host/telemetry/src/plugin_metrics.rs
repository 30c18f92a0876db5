//! The metrics that plugins define: the series of one generation, its declarations, and what becomes of them on a swap.

mod declaration;
mod series;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::RwLock;

use crate::MetricKind;

pub use declaration::{Declaration, DeclareError};
use series::PluginFamily;
pub(crate) use store::PluginStore;

/// Metrics that one plugin may declare.
pub const MOST_METRICS: usize = 100;
/// Series that one plugin may have; values for more go to series whose labels are all `_other`.
pub const MOST_SERIES: usize = 1000;

/// A metric that a generation declared, by its place in that generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricId(u32);

/// The series of one generation of a plugin. It records nothing before [`Self::activate`]; dropping it retires it.
pub struct PluginMetrics {
    store: Arc<PluginStore>,
    generation: Arc<GenerationSeries>,
}

/// What a generation declared. Shared with the store while it is the visible one.
pub(crate) struct GenerationSeries {
    /// Unlike those of every other generation in the process.
    number: u64,
    plugin: Box<str>,
    stage: AtomicU8,
    frozen: AtomicBool,
    /// Only grows, and only until frozen.
    families: RwLock<Vec<Arc<PluginFamily>>>,
}

const TRIAL: u8 = 0;
const RECORDING: u8 = 1;
const RETIRED: u8 = 2;

impl PluginMetrics {
    pub(crate) fn new(store: Arc<PluginStore>, plugin: &str) -> Self {
        let generation = Arc::new(GenerationSeries {
            number: store.next_number(),
            plugin: plugin.into(),
            stage: AtomicU8::new(TRIAL),
            frozen: AtomicBool::new(false),
            families: RwLock::default(),
        });
        Self { store, generation }
    }

    /// Declares a metric. The same declaration again gives the same id; one equal to a declaration of the plugin's visible
    /// generation takes over its values. After [`Self::freeze`] only what is declared already can be.
    pub fn declare(&self, declaration: Declaration) -> Result<MetricId, DeclareError> {
        let declaration = declaration.checked()?;
        let mut families = self.generation.families.write();
        let id = |index: usize| MetricId(u32::try_from(index).expect("a plugin has at most MOST_METRICS metrics"));
        if let Some(index) = families.iter().position(|family| family.declaration().name == declaration.name) {
            return if *families[index].declaration() == declaration {
                Ok(id(index))
            } else {
                Err(DeclareError::Redeclared(declaration.name))
            };
        }
        if self.generation.frozen.load(Ordering::Acquire) {
            return Err(DeclareError::NotInFirstStart(declaration.name));
        }
        if families.len() >= MOST_METRICS {
            return Err(DeclareError::TooManyMetrics);
        }
        self.store.reserve(&self.generation, &declaration)?;
        let family = self.store.predecessor_family(&self.generation, &declaration);
        families.push(family.unwrap_or_else(|| Arc::new(PluginFamily::new(declaration, &self.generation.plugin))));
        Ok(id(families.len() - 1))
    }

    /// Ends the declarations: called after the first instance has started.
    pub fn freeze(&self) {
        self.generation.frozen.store(true, Ordering::Release);
    }

    /// Adds to a counter. Values that are negative or not finite are refused and counted.
    pub fn add(&self, id: MetricId, value: f64, labels: &[String]) {
        self.record(id, MetricKind::Counter, value, labels);
    }

    /// Sets a gauge. Values that are not finite are refused and counted.
    pub fn set(&self, id: MetricId, value: f64, labels: &[String]) {
        self.record(id, MetricKind::Gauge, value, labels);
    }

    /// Adds an observation to a histogram. Values that are not finite are refused and counted.
    pub fn observe(&self, id: MetricId, value: f64, labels: &[String]) {
        self.record(id, MetricKind::Histogram, value, labels);
    }

    /// Makes this the plugin's visible generation and lets it record. A retired generation stays retired.
    pub fn activate(&self) {
        if self.generation.stage.compare_exchange(TRIAL, RECORDING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.store.show(&self.generation);
        }
    }

    /// Ends recording, and takes the series out of the scrape unless another generation has taken this one's place. To be
    /// called when the last call of the generation has ended: until then a replaced generation still counts into the
    /// series that it shares with its successor.
    pub fn retire(&self) {
        self.generation.stage.store(RETIRED, Ordering::Release);
        self.store.hide(&self.generation);
    }

    fn record(&self, id: MetricId, kind: MetricKind, value: f64, labels: &[String]) {
        if !self.generation.is_recording() {
            return;
        }
        let families = self.generation.families.read();
        let refused = match families.get(id.0 as usize) {
            None => Some("unknown_metric"),
            Some(family) if family.declaration().kind != kind => Some("wrong_type"),
            Some(_) if !value.is_finite() => Some("not_finite"),
            Some(_) if kind == MetricKind::Counter && value < 0.0 => Some("negative"),
            Some(family) => {
                if !family.record(value, labels, || self.store.may_grow(&families)) {
                    self.store.count_overflow(&self.generation.plugin);
                }
                None
            }
        };
        if let Some(reason) = refused {
            self.store.count_refused(&self.generation.plugin, reason);
        }
    }
}

impl GenerationSeries {
    fn is_recording(&self) -> bool {
        self.stage.load(Ordering::Acquire) == RECORDING
    }
}

impl Drop for PluginMetrics {
    fn drop(&mut self) {
        self.retire();
    }
}
