//! The catalog as others see it: started with a folder, it keeps the live set of plugins true to what lies there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use watchgate_hooks::{HookSet, LiveHooks, StatusBoard};
use watchgate_telemetry::{Telemetry, task};

use crate::keeper::{Keeper, Shared};
use crate::loader::Loader;
use crate::roster::Roster;
use crate::watch::WatchMode;

/// What the catalog is told.
#[derive(Clone, Debug)]
pub struct CatalogConfig {
    /// The folder whose top level holds `NAME.wasm` and `NAME.toml`, as an absolute path. It need not exist; it is found when it appears.
    pub folder: PathBuf,
    /// Names of plugins without which no traffic passes, whatever their settings say.
    pub required: Vec<String>,
    /// Time between two scans that no event asked for.
    pub scan_interval: Duration,
    /// How changes are noticed between them.
    pub watch: WatchMode,
}

impl CatalogConfig {
    /// This folder, nothing required, events of the operating system, and a scan each 30 s for those that get lost.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        // Events name absolute paths whatever was watched; it fails only for an empty path or without a working folder.
        let folder = folder.into();
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self { folder, required: Vec::new(), scan_interval: Duration::from_secs(30), watch: WatchMode::default() }
    }
}

/// A running catalog.
pub struct Catalog {
    live: Arc<LiveHooks>,
    reload: Arc<Notify>,
    settled: watch::Receiver<bool>,
    published: watch::Receiver<u64>,
    keeper: JoinHandle<Roster>,
}

impl Catalog {
    /// Begins to keep `live` and `board` true to the folder, until `shutdown` is true. From this moment on the required
    /// plugins are missing, until they are live.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn start(
        config: CatalogConfig,
        loader: impl Loader,
        live: Arc<LiveHooks>,
        board: Arc<StatusBoard>,
        telemetry: Arc<Telemetry>,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let reload = Arc::new(Notify::new());
        let (settled, is_settled) = watch::channel(false);
        let (published, count) = watch::channel(0);
        let shared =
            Shared { loader: Arc::new(loader), live: Arc::clone(&live), board, telemetry, reload: Arc::clone(&reload), settled, published };
        let keeper = tokio::spawn(task::named("plugin folder", "", Keeper::new(config, shared).run(shutdown)));
        Self { live, reload, settled: is_settled, published: count, keeper }
    }

    /// Returns when all that lay in the folder at the start is live or refused; also when the catalog was stopped
    /// before. A file that is still being written after three seconds counts as refused for now.
    pub async fn first_scan(&self) {
        // An error means that the keeper is gone: there is nothing left to wait for.
        let _ = self.settled.clone().wait_for(|settled| *settled).await;
    }

    /// Scans at once, and tries again what is refused.
    pub fn reload_now(&self) {
        self.reload.notify_one();
    }

    /// What makes [`Self::reload_now`] happen, for those who live longer than this value.
    pub fn reload_handle(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Counts what was published on the status board, and wakes at the next.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.published.clone()
    }

    /// Ends every plugin, after `shutdown` is true and the last exchange has ended: what waits in the queues of
    /// derivations is observed first. Bounded by the plugins' deadlines and 20 s.
    pub async fn drain(self) {
        let Ok(roster) = self.keeper.await else { return };
        let missing_required = roster.missing_required();
        self.live.swap(HookSet { missing_required, ..HookSet::empty() });
        let mut retirements = tokio::task::JoinSet::new();
        for generation in roster.into_generations() {
            retirements.spawn(generation.retire());
        }
        retirements.join_all().await;
    }
}
