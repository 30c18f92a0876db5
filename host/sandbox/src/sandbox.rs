//! The sandbox: the engine, its clock and its lanes, and the way from bytes to a [`Candidate`].

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};
use watchgate_hooks::{FailureReason, Generation as Number, HookFailure, McpSession, UpstreamCalls};
use watchgate_telemetry::Telemetry;

use crate::candidate::Candidate;
use crate::capacity::{Capacity, Reservation};
use crate::code::Code;
use crate::egress::HttpGrants;
use crate::engine::{self, PoolConfig};
use crate::exports::Exports;
use crate::generation::{Generation, Parts};
use crate::limiter::{MEMORIES, TABLE_ELEMENTS, TABLES};
use crate::link;
use crate::meter::SlowLane;
use crate::plugin::Plugin;
use crate::refusal::{LoadCode, LoadError, SandboxError};
use crate::settings::{Limits, PluginSettings};
use crate::state::State;
use crate::ticker::Ticker;
use crate::verify::{Manifest, first_line, verify};

/// Bytes of one page of linear memory.
const PAGE: u64 = 64 * 1024;

/// How the sandbox is set up.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Where compiled components are kept between runs. Whoever may write there controls this process. `None`: nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Worker threads of the async runtime. All but one may be busy with slow plugins.
    pub workers: usize,
    /// The pool of instances.
    pub pool: PoolConfig,
}

/// Runs plugins. One for the process.
pub struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    /// Where calls run that took longer than a tick.
    pub(crate) lane: Arc<SlowLane>,
    /// Permits for compilations, which take whole cores.
    compiling: Semaphore,
    linker: Linker<State>,
    capacity: Arc<Capacity>,
    max_memory: u64,
    telemetry: Arc<Telemetry>,
    servers: Arc<McpSession>,
    pub(crate) quarantines: Arc<Notify>,
}

/// How full the pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Instances that can be reserved in all.
    pub instances: u32,
    /// Instances that generations have reserved.
    pub reserved: u32,
    /// Instances that exist now, as the allocator counts them; `None` without a pool.
    pub existing: Option<u64>,
}

impl Sandbox {
    /// Starts the engine and its epoch thread.
    ///
    /// # Errors
    /// When wasmtime refuses the configuration, the cache folder cannot be used or the thread does not start.
    pub fn new(config: SandboxConfig, telemetry: Arc<Telemetry>, upstreams: Arc<dyn UpstreamCalls>) -> Result<Arc<Self>, SandboxError> {
        let engine = engine::build(config.pool, config.cache_dir.as_deref())?;
        let linker = link::base(&engine).map_err(SandboxError::Engine)?;
        let spare = config.workers.saturating_sub(1).max(1);
        Ok(Arc::new(Self {
            ticker: Ticker::start(&engine)?,
            engine,
            lane: SlowLane::new(spare),
            compiling: Semaphore::new(spare),
            linker,
            capacity: Capacity::new(config.pool.instances),
            max_memory: config.pool.max_memory,
            telemetry,
            servers: Arc::new(McpSession::new(upstreams)),
            quarantines: Arc::default(),
        }))
    }

    /// Notified whenever a live plugin is quarantined or called again.
    pub fn quarantines(&self) -> Arc<Notify> {
        Arc::clone(&self.quarantines)
    }

    /// How full the pool is.
    pub fn usage(&self) -> PoolUsage {
        PoolUsage {
            instances: self.capacity.total(),
            reserved: self.capacity.reserved(),
            existing: self.engine.pooling_allocator_metrics().map(|metrics| metrics.component_instances()),
        }
    }

    /// Verifies, compiles (away from the workers, at most `workers - 1` at once), links and starts a component. `generation` counts the
    /// loads of this name.
    ///
    /// # Errors
    /// A [`LoadError`] with the code of the first check that fails. Nothing is left behind then.
    pub async fn load(
        self: &Arc<Self>,
        name: &str,
        wasm: Bytes,
        settings: PluginSettings,
        generation: Number,
    ) -> Result<Candidate, LoadError> {
        let manifest = verify(&wasm, &settings)?;
        let http = HttpGrants::parse(&settings.grants.http)
            .map_err(|grant| LoadError::new(LoadCode::BadGrant, format!("`{grant}` is not `host` or `host:port`")))?;
        let component = self.compile(wasm).await?;
        let weight = self.check_limits(&component, &settings.limits)?;
        let (pre, exports) = self.link(&component, &manifest)?;
        let reservation = self.reserve(Generation::instances(&manifest.kinds, settings.limits.max_instances), weight)?;
        let plugin = Plugin::new(name, generation, settings, http, Arc::clone(&self.servers), &self.telemetry);
        let code = Code { sandbox: Arc::clone(self), pre, exports };
        let Manifest { kinds, collects, .. } = manifest;
        let parts = Parts { plugin, code, kinds, collects, reservation };
        Generation::new(parts).await.map(Candidate::new).map_err(|failure| start_failed(&failure))
    }

