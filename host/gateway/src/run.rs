//! Wires the rooms together, serves, and takes them down in order.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use watchgate_admin::{Admin, AdminError, AdminState};
use watchgate_alerts::{Alerts, Moment};
use watchgate_catalog::{Catalog, CatalogConfig};
use watchgate_health::Health;
use watchgate_hooks::{HookSet, LiveHooks, StatusBoard};
use watchgate_proxy::Proxy;
use watchgate_sandbox::{PoolConfig, Sandbox, SandboxConfig};
use watchgate_telemetry::log::{self, LogConfig, LogFormat};
use watchgate_telemetry::{Telemetry, TelemetryConfig};

use crate::commands::GatewayCommands;
use crate::settings::{Cache, Settings};
use crate::signals;

/// Alerts that wait for delivery when the gateway ends get this long.
const LAST_ALERTS: Duration = Duration::from_secs(5);
/// Access lines that wait to be written get this long.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The rooms that run beside the proxy.
struct Rooms {
    telemetry: Arc<Telemetry>,
    health: Arc<Health>,
    alerts: Arc<Alerts>,
    catalog: Option<Catalog>,
    admin: JoinHandle<Result<(), AdminError>>,
    /// True ends everything but the proxy, which has its own end.
    stop: watch::Sender<bool>,
}

/// Runs the gateway until it is told to end and has drained.
///
/// # Errors
/// When something cannot be started; nothing keeps running then.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let format = if settings.log_json { LogFormat::Json } else { LogFormat::Pretty };
    log::init(&LogConfig { level: settings.log_level.clone(), format }).context("the log cannot be set up")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")?;
    let workers = runtime.metrics().num_workers();
    runtime.block_on(serve(settings, workers))
}

async fn serve(settings: Settings, workers: usize) -> anyhow::Result<()> {
    let asked_to_end = signals::watch().context("signals cannot be watched")?;
    let telemetry = Telemetry::new(TelemetryConfig {
        access_log: settings.access_log.clone(),
        operation_buckets: Vec::new(),
        servers: settings.health.servers.clone(),
    })?;
    // Bound before anything is built, so that a taken port is known at once; accepted from only when plugins have settled.
    let mut traffic = Vec::new();
    for listener in &settings.listeners {
        traffic.push((listener, bind(&listener.address, "traffic").await?));
    }
    let admin = bind(&settings.admin, "admin").await?;
    let admin_address = admin.local_addr()?;

    let live = Arc::new(LiveHooks::new(HookSet { missing_required: settings.required.clone(), ..HookSet::empty() }));
    let proxy = Proxy::new(settings.proxy.clone(), live.clone(), telemetry.clone())?;
    let control = proxy.control();
    let mut prepared = Vec::new();
    for (config, listener) in traffic {
        prepared.push((control.prepare_listener(config)?, listener));
    }
    let rooms = start_rooms(&settings, workers, &live, &proxy, telemetry, admin)?;
    announce("admin", admin_address);
    if let Some(catalog) = &rooms.catalog {
        // A redaction plugin that is in the folder sees the first message, not the second.
        catalog.first_scan().await;
    }
    rooms.health.set_startup_done();
    proxy.start_housekeeping();
    for (prepared, listener) in prepared {
        let address = listener.local_addr()?;
        control.listen(prepared, listener);
        announce("traffic", address);
    }
    // The sender lives as long as the process, so this ends only by a signal.
    let _ = asked_to_end.subscribe().wait_for(|asked| *asked).await;
    rooms.health.set_draining();
    tokio::time::sleep(settings.proxy.timeouts.drain_delay).await;
    proxy.drain().await;
    stop_rooms(rooms).await
}

fn start_rooms(
    settings: &Settings,
    workers: usize,
    live: &Arc<LiveHooks>,
    proxy: &Proxy,
    telemetry: Arc<Telemetry>,
    admin: TcpListener,
) -> anyhow::Result<Rooms> {
    let (stop, stopped) = watch::channel(false);
    let calls = proxy.upstream_calls();
    let board = Arc::new(StatusBoard::default());
    let catalog = start_catalog(settings, workers, live, proxy, &board, &telemetry, &stopped)?;
    let health = Health::start(settings.health.clone(), calls, live.clone(), board.clone(), telemetry.clone(), stopped.clone());
    let begun = Instant::now();
    let clock = Arc::new(move || Moment { elapsed: begun.elapsed(), wall: SystemTime::now() });
    let alerts = Alerts::start(&settings.alerts, clock, live.clone(), telemetry.clone(), stopped.clone()).map_err(|mistakes| {
        let sentences: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(sentences.join("; "))
    })?;
    let state = AdminState {
        telemetry: telemetry.clone(),
        health: health.clone(),
        alerts: alerts.clone(),
        board,
        commands: Arc::new(GatewayCommands { reload: catalog.as_ref().map(Catalog::reload_handle) }),
        token: settings.admin_token.clone(),
        own_names: Vec::new(),
    };
    let address = admin.local_addr()?;
    if !address.ip().is_loopback() && settings.admin_token.is_none() {
        return Err(AdminError::TokenRequired(address).into());
    }
    let admin = tokio::spawn(Admin::serve(admin, state, stopped));
    Ok(Rooms { telemetry, health, alerts, catalog, admin, stop })
}

/// Without a folder there is no sandbox either, unless a plugin is required: then its absence must be seen.
fn start_catalog(
    settings: &Settings,
    workers: usize,
    live: &Arc<LiveHooks>,
    proxy: &Proxy,
    board: &Arc<StatusBoard>,
    telemetry: &Arc<Telemetry>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Option<Catalog>> {
    let folder = match (&settings.plugins, settings.required.is_empty()) {
        (Some(folder), _) => folder.clone(),
        (None, false) => "plugins".into(),
        (None, true) => return Ok(None),
    };
    let config = SandboxConfig { cache_dir: cache_folder(&settings.cache)?, workers, pool: PoolConfig::default() };
    let sandbox = Sandbox::new(config, telemetry.clone(), proxy.upstream_calls()).context("the plugin sandbox cannot be started")?;
    let config = CatalogConfig { required: settings.required.clone(), ..CatalogConfig::new(folder) };
    Ok(Some(Catalog::start(config, sandbox, live.clone(), board.clone(), telemetry.clone(), stopped.clone())))
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

/// In this order: alerts need their plugins, plugins need the telemetry.
async fn stop_rooms(rooms: Rooms) -> anyhow::Result<()> {
    rooms.alerts.drain(LAST_ALERTS).await;
    rooms.stop.send_replace(true);
    rooms.health.stopped().await;
    if let Some(catalog) = rooms.catalog {
        catalog.drain().await;
    }
    rooms.admin.await.context("the admin listener ended by a panic")??;
    rooms.telemetry.flush(LAST_LINES);
    tracing::info!("ended");
    Ok(())
}

async fn bind(address: &str, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("cannot listen for {what} on {address}: another process uses it (another watchgate?); choose another port, or 0 for a free one")
        }
        _ => anyhow::anyhow!("cannot listen for {what} on {address}: {error}"),
    })
}

/// One line a listener on stdout: the contract with whoever started the gateway on port 0.
fn announce(what: &str, address: SocketAddr) {
    tracing::info!(%address, "{what} listening");
    let mut out = std::io::stdout().lock();
    // A closed stdout must not keep the gateway from serving.
    let _ = writeln!(out, "watchgate: {what} listening on http://{address}").and_then(|()| out.flush());
}
