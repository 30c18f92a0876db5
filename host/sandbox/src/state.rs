//! The data of one instance's store: all that its host functions can reach.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::egress::Egress;
use crate::host::{DeclaredMetric, Draft, Loan};
use crate::limiter::Limiter;
use crate::meter::Meter;
use crate::plugin::Plugin;
use crate::plugin_log::{InstanceLog, Level, LineBuffer};
use crate::stdio::LogStream;

/// Calls of host functions in one call of the plugin: enough for the most edits a message may have and a log line for each.
const HOST_CALLS: u32 = 200_000;
/// Entries of the table behind WASI's handles: streams, timers, requests.
const TABLE_ENTRIES: usize = 1000;
/// Bytes of random numbers in one call: they are made in one go.
const RANDOM_BYTES: u64 = 64 * 1024;

/// The data of one store.
pub(crate) struct State {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) limiter: Limiter,
    pub(crate) meter: Arc<Meter>,
    pub(crate) log: Arc<InstanceLog>,
    /// What the running call is lent.
    pub(crate) loan: Loan,
    /// Whether the running call is about a sample: nothing that it records counts, and nothing leaves the process.
    pub(crate) is_sample: bool,
    /// What `start` declares; only while it runs.
    pub(crate) draft: Option<Draft>,
    /// The metrics that this instance's `start` declared, in order: handles are indices into it.
    pub(crate) declared: Vec<DeclaredMetric>,
    host_calls: u32,
    wall: Duration,
    /// When the call began; known only for plugins that may wait for the network.
    began: Option<Instant>,
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    egress: Egress,
}

impl State {
    pub(crate) fn new(plugin: Arc<Plugin>, meter: Arc<Meter>) -> Self {
        let log = InstanceLog::new(Arc::clone(&plugin.log));
        let mut table = ResourceTable::new();
        table.set_max_capacity(TABLE_ENTRIES);
        Self {
            limiter: Limiter::new(Arc::clone(&plugin), plugin.settings.limits.memory_bytes),
            meter,
            loan: Loan::Nothing,
            is_sample: false,
            draft: None,
            declared: Vec::new(),
            host_calls: 0,
            wall: Duration::ZERO,
            began: None,
            wasi: inert_wasi(&plugin, &log),
            table,
            http: WasiHttpCtx::new(),
            egress: Egress::new(plugin.http.clone()),
            log,
            plugin,
        }
    }

    /// A call begins: it is lent `loan` and may last `wall`.
    pub(crate) fn begin(&mut self, loan: Loan, wall: Duration) {
        self.loan = loan;
        self.host_calls = HOST_CALLS;
        self.wall = wall;
        self.log.begin();
        let may_wait = self.draft.is_none() && !self.is_sample && self.plugin.is_live() && self.plugin.settings.grants.reach_out();
        self.began = may_wait.then(Instant::now);
        self.egress.begin(may_wait.then_some(wall));
    }

    /// The call is over: takes back what it was lent.
    pub(crate) fn end(&mut self) -> Loan {
        std::mem::replace(&mut self.loan, Loan::Nothing)
    }

    /// Counts one call of a host function.
    pub(crate) fn count_host_call(&mut self) -> wasmtime::Result<()> {
        match self.host_calls.checked_sub(1) {
            Some(left) => {
                self.host_calls = left;
                Ok(())
            }
            None => Err(wasmtime::Error::new(TooManyHostCalls)),
        }
    }

    /// How long a host function may wait for the network; `None` when the plugin has none: in `start`, on trial, or without a grant. A
    /// tenth of the deadline is kept back, so that the plugin learns of a timeout before it suffers one itself.
    pub(crate) fn patience(&self) -> Option<Duration> {
        Some((self.wall * 9 / 10).saturating_sub(self.began?.elapsed()))
    }
}

/// A guest called more host functions in one call than [`HOST_CALLS`].
#[derive(Debug, thiserror::Error)]
#[error("more than {HOST_CALLS} calls of host functions in one call")]
pub(crate) struct TooManyHostCalls;

/// WASI that leads nowhere: no arguments, files or sockets, a closed standard input, only the environment that was granted, and
/// output that goes to the plugin's log. Sockets and name lookup exist and refuse.
fn inert_wasi(plugin: &Plugin, log: &Arc<InstanceLog>) -> WasiCtx {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(ClosedInputStream)
        .stdout(LogStream(LineBuffer::new(Arc::clone(log), Level::Info)))
        .stderr(LogStream(LineBuffer::new(Arc::clone(log), Level::Warn)))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(RANDOM_BYTES);
    for (name, value) in &plugin.settings.grants.env {
        wasi.env(name, value);
    }
    wasi.build()
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.egress }
    }
}