    async fn compile(self: &Arc<Self>, wasm: Bytes) -> Result<Component, LoadError> {
        let failed = |detail: String| LoadError::new(LoadCode::Compile, detail);
        let _permit = self.compiling.acquire().await.map_err(|error| failed(error.to_string()))?;
        let engine = self.engine.clone();
        let compiled = spawn_blocking(move || {
            let component = Component::from_binary(&engine, &wasm)?;
            // Now, so that no call pays for it.
            component.initialize_copy_on_write_image()?;
            Ok(component)
        });
        let compiled: wasmtime::Result<Component> = compiled.await.map_err(|error| failed(format!("the compiler panicked: {error}")))?;
        compiled.map_err(|error| {
            let invalid = error.chain().any(|cause| cause.is::<wasmparser::BinaryReaderError>());
            let code = if invalid { LoadCode::Malformed } else { LoadCode::Compile };
            LoadError::new(code, first_line(&format!("{error:#}")))
        })
    }

    /// Whether one instance fits its limits and the pool, and how many places in the pool it takes.
    fn check_limits(&self, component: &Component, limits: &Limits) -> Result<u32, LoadError> {
        let over = |detail: String| Err(LoadError::new(LoadCode::OverLimits, detail));
        if limits.memory_bytes > self.max_memory {
            return over(format!("its settings grant {} bytes of memory; the pool has at most {}", limits.memory_bytes, self.max_memory));
        }
        let Some(needs) = component.resources_required() else {
            return over("what it needs cannot be told, because it imports modules or components".to_owned());
        };
        let initial = needs.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE);
        if initial > limits.memory_bytes {
            return over(format!("it begins with {initial} bytes of memory; its settings grant {}", limits.memory_bytes));
        }
        let elements = needs.max_initial_table_size.unwrap_or(0);
        if needs.num_memories > MEMORIES || needs.num_tables > TABLES || elements > TABLE_ELEMENTS as u64 {
            return over(format!(
                "it has {} memories, {} tables and {elements} elements in one of them",
                needs.num_memories, needs.num_tables
            ));
        }
        Ok(engine::weight(needs.num_memories, needs.num_tables))
    }

    fn link(&self, component: &Component, manifest: &Manifest) -> Result<(InstancePre<State>, Exports), LoadError> {
        let unknown = |error: wasmtime::Error| LoadError::new(LoadCode::UnknownImport, first_line(&format!("{error:#}")));
        let mut linker = self.linker.clone();
        if manifest.asks_servers {
            link::add_mcp_client(&mut linker).map_err(unknown)?;
        }
        if manifest.uses_http {
            link::add_http(&mut linker).map_err(unknown)?;
        }
        let pre = linker.instantiate_pre(component).map_err(unknown)?;
        let exports = Exports::find(&pre, manifest)?;
        Ok((pre, exports))
    }

    fn reserve(&self, instances: u32, weight: u32) -> Result<Reservation, LoadError> {
        let wanted = instances.saturating_mul(weight);
        self.capacity.reserve(wanted).map_err(|free| {
            LoadError::new(
                LoadCode::NoCapacity,
                format!("it needs {wanted} places in the pool of {}; {free} are free", self.capacity.total()),
            )
        })
    }
}

/// The code for a first `start` that failed.
fn start_failed(failure: &HookFailure) -> LoadError {
    let code = match failure.reason {
        FailureReason::GuestError => LoadCode::StartError,
        FailureReason::CpuTimeout | FailureReason::WallTimeout => LoadCode::StartTimeout,
        FailureReason::NoCapacity => LoadCode::NoCapacity,
        FailureReason::InvalidOutput => LoadCode::KindShape,
        _ => LoadCode::StartTrap,
    };
    LoadError::new(code, failure.detail.clone())
}
