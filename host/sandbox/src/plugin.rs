//! What all instances of one generation share besides its code: who it is, what it may reach, and what is counted about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use watchgate_hooks::{Generation, McpSession, PluginState};
use watchgate_telemetry::{PluginHandles, PluginMetrics};

use crate::egress::HttpGrants;
use crate::plugin_log::PluginLog;
use crate::settings::PluginSettings;

/// One generation of one plugin, without its code.
pub(crate) struct Plugin {
    pub(crate) name: Arc<str>,
    pub(crate) generation: Generation,
    pub(crate) settings: PluginSettings,
    pub(crate) http: HttpGrants,
    pub(crate) servers: Arc<McpSession>,
    pub(crate) metrics: Arc<PluginMetrics>,
    pub(crate) handles: Arc<PluginHandles>,
    pub(crate) log: Arc<PluginLog>,
    usage: Usage,
}

/// What the generation's instances use now.
#[derive(Default)]
struct Usage {
    live: AtomicBool,
    retired: AtomicBool,
    instances: AtomicI64,
    memory: AtomicI64,
}

impl Plugin {
    pub(crate) fn new(
        name: &str,
        generation: Generation,
        settings: PluginSettings,
        http: HttpGrants,
        servers: Arc<McpSession>,
        telemetry: &watchgate_telemetry::Telemetry,
    ) -> Arc<Self> {
        let handles = telemetry.plugin(name);
        let log = PluginLog::new(name, Arc::clone(&handles));
        let metrics = telemetry.open_plugin_metrics(name);
        Arc::new(Self { name: name.into(), generation, settings, http, servers, metrics, handles, log, usage: Usage::default() })
    }

    /// Whether the generation serves traffic. Before that, nothing it does may leave the process.
    pub(crate) fn is_live(&self) -> bool {
        self.usage.live.load(Ordering::Acquire)
    }

    /// From now on its metrics are recorded, its gauges are shown and the network is open to it.
    pub(crate) fn go_live(&self) {
        self.metrics.activate();
        self.usage.live.store(true, Ordering::Release);
        self.show_usage();
    }

    /// From now on another generation shows the gauges of this name.
    pub(crate) fn retire(&self) {
        self.usage.retired.store(true, Ordering::Release);
    }

    /// The linear memory of one instance went from `old` to `new` bytes.
    pub(crate) fn memory_changed(&self, old: usize, new: usize) {
        let difference = i64::try_from(new).unwrap_or(i64::MAX) - i64::try_from(old).unwrap_or(i64::MAX);
        self.usage.memory.fetch_add(difference, Ordering::Relaxed);
        self.show_usage();
    }

    /// An instance was made (1) or dropped (-1).
    pub(crate) fn instances_changed(&self, difference: i64) {
        self.usage.instances.fetch_add(difference, Ordering::Relaxed);
        self.show_usage();
    }

    /// Instances that exist now.
    pub(crate) fn instances(&self) -> u64 {
        u64::try_from(self.usage.instances.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The gauge of states says this of the plugin, unless another generation has taken the name over.
    pub(crate) fn show_state(&self, state: PluginState) {
        if self.is_current() {
            self.handles.state(state.as_str());
        }
    }

    /// Whether the gauges of this name are about this generation.
    fn is_current(&self) -> bool {
        self.is_live() && !self.usage.retired.load(Ordering::Acquire)
    }

    fn show_usage(&self) {
        if self.is_current() {
            self.handles.memory(u64::try_from(self.usage.memory.load(Ordering::Relaxed)).unwrap_or(0));
            self.handles.instances(self.instances());
        }
    }
}
