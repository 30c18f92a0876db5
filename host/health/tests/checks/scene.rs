//! A gateway's health before hand-written endpoints and plugins, in paused time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use watchgate_health::{Health, HealthConfig, HealthSnapshot};
use watchgate_hooks::{
    BoxFuture, FailureReason, HealthCheck, HealthReport, HealthStatus, HookFailure, HookSet, KeptFrom, LiveHooks, StatusBoard,
    UpstreamCallError, UpstreamCalls, UpstreamEndpoint, UpstreamEndpoints, UpstreamRequest, UpstreamResponse,
};
use watchgate_telemetry::{Telemetry, TelemetryConfig};

/// What an endpoint of the one server does.
#[derive(Clone, Copy, PartialEq)]
pub enum Server {
    Modern,
    Legacy,
    WantsCredentials,
    RefusesConnections,
    NeverAnswers,
    IsNoMcp,
}

/// A hand-written endpoint. Everything asked of it is told to the test.
pub struct Upstream {
    pub authority: String,
    pub server: Mutex<Server>,
    pub kept_from: Mutex<KeptFrom>,
    /// What the proxy was told.
    pub answered: Mutex<Option<bool>>,
    pub asked: mpsc::UnboundedSender<String>,
}

/// Every server is the one server.
struct Upstreams(Vec<Arc<Upstream>>);

impl UpstreamEndpoints for Upstreams {
    fn endpoints(&self, _server: &str) -> Vec<Arc<dyn UpstreamEndpoint>> {
        self.0.iter().map(|endpoint| Arc::clone(endpoint) as Arc<dyn UpstreamEndpoint>).collect()
    }
}

impl UpstreamEndpoint for Upstream {
    fn authority(&self) -> &str {
        &self.authority
    }

    fn kept_from(&self) -> KeptFrom {
        *self.kept_from.lock()
    }

    fn note_probe(&self, answered: bool) {
        *self.answered.lock() = Some(answered);
    }
}

impl Upstream {
    fn answer(&self, request: &UpstreamRequest) -> Option<UpstreamResponse> {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let method = body["method"].as_str().unwrap_or(request.method).to_owned();
        let _closed = self.asked.send(method.clone());
        let respond = |status, headers: &[(&str, &str)], body: serde_json::Value| {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Some(UpstreamResponse { status, headers, body: Bytes::from(body.to_string()) })
        };
        let result = |result: serde_json::Value| serde_json::json!({ "jsonrpc": "2.0", "id": body["id"], "result": result });
        match (*self.server.lock(), method.as_str()) {
            (Server::Modern, "server/discover") => respond(200, &[], result(serde_json::json!({ "supportedVersions": ["2026-07-28"] }))),
            (Server::Legacy, "initialize") => {
                respond(200, &[("mcp-session-id", "s1")], result(serde_json::json!({ "protocolVersion": "2025-11-25" })))
            }
            (Server::Legacy, "DELETE") => respond(200, &[], serde_json::Value::Null),
            (Server::WantsCredentials, _) => respond(401, &[], serde_json::Value::Null),
            (Server::NeverAnswers, _) => None,
            (Server::IsNoMcp, _) => respond(200, &[], serde_json::json!("<html>")),
            _ => respond(400, &[], serde_json::json!({ "error": "Bad Request: No valid session ID provided" })),
        }
    }
}

impl UpstreamCalls for Upstream {
    fn servers(&self) -> Vec<String> {
        vec!["weather".to_owned()]
    }

    fn connect<'a>(&'a self, _server: &'a str, _deadline: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        let _closed = self.asked.send("connect".to_owned());
        let refuses = *self.server.lock() == Server::RefusesConnections;
        let answer = if refuses { Err(UpstreamCallError::Unreachable("connection refused".to_owned())) } else { Ok(()) };
        Box::pin(std::future::ready(answer))
    }

    fn send<'a>(
        &'a self,
        _server: &'a str,
        request: UpstreamRequest,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<UpstreamResponse, UpstreamCallError>> {
        Box::pin(async move {
            if let Some(response) = self.answer(&request) {
                return Ok(response);
            }
            tokio::time::sleep(deadline).await;
            Err(UpstreamCallError::Timeout(deadline))
        })
    }
}

