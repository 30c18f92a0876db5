//! A listener on a free port with everything behind it, and a client that sees every byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use watchgate_admin::{
    Admin, AdminError, AdminState, Breaker, BreakerWish, Commands, ConfigComplaint, ConfigReload, NoSuchEndpoint, Secret,
};
use watchgate_alerts::{Alerts, AlertsConfig, Moment};
use watchgate_health::{Health, HealthConfig};
use watchgate_hooks::{BoxFuture, HookSet, LiveHooks, StatusBoard, UpstreamEndpoint, UpstreamEndpoints};
use watchgate_telemetry::log::{self, LogConfig, LogHandle};
use watchgate_telemetry::{Telemetry, TelemetryConfig};

/// No server has an endpoint.
struct NoUpstream;

impl UpstreamEndpoints for NoUpstream {
    fn endpoints(&self, _server: &str) -> Vec<Arc<dyn UpstreamEndpoint>> {
        Vec::new()
    }
}

/// Remembers what it is asked for. The configuration is sound, wrong and gone in turn, beginning anew after that.
#[derive(Default)]
pub struct Remembered {
    plugin_reloads: AtomicUsize,
    config_reloads: AtomicUsize,
    forced: Mutex<Option<&'static str>>,
}

const SERVER: &str = "weather";
const ENDPOINT: &str = "[::1]:3001";

impl Commands for Remembered {
    fn reload_plugins(&self) {
        self.plugin_reloads.fetch_add(1, Ordering::SeqCst);
    }

    fn reload_config(&self) -> BoxFuture<'_, ConfigReload> {
        let reload = match self.config_reloads.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => ConfigReload::Applied { changed: vec!["listeners".to_owned()], needs_restart: vec!["admin".to_owned()] },
            1 => ConfigReload::Refused {
                complaints: vec![
                    ConfigComplaint { file: Some("watchgate.toml".to_owned()), line: Some(3), text: "unknown key".to_owned() },
                    ConfigComplaint { file: None, line: None, text: "no server".to_owned() },
                ],
            },
            _ => ConfigReload::Unavailable,
        };
        Box::pin(std::future::ready(reload))
    }

    fn config(&self) -> serde_json::Value {
        serde_json::json!({ "admin": "127.0.0.1:9090" })
    }

    fn breakers(&self) -> Vec<Breaker> {
        let forced = *self.forced.lock();
        vec![Breaker { server: SERVER.to_owned(), endpoint: ENDPOINT.to_owned(), state: forced.unwrap_or("closed"), forced }]
    }

    fn force_breaker(&self, server: &str, endpoint: Option<&str>, wanted: BreakerWish) -> Result<(), NoSuchEndpoint> {
        if server != SERVER || endpoint.is_some_and(|endpoint| endpoint != ENDPOINT) {
            return Err(NoSuchEndpoint);
        }
        *self.forced.lock() = match wanted {
            BreakerWish::Open => Some("open"),
            BreakerWish::Closed => Some("closed"),
            BreakerWish::Automatic => None,
        };
        Ok(())
    }
}

/// The log of this process, which all scenes share.
pub fn own_log() -> LogHandle {
    static LOG: OnceLock<LogHandle> = OnceLock::new();
    LOG.get_or_init(|| log::init(&LogConfig::default()).unwrap()).clone()
}

pub struct Scene {
    pub address: SocketAddr,
    pub health: Arc<Health>,
    pub live: Arc<LiveHooks>,
    pub telemetry: Arc<Telemetry>,
    pub board: Arc<StatusBoard>,
    pub shutdown: watch::Sender<bool>,
    pub served: JoinHandle<Result<(), AdminError>>,
    commands: Arc<Remembered>,
}

impl Scene {
    pub async fn begin(token: Option<&str>, servers: &[&str]) -> Self {
        Self::on("127.0.0.1:0", token, servers).await
    }

    pub async fn on(address: &str, token: Option<&str>, servers: &[&str]) -> Self {
        let servers: Vec<String> = servers.iter().map(|server| (*server).to_owned()).collect();
        let config = TelemetryConfig { servers: servers.clone(), log: Some(own_log()), ..TelemetryConfig::default() };
        let telemetry = Telemetry::new(config).unwrap();
        let live = Arc::new(LiveHooks::new(HookSet::empty()));
        let board = Arc::new(StatusBoard::new());
        let (shutdown, ending) = watch::channel(false);
        let health = Health::start(
            HealthConfig { servers, ..HealthConfig::default() },
            Arc::new(NoUpstream),
            Arc::clone(&live),
            Arc::clone(&board),
            Arc::clone(&telemetry),
            ending.clone(),
        );
        let clock = Arc::new(|| Moment { elapsed: Duration::ZERO, wall: SystemTime::UNIX_EPOCH });
        let alerts = Alerts::start(&AlertsConfig::default(), clock, Arc::clone(&live), Arc::clone(&telemetry), ending.clone()).unwrap();
        let commands = Arc::new(Remembered::default());
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = AdminState {
            metrics_path: "/prometheus".to_owned(),
            telemetry: Arc::clone(&telemetry),
            health: Arc::clone(&health),
            alerts,
            board: Arc::clone(&board),
            commands: Arc::clone(&commands) as Arc<dyn Commands>,
            log: own_log(),
            token: token.and_then(Secret::new),
            own_names: vec!["watchgate.internal".to_owned()],
        };
        let served = tokio::spawn(Admin::serve(listener, state, ending));
        Self { address, health, live, telemetry, board, shutdown, served, commands }
    }

    pub fn reloads(&self) -> usize {
        self.commands.plugin_reloads.load(Ordering::SeqCst)
    }

    /// A connection of its own for one request with extra header lines.
    pub async fn ask(&self, request: &str, headers: &[&str]) -> Heard {
        self.send(request, headers, "").await
    }

    /// One `POST` with a body.
    pub async fn post(&self, path: &str, body: &str) -> Heard {
        self.send(&format!("POST {path}"), &[&format!("Content-Length: {}", body.len())], body).await
    }

    /// One `PUT` with a body.
    pub async fn put(&self, path: &str, body: &str) -> Heard {
        self.send(&format!("PUT {path}"), &[&format!("Content-Length: {}", body.len())], body).await
    }

    async fn send(&self, request: &str, headers: &[&str], body: &str) -> Heard {
        let mut connection = self.connect().await;
        let has_host = headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:"));
        let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
        if !has_host {
            text.push_str(&format!("Host: {}\r\n", self.address));
        }
        for line in headers {
            text.push_str(&format!("{line}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(body);
        connection.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).await.unwrap();
        Heard::parse(&bytes)
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// One answer.
#[derive(Debug)]
pub struct Heard {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Heard {
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }
}
