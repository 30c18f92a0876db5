//! The rooms beside the proxy: started in the order they need each other, ended in the opposite one.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use watchgate_admin::{Admin, AdminError, AdminState};
use watchgate_alerts::{Alerts, Moment};
use watchgate_catalog::{Catalog, CatalogConfig};
use watchgate_health::Health;
use watchgate_hooks::{LiveHooks, StatusBoard};
use watchgate_proxy::Proxy;
use watchgate_sandbox::{PoolConfig, Sandbox, SandboxConfig};
use watchgate_telemetry::log::LogHandle;
use watchgate_telemetry::{Telemetry, task};

use crate::commands::GatewayCommands;
use crate::own_checks::JwksCheck;
use crate::reload::ReloadSender;
use crate::settings::{Cache, Settings};

/// Alerts that wait for delivery when the gateway ends get this long.
const LAST_ALERTS: Duration = Duration::from_secs(5);
/// Lines that wait to be written and traces that wait to be exported get this long.
const LAST_TELEMETRY: Duration = Duration::from_secs(5);

/// The rooms that run beside the proxy.
pub struct Rooms {
    pub telemetry: Arc<Telemetry>,
    pub health: Arc<Health>,
    pub alerts: Arc<Alerts>,
    pub catalog: Option<Catalog>,
    admin: JoinHandle<Result<(), AdminError>>,
    /// True ends everything but the proxy, which has its own end.
    stop: watch::Sender<bool>,
}

/// What the rooms are built from.
pub struct Foundation<'a> {
    pub settings: &'a Settings,
    /// Threads of the runtime.
    pub workers: usize,
    pub live: &'a Arc<LiveHooks>,
    pub proxy: &'a Proxy,
    pub telemetry: Arc<Telemetry>,
    /// The process's own log.
    pub log: LogHandle,
    /// Where operators ask for a reload of the configuration.
    pub reloads: ReloadSender,
}

impl Rooms {
    /// Starts them.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(foundation: Foundation<'_>, admin: TcpListener) -> anyhow::Result<Self> {
        let Foundation { settings, live, proxy, .. } = &foundation;
        let telemetry = foundation.telemetry.clone();
        let (stop, stopped) = watch::channel(false);
        let board = Arc::new(StatusBoard::default());
        let catalog = start_catalog(&foundation, &board, &stopped)?;
        let (upstreams, live) = (proxy.upstream_endpoints(), (*live).clone());
        let health = Health::start(settings.health.clone(), upstreams, live.clone(), board.clone(), telemetry.clone(), stopped.clone());
        health.show(Arc::new(JwksCheck(proxy.control())));
        let begun = Instant::now();
        let clock = Arc::new(move || Moment { elapsed: begun.elapsed(), wall: SystemTime::now() });
        let alerts = Alerts::start(&settings.alerts, clock, live, telemetry.clone(), stopped.clone()).map_err(|mistakes| {
            let sentences: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(sentences.join("; "))
        })?;
        let commands = GatewayCommands {
            plugins: catalog.as_ref().map(Catalog::reload_handle),
            config: foundation.reloads.clone(),
            control: proxy.control(),
        };
        let state = AdminState {
            metrics_path: settings.metrics.path.clone(),
            telemetry: telemetry.clone(),
            health: health.clone(),
            alerts: alerts.clone(),
            board,
            commands: Arc::new(commands),
            log: foundation.log.clone(),
            token: settings.admin_token.clone(),
            own_names: Vec::new(),
        };
        let address = admin.local_addr()?;
        if !address.ip().is_loopback() && settings.admin_token.is_none() {
            return Err(AdminError::TokenRequired(address).into());
        }
        let admin = tokio::spawn(task::named("operators' listener", "", Admin::serve(admin, state, stopped)));
        Ok(Self { telemetry, health, alerts, catalog, admin, stop })
    }

    /// Ends them, in this order: alerts need their plugins, plugins need the telemetry.
    ///
    /// # Errors
    /// When the admin listener had ended by a failure.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.alerts.drain(LAST_ALERTS).await;
        self.stop.send_replace(true);
        self.health.stopped().await;
        if let Some(catalog) = self.catalog {
            catalog.drain().await;
        }
        self.admin.await.context("the admin listener ended by a panic")??;
        // It waits on a thread where waiting holds up nobody.
        let is_out = spawn_blocking(move || self.telemetry.shutdown(LAST_TELEMETRY)).await.context("telemetry ended by a panic")?;
        if !is_out {
            tracing::warn!("the last traces, metrics or log lines could not be exported");
        }
        tracing::info!("ended");
        Ok(())
    }
}

/// Without a folder there is no sandbox either, unless a plugin is required: then its absence must be seen.
fn start_catalog(
    foundation: &Foundation<'_>,
    board: &Arc<StatusBoard>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Option<Catalog>> {
    let Foundation { settings, workers, live, proxy, telemetry, .. } = foundation;
    let folder = match (&settings.plugins, settings.required.is_empty()) {
        (Some(folder), _) => folder.clone(),
        (None, false) => "plugins".into(),
        (None, true) => return Ok(None),
    };
    let config = SandboxConfig { cache_dir: cache_folder(&settings.cache)?, workers: *workers, pool: PoolConfig::default() };
    let sandbox = Sandbox::new(config, telemetry.clone(), proxy.upstream_calls()).context("the plugin sandbox cannot be started")?;
    let config = CatalogConfig { required: settings.required.clone(), ..CatalogConfig::new(folder) };
    Ok(Some(Catalog::start(config, sandbox, Arc::clone(live), board.clone(), telemetry.clone(), stopped.clone())))
}

/// Makes the folder for compiled plugins, for this user alone: who can write there can run code in this process.
fn cache_folder(cache: &Cache) -> anyhow::Result<Option<PathBuf>> {
    let make = |path: &Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    match cache {
        Cache::Off => Ok(None),
        Cache::Named(path) => {
            make(path).with_context(|| format!("plugins.cache: the folder {} cannot be made", path.display()))?;
            Ok(Some(path.clone()))
        }
        Cache::Default(path) => match make(path) {
            Ok(()) => Ok(Some(path.clone())),
            Err(error) => {
                tracing::info!(folder = %path.display(), %error, "compiled plugins are not kept: the folder cannot be made");
                Ok(None)
            }
        },
    }
}