/// How a plugin's check answers.
#[derive(Clone, Copy)]
pub enum Answer {
    Finds(HealthStatus),
    Fails,
    Hangs,
    Panics,
}

struct PluginCheck {
    name: &'static str,
    answer: Answer,
    ran: mpsc::UnboundedSender<(&'static str, u64)>,
    begun: Instant,
}

impl HealthCheck for PluginCheck {
    fn name(&self) -> &str {
        self.name
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn check(&self) -> BoxFuture<'_, Result<HealthReport, HookFailure>> {
        let _closed = self.ran.send((self.name, self.begun.elapsed().as_secs()));
        Box::pin(async move {
            match self.answer {
                Answer::Finds(status) => Ok(HealthReport { status, detail: "looked".to_owned() }),
                Answer::Fails => Err(HookFailure::new(FailureReason::Trap, "unreachable")),
                Answer::Hangs => std::future::pending().await,
                Answer::Panics => panic!("on purpose"),
            }
        })
    }
}

pub struct Scene {
    pub health: Arc<Health>,
    pub upstream: Arc<Upstream>,
    /// Beside the first.
    pub others: Vec<Arc<Upstream>>,
    pub asked: mpsc::UnboundedReceiver<String>,
    pub live: Arc<LiveHooks>,
    pub telemetry: Arc<Telemetry>,
    pub shutdown: watch::Sender<bool>,
    pub ran: mpsc::UnboundedReceiver<(&'static str, u64)>,
    pub runs: mpsc::UnboundedSender<(&'static str, u64)>,
    pub begun: Instant,
}

impl Scene {
    pub fn begin(server: Server, checks: &[(&'static str, Answer)], ready_requires_upstreams: bool) -> Self {
        Self::before(&[server], checks, ready_requires_upstreams)
    }

    /// With a server that has several endpoints.
    pub fn before(endpoints: &[Server], checks: &[(&'static str, Answer)], ready_requires_upstreams: bool) -> Self {
        let servers = vec!["weather".to_owned()];
        let config = TelemetryConfig { servers: servers.clone(), ..TelemetryConfig::default() };
        let telemetry = Telemetry::new(config).unwrap();
        let (asked_by, asked) = mpsc::unbounded_channel();
        let (runs, ran) = mpsc::unbounded_channel();
        let (shutdown, ending) = watch::channel(false);
        let begun = Instant::now();
        let live = Arc::new(LiveHooks::new(set(checks, begun, &runs)));
        let upstream = |(number, server): (usize, &Server)| {
            Arc::new(Upstream {
                authority: format!("h:{number}"),
                server: Mutex::new(*server),
                kept_from: Mutex::new(KeptFrom::Nobody),
                answered: Mutex::new(None),
                asked: asked_by.clone(),
            })
        };
        let upstreams: Vec<_> = endpoints.iter().enumerate().map(upstream).collect();
        let health = Health::start(
            HealthConfig { servers, ready_requires_upstreams, ..HealthConfig::default() },
            Arc::new(Upstreams(upstreams.clone())),
            Arc::clone(&live),
            Arc::new(StatusBoard::new()),
            Arc::clone(&telemetry),
            ending,
        );
        health.set_startup_done();
        let (upstream, others) = (Arc::clone(&upstreams[0]), upstreams[1..].to_vec());
        Self { health, upstream, others, asked, live, telemetry, shutdown, ran, runs, begun }
    }

    /// Lets paused time pass; everything that is due runs on the way.
    pub async fn until(&self, second: u64) -> HealthSnapshot {
        tokio::time::sleep_until(self.begun + Duration::from_secs(second)).await;
        self.health.snapshot()
    }

    pub fn asked(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }

    pub fn swap(&self, checks: &[(&'static str, Answer)]) {
        self.live.swap(set(checks, self.begun, &self.runs));
    }

    pub fn server_up(&self) -> Option<f64> {
        self.telemetry.snapshot().of("watchgate_server_up").map(|series| series.value).next()
    }
}

fn set(checks: &[(&'static str, Answer)], begun: Instant, ran: &mpsc::UnboundedSender<(&'static str, u64)>) -> HookSet {
    let health = checks
        .iter()
        .map(|(name, answer)| Arc::new(PluginCheck { name, answer: *answer, ran: ran.clone(), begun }) as Arc<dyn HealthCheck>)
        .collect();
    HookSet { health, ..HookSet::empty() }
}
