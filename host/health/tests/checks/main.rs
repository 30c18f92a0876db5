//! The promise of health at work: servers and plugins are checked on their schedule, and the answer is true at any time.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use watchgate_health::{Check, CheckKind, CheckStatus, Health, HealthConfig, HealthSnapshot, Overall};
use watchgate_hooks::{
    BoxFuture, FailureReason, HealthCheck, HealthReport, HealthStatus, HookFailure, HookSet, LiveHooks, StatusBoard, UpstreamCallError,
    UpstreamCalls, UpstreamRequest, UpstreamResponse,
};
use watchgate_telemetry::{Telemetry, TelemetryConfig};

/// What the one server does.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    Modern,
    Legacy,
    WantsCredentials,
    RefusesConnections,
    NeverAnswers,
    IsNoMcp,
}

/// A hand-written upstream. Everything asked of it is told to the test.
struct Upstream {
    server: Mutex<Server>,
    asked: mpsc::UnboundedSender<String>,
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
enum Answer {
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

struct Scene {
    health: Arc<Health>,
    upstream: Arc<Upstream>,
    asked: mpsc::UnboundedReceiver<String>,
    live: Arc<LiveHooks>,
    telemetry: Arc<Telemetry>,
    shutdown: watch::Sender<bool>,
    ran: mpsc::UnboundedReceiver<(&'static str, u64)>,
    runs: mpsc::UnboundedSender<(&'static str, u64)>,
    begun: Instant,
}

impl Scene {
    fn begin(server: Server, checks: &[(&'static str, Answer)], ready_requires_upstreams: bool) -> Self {
        let servers = vec!["weather".to_owned()];
        let config = TelemetryConfig { servers: servers.clone(), ..TelemetryConfig::default() };
        let telemetry = Telemetry::new(config).unwrap();
        let (asked_by, asked) = mpsc::unbounded_channel();
        let (runs, ran) = mpsc::unbounded_channel();
        let (shutdown, ending) = watch::channel(false);
        let begun = Instant::now();
        let live = Arc::new(LiveHooks::new(set(checks, begun, &runs)));
        let upstream = Arc::new(Upstream { server: Mutex::new(server), asked: asked_by });
        let health = Health::start(
            HealthConfig { servers, ready_requires_upstreams, ..HealthConfig::default() },
            Arc::clone(&upstream) as Arc<dyn UpstreamCalls>,
            Arc::clone(&live),
            Arc::new(StatusBoard::new()),
            Arc::clone(&telemetry),
            ending,
        );
        health.set_startup_done();
        Self { health, upstream, asked, live, telemetry, shutdown, ran, runs, begun }
    }

    /// Lets paused time pass; everything that is due runs on the way.
    async fn until(&self, second: u64) -> HealthSnapshot {
        tokio::time::sleep_until(self.begun + Duration::from_secs(second)).await;
        self.health.snapshot()
    }

    fn asked(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }

    fn swap(&self, checks: &[(&'static str, Answer)]) {
        self.live.swap(set(checks, self.begun, &self.runs));
    }

    fn server_up(&self) -> Option<f64> {
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

fn find(snapshot: &HealthSnapshot, kind: CheckKind) -> Check {
    snapshot.checks.iter().find(|check| check.kind == kind).unwrap().clone()
}

/// What is asked of a server, and what comes of it, when it is probed for the first time.
async fn check_server(server: Server, asked: &[&str], status: CheckStatus, detail: &str, overall: Overall) {
    let mut scene = Scene::begin(server, &[], false);
    let snapshot = scene.until(8).await;
    let found = find(&snapshot, CheckKind::Upstream);
    assert_eq!((found.status, found.detail.as_str(), snapshot.status, snapshot.ready), (status, detail, overall, true));
    assert_eq!(scene.asked(), asked);
    assert_eq!(scene.server_up(), Some(if status == CheckStatus::Failing { 0.0 } else { 1.0 }));
}

#[tokio::test(start_paused = true)]
async fn a_server_is_up_when_it_answers_as_one() {
    use CheckStatus::{Failing, Ok};
    let legacy = ["connect", "server/discover", "initialize", "DELETE"];
    check_server(Server::Modern, &legacy[..2], Ok, "answers server/discover", Overall::Ok).await;
    check_server(Server::Legacy, &legacy, Ok, "answers initialize", Overall::Ok).await;
    check_server(Server::WantsCredentials, &legacy[..3], Ok, "up, but wants credentials (HTTP 401)", Overall::Ok).await;
    check_server(Server::RefusesConnections, &legacy[..1], Failing, "TCP: unreachable: connection refused", Overall::Degraded).await;
    let no_mcp = "MCP: protocol: HTTP 200 without an answer to the request";
    check_server(Server::IsNoMcp, &legacy[..3], Failing, no_mcp, Overall::Degraded).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_down_within_the_timeout() {
    let scene = Scene::begin(Server::NeverAnswers, &[], false);
    let found = find(&scene.until(3).await, CheckKind::Upstream);
    assert_eq!(found.status, CheckStatus::Failing);
    assert!(found.detail.starts_with("MCP: no answer within"), "{}", found.detail);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_is_seen_at_the_next_probe() {
    let scene = Scene::begin(Server::RefusesConnections, &[], true);
    let down = scene.until(8).await;
    assert_eq!((down.ready, down.not_ready_because), (false, vec!["server `weather` is not up".to_owned()]));
    *scene.upstream.server.lock() = Server::Modern;
    let up = scene.until(12).await;
    assert_eq!((up.ready, up.status, scene.server_up()), (true, Overall::Ok, Some(1.0)));
}

#[tokio::test(start_paused = true)]
async fn plugins_report_and_decide_the_aggregate() {
    let check = async |answer, status, overall| {
        let scene = Scene::begin(Server::Modern, &[("tools", answer)], false);
        let snapshot = scene.until(1).await;
        assert_eq!((find(&snapshot, CheckKind::Plugin).status, snapshot.status), (status, overall));
        assert!(snapshot.ready);
    };
    check(Answer::Finds(HealthStatus::Ok), CheckStatus::Ok, Overall::Ok).await;
    check(Answer::Finds(HealthStatus::Degraded), CheckStatus::Degraded, Overall::Degraded).await;
    check(Answer::Finds(HealthStatus::Failing), CheckStatus::Failing, Overall::Failing).await;
    check(Answer::Fails, CheckStatus::Unknown, Overall::Degraded).await;
    check(Answer::Panics, CheckStatus::Unknown, Overall::Degraded).await;
    check(Answer::Hangs, CheckStatus::Unknown, Overall::Ok).await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_fails_three_times_in_a_row_counts_as_failing() {
    let scene = Scene::begin(Server::Modern, &[("tools", Answer::Fails)], false);
    // Runs are due at 0, 30 and 60 s, each a tenth earlier or later.
    assert_eq!(scene.until(50).await.status, Overall::Degraded);
    let third = scene.until(68).await;
    assert_eq!((third.status, find(&third, CheckKind::Plugin).unknown_in_a_row), (Overall::Failing, 3));
}

#[tokio::test(start_paused = true)]
async fn a_swap_ends_old_checks_and_starts_new_ones_at_once() {
    let fine = Answer::Finds(HealthStatus::Ok);
    let mut scene = Scene::begin(Server::Modern, &[("old", Answer::Hangs), ("both", Answer::Finds(HealthStatus::Failing))], false);
    scene.until(5).await;
    scene.swap(&[("both", fine), ("new", fine)]);
    let after = scene.until(6).await;
    let plugins: Vec<(&str, CheckStatus)> =
        after.checks.iter().filter(|check| check.kind == CheckKind::Plugin).map(|check| (check.name.as_str(), check.status)).collect();
    assert_eq!(plugins, [("both", CheckStatus::Ok), ("new", CheckStatus::Ok)]);
    scene.swap(&[]);
    let none = scene.until(300).await;
    assert!(none.checks.iter().all(|check| check.kind != CheckKind::Plugin));
    let mut ran: Vec<_> = std::iter::from_fn(|| scene.ran.try_recv().ok()).collect();
    ran.sort_unstable();
    assert_eq!(ran, [("both", 0), ("both", 5), ("new", 5), ("old", 0)]);
}

#[tokio::test(start_paused = true)]
async fn another_configuration_is_followed_while_it_runs() {
    let mut scene = Scene::begin(Server::Modern, &[], false);
    scene.until(5).await;
    scene.asked();
    let config =
        |servers: &[&str]| HealthConfig { servers: servers.iter().map(|server| (*server).to_owned()).collect(), ..HealthConfig::default() };
    let upstreams = |snapshot: HealthSnapshot| -> Vec<(String, CheckStatus)> {
        let checks = snapshot.checks.into_iter().filter(|check| check.kind == CheckKind::Upstream);
        checks.map(|check| (check.name, check.status)).collect()
    };
    scene.health.apply(config(&["weather", "files"]));
    let both = upstreams(scene.until(6).await);
    assert_eq!(both, [("files".to_owned(), CheckStatus::Ok), ("weather".to_owned(), CheckStatus::Ok)]);
    assert_eq!(scene.asked(), ["connect", "server/discover"], "only the new server is probed at once");

    scene.health.apply(HealthConfig { probe_interval: Duration::from_secs(1), ready_requires_upstreams: true, ..config(&["files"]) });
    assert_eq!(scene.server_up(), Some(1.0));
    assert_eq!(upstreams(scene.until(7).await), [("files".to_owned(), CheckStatus::Ok)]);
    assert_eq!(scene.server_up(), None, "nobody looks at it any more");
    scene.asked();
    *scene.upstream.server.lock() = Server::RefusesConnections;
    let down = scene.until(10).await;
    assert_eq!(down.not_ready_because, ["server `files` is not up"]);
    assert!(scene.asked().len() >= 2);
    let series = scene.telemetry.snapshot();
    let checks: Vec<_> =
        series.of("watchgate_health_check_status").filter(|series| series.value > 0.0).map(|series| series.labels.to_vec()).collect();
    assert!(format!("{checks:?}").contains("upstream/files") && !format!("{checks:?}").contains("upstream/weather"), "{checks:?}");
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_all_checks() {
    let mut scene = Scene::begin(Server::Modern, &[("tools", Answer::Finds(HealthStatus::Ok))], false);
    scene.until(1).await;
    scene.health.set_draining();
    assert_eq!(scene.health.snapshot().not_ready_because, ["draining"]);
    scene.shutdown.send(true).unwrap();
    scene.health.stopped().await;
    scene.asked();
    while scene.ran.try_recv().is_ok() {}
    scene.until(300).await;
    assert_eq!((scene.asked().len(), scene.ran.try_recv().is_err()), (0, true));
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_is_json() {
    let scene = Scene::begin(Server::Modern, &[], false);
    let json = serde_json::to_value(scene.until(1).await).unwrap();
    assert_eq!(
        (&json["status"], &json["live"], &json["ready"], &json["startup"]),
        (&"ok".into(), &true.into(), &true.into(), &true.into())
    );
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["uptime_seconds"].as_f64().unwrap() >= 1.0);
    assert_eq!((&json["checks"][1]["name"], &json["checks"][1]["kind"]), (&"weather".into(), &"upstream".into()));
}
