//! What one instance may allocate.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use crate::plugin::Plugin;

/// Elements of all tables of one instance: function pointers, so far more than any honest component has.
pub(crate) const TABLE_ELEMENTS: usize = 50_000;
/// Tables of one component.
pub(crate) const TABLES: u32 = 32;
/// Core instances of one component: a Rust guest has 3, a JavaScript or Python one under 40.
pub(crate) const CORE_INSTANCES: u32 = 64;
/// Linear memories of one component.
pub(crate) const MEMORIES: u32 = 8;

/// Counts the linear memory of one instance and refuses what goes over its cap.
pub(crate) struct Limiter {
    plugin: Arc<Plugin>,
    cap: usize,
    bytes: usize,
    elements: usize,
    refused: bool,
}

impl Limiter {
    pub(crate) fn new(plugin: Arc<Plugin>, cap: u64) -> Self {
        Self { plugin, cap: usize::try_from(cap).unwrap_or(usize::MAX), bytes: 0, elements: 0, refused: false }
    }

    /// Whether the instance ever wanted more memory than it may have. It is then dropped after its call, whatever it answered.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let bytes = (self.bytes - current.min(self.bytes)).saturating_add(desired);
        if bytes > self.cap {
            self.refused = true;
            return Ok(false);
        }
        self.plugin.memory_changed(self.bytes, bytes);
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = (self.elements - current.min(self.elements)).saturating_add(desired);
        if elements > TABLE_ELEMENTS {
            self.refused = true;
            return Ok(false);
        }
        self.elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.plugin.memory_changed(self.bytes, 0);
    }
}
