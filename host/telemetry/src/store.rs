//! The metric store as a whole: read at one moment by a scrape, an alert rule, or a push.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use prometheus::proto::MetricFamily;

use crate::core::Core;
use crate::family::Gathered;
use crate::plugin_metrics::PluginStore;
use crate::process;

/// The gateway's own metrics and those of plugins.
pub(crate) struct Store {
    pub core: Arc<Core>,
    pub plugins: Arc<PluginStore>,
    started: Instant,
    /// Held while the figures of the process are read, so that two scrapes do not add the same CPU time twice.
    reading: Mutex<()>,
}

impl Store {
    pub fn new(core: Arc<Core>) -> Self {
        Self { plugins: Arc::new(PluginStore::new(core.clone())), core, started: Instant::now(), reading: Mutex::new(()) }
    }

    /// Core and plugin families by name; none is empty.
    pub fn gather(&self) -> Vec<Gathered> {
        {
            let _one_at_a_time = self.reading.lock();
            process::read_into(&self.core.families);
            self.core.families.uptime.with(&[]).set(self.started.elapsed().as_secs_f64());
        }
        let mut gathered = self.core.families.collect();
        gathered.append(&mut self.plugins.collect());
        gathered.sort_by(|left, right| left.family.name().cmp(right.family.name()));
        gathered
    }

    /// As [`Self::gather`], for who has no use for more.
    pub fn families(&self) -> Vec<MetricFamily> {
        self.gather().into_iter().map(|gathered| gathered.family).collect()
    }
}
