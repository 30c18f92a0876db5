//! A listener on a free port with everything behind it, and a client that sees every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use watchgate_admin::{Admin, AdminError, AdminState, Commands, Secret};
use watchgate_alerts::{Alerts, AlertsConfig, Moment};
use watchgate_health::{Health, HealthConfig};
use watchgate_hooks::{BoxFuture, HookSet, LiveHooks, StatusBoard, UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse};
use watchgate_telemetry::{AccessLogTarget, Telemetry, TelemetryConfig};

/// Every server is down.
struct NoUpstream;

impl UpstreamCalls for NoUpstream {
    fn servers(&self) -> Vec<String> {
        Vec::new()
    }

    fn connect<'a>(&'a self, _server: &'a str, _deadline: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        Box::pin(std::future::ready(Err(UpstreamCallError::Unreachable("connection refused".to_owned()))))
    }

    fn send<'a>(
        &'a self,
        _server: &'a str,
        _request: UpstreamRequest,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(std::future::ready(Err(UpstreamCallError::Unreachable("connection refused".to_owned()))))
    }
}

/// Counts what it is asked for.
#[derive(Default)]
pub struct Counted(AtomicUsize);

impl Commands for Counted {
    fn reload_plugins(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub struct Scene {
    pub address: SocketAddr,
    pub health: Arc<Health>,
    pub live: Arc<LiveHooks>,
    pub board: Arc<StatusBoard>,
    pub shutdown: watch::Sender<bool>,
    pub served: JoinHandle<Result<(), AdminError>>,
    commands: Arc<Counted>,
}

impl Scene {
    pub async fn begin(token: Option<&str>, servers: &[&str]) -> Self {
        Self::on("127.0.0.1:0", token, servers).await
    }

    pub async fn on(address: &str, token: Option<&str>, servers: &[&str]) -> Self {
        let servers: Vec<String> = servers.iter().map(|server| (*server).to_owned()).collect();
        let config = TelemetryConfig { access_log: AccessLogTarget::Off, operation_buckets: Vec::new(), servers: servers.clone() };
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
        let commands = Arc::new(Counted::default());
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = AdminState {
            telemetry,
            health: Arc::clone(&health),
            alerts,
            board: Arc::clone(&board),
            commands: Arc::clone(&commands) as Arc<dyn Commands>,
            token: token.and_then(Secret::new),
            own_names: vec!["watchgate.internal".to_owned()],
        };
        let served = tokio::spawn(Admin::serve(listener, state, ending));
        Self { address, health, live, board, shutdown, served, commands }
    }

    pub fn reloads(&self) -> usize {
        self.commands.0.load(Ordering::SeqCst)
    }

    /// A connection of its own for one request with extra header lines.
    pub async fn ask(&self, request: &str, headers: &[&str]) -> Heard {
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
