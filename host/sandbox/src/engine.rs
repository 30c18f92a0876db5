//! The one wasmtime engine of the process, and how much it may hold.

use std::path::Path;

use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::limiter::{CORE_INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES};
use crate::refusal::SandboxError;

/// The pool that instances come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Instances of all generations together: live, draining and on trial. Each has 4 GiB of address space, none of it used before it is
    /// touched.
    pub instances: u32,
    /// The most linear memory in bytes that any plugin's settings may grant one instance.
    pub max_memory: u64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { instances: 400, max_memory: 256 << 20 }
    }
}

/// Memory of an instance that keeps its pages when the instance goes, in bytes. More makes fresh instances slower, because it is zeroed by
/// hand (28 us for 64 KiB, 43 us for 1 MiB), less makes each touch a page fault.
const KEPT_MEMORY: usize = 64 * 1024;
/// Tables and core instances in the pool for each instance; most components use 2 and 3.
const TABLES_EACH: u32 = 8;
const CORE_INSTANCES_EACH: u32 = 16;

/// Builds the engine, with a pool if the machine has the address space for it.
pub(crate) fn build(pool: PoolConfig, cache: Option<&Path>) -> Result<Engine, SandboxError> {
    let mut config = base();
    if let Some(folder) = cache {
        config.cache(Some(open_cache(folder)?));
    }
    let mut pooled = config.clone();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(pool)));
    match Engine::new(&pooled) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!("no instance pool: {error:#}; instances are allocated one by one, which is slower");
            frugal(&mut config);
            Engine::new(&config).map_err(SandboxError::Engine)
        }
    }
}

fn base() -> Config {
    let mut config = Config::new();
    // Cranelift only: every sandbox escape of the last year was in the other compiler.
    config.strategy(Strategy::Cranelift);
    // The async component model costs each call half a microsecond, and no plugin may use it.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    // What no plugin needs is attack surface.
    config.wasm_gc(false).wasm_exceptions(false).wasm_function_references(false).wasm_memory64(false);
    config.shared_memory(false);
    // Traps tell their kind; frames of a stripped guest tell nothing more.
    config.wasm_backtrace_max_frames(None);
    // Nothing unwinds through guests, and registering this is quadratic in the number of components.
    config.native_unwind_info(false);
    config
}

/// Memory as it is needed instead of 4 GiB of address space for each instance: where there is no room for a pool, there is none for that.
fn frugal(config: &mut Config) {
    config.memory_reservation(0).memory_reservation_for_growth(1 << 20).memory_guard_size(64 << 10);
}

fn pooling(pool: PoolConfig) -> PoolingAllocationConfig {
    let mut config = PoolingAllocationConfig::new();
    config
        .total_component_instances(pool.instances)
        .total_core_instances(pool.instances.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(pool.instances)
        .total_tables(pool.instances.saturating_mul(TABLES_EACH))
        // A store keeps its stack while it lives.
        .total_stacks(pool.instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(pool.max_memory).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEPT_MEMORY);
    config
}

/// Instances of the pool that one instance of a component with these parts takes.
pub(crate) fn weight(memories: u32, tables: u32) -> u32 {
    memories.max(tables.div_ceil(TABLES_EACH)).max(1)
}

fn open_cache(folder: &Path) -> Result<Cache, SandboxError> {
    let failed = |source| SandboxError::Cache { folder: folder.display().to_string(), source };
    std::fs::create_dir_all(folder).map_err(|error| failed(error.into()))?;
    let folder = folder.canonicalize().map_err(|error| failed(error.into()))?;
    let mut config = CacheConfig::new();
    config.with_directory(folder);
    Cache::new(config).map_err(failed)
}
