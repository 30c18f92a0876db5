//! `watchgate_plugin_*` of one plugin name: cached handles, because a redaction plugin is called for each message.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use crate::core::Core;
use crate::intern::OTHER;

/// The plugin kinds, and one place for anything else.
const KINDS: [&str; 5] = ["redaction", "derivation", "health", "alerting", OTHER];

/// The metrics about one plugin, whatever its generation. Made by [`crate::Telemetry::plugin`].
pub struct PluginHandles {
    core: Arc<Core>,
    plugin: Box<str>,
    calls: [OnceLock<(IntCounter, Histogram)>; KINDS.len()],
    denials: IntCounter,
    memory: IntGauge,
    generation: IntGauge,
    restarts: IntCounter,
    instances: IntGauge,
    log_lines_dropped: IntCounter,
}

impl PluginHandles {
    /// `plugin` is a bounded label value.
    pub(crate) fn new(core: Arc<Core>, plugin: &str) -> Self {
        let families = &core.families;
        Self {
            plugin: plugin.into(),
            calls: [const { OnceLock::new() }; KINDS.len()],
            denials: families.plugin_denials.with(&[plugin]),
            memory: families.plugin_memory.with(&[plugin]),
            generation: families.plugin_generation.with(&[plugin]),
            restarts: families.plugin_restarts.with(&[plugin]),
            instances: families.plugin_instances.with(&[plugin]),
            log_lines_dropped: families.plugin_log_lines_dropped.with(&[plugin]),
            core,
        }
    }

    /// A call ended, well or not, after `duration`.
    pub fn called(&self, kind: &'static str, duration: Duration) {
        let index = KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len() - 1);
        let (calls, durations) = self.calls[index].get_or_init(|| {
            let (families, values) = (&self.core.families, [&*self.plugin, KINDS[index]]);
            (families.plugin_calls.with(&values), families.plugin_call_duration.with(&values))
        });
        calls.inc();
        durations.observe(duration.as_secs_f64());
    }

    /// A call gave no answer; `reason` is one of the closed set of `hooks`. Count the call itself with [`Self::called`].
    pub fn failed(&self, kind: &'static str, reason: &'static str) {
        self.core.families.plugin_failures.with(&[&self.plugin, kind, reason]).inc();
    }

    /// The plugin refused a message.
    pub fn denied(&self) {
        self.denials.inc();
    }

    /// Linear memory in use, bytes.
    pub fn memory(&self, bytes: u64) {
        self.memory.set(gauge_value(bytes));
    }

    /// An instance was thrown away after a failure and will be replaced.
    pub fn restarted(&self) {
        self.restarts.inc();
    }

    /// The live generation, from 1; 0 for none.
    pub fn generation(&self, generation: u64) {
        self.generation.set(gauge_value(generation));
    }

    /// The state the plugin is in from now on.
    pub fn state(&self, state: &'static str) {
        let states = &self.core.families.plugin_state;
        states.with(&[&self.plugin, state]);
        states.for_each_under(&[&self.plugin], |gauge| gauge.set(0));
        states.with(&[&self.plugin, state]).set(1);
    }

    /// The plugin is gone: no state, no generation, no instances.
    pub fn gone(&self) {
        self.core.families.plugin_state.for_each_under(&[&self.plugin], |gauge| gauge.set(0));
        self.generation.set(0);
        self.memory.set(0);
        self.instances.set(0);
    }

    /// A log line was over the plugin's allowance.
    pub fn log_dropped(&self) {
        self.log_lines_dropped.inc();
    }

    /// A derivation plugin does not get to see an operation.
    pub fn operations_dropped(&self, reason: &'static str) {
        self.core.families.plugin_operations_dropped.with(&[&self.plugin, reason]).inc();
    }

    /// An operation reaches a derivation plugin without its texts; `reason` says why they could not be cleared.
    pub fn texts_dropped(&self, reason: &'static str) {
        self.core.families.telemetry_dropped.with(&["operation_text", reason]).inc();
    }

    /// Instances alive.
    pub fn instances(&self, live: u64) {
        self.instances.set(gauge_value(live));
    }
}

fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
