//! The promise of health at work: servers and plugins are checked on their schedule, and the answer is true at any time.
#![allow(clippy::unwrap_used)]

mod scene;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use watchgate_health::{Check, CheckKind, CheckStatus, HealthConfig, HealthSnapshot, Overall, OwnCheck};
use watchgate_hooks::{HealthStatus, KeptFrom};

use scene::{Answer, Scene, Server};

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

/// What comes of a server with several endpoints, and what the proxy is told of each.
async fn check_endpoints(endpoints: &[Server], status: CheckStatus, detail: &str, answered: &[bool]) {
    let scene = Scene::before(endpoints, &[], true);
    let snapshot = scene.until(8).await;
    let found = find(&snapshot, CheckKind::Upstream);
    assert_eq!((found.status, found.detail.as_str()), (status, detail));
    let is_up = status != CheckStatus::Failing;
    assert_eq!((scene.server_up(), snapshot.ready), (Some(if is_up { 1.0 } else { 0.0 }), is_up));
    let told = std::iter::once(&scene.upstream).chain(&scene.others).map(|endpoint| endpoint.answered.lock().unwrap());
    assert_eq!(told.collect::<Vec<_>>(), answered);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_up_when_one_of_its_endpoints_is_and_the_others_are_named() {
    use CheckStatus::{Degraded, Failing, Ok};
    use Server::{IsNoMcp, Legacy, Modern, NeverAnswers, RefusesConnections};
    let refused = "TCP: unreachable: connection refused";
    check_endpoints(&[Modern, Legacy], Ok, "answers server/discover", &[true, true]).await;
    check_endpoints(&[RefusesConnections, Modern], Degraded, &format!("answers server/discover; h:0: {refused}"), &[false, true]).await;
    let silent = "answers server/discover; h:1: MCP: no answer within 1s";
    check_endpoints(&[Modern, NeverAnswers], Degraded, silent, &[true, false]).await;
    // What answers HTTP is alive, whatever it says: its clients are told that by itself.
    let no_mcp = "answers server/discover; h:1: MCP: protocol: HTTP 200 without an answer to the request";
    check_endpoints(&[Modern, IsNoMcp], Degraded, no_mcp, &[true, true]).await;
    let none = format!("h:0: {refused}; h:1: {refused}");
    check_endpoints(&[RefusesConnections, RefusesConnections], Failing, &none, &[false, false]).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_behind_an_open_breaker_is_up_and_somebody_should_look() {
    let scene = Scene::begin(Server::Modern, &[], true);
    *scene.upstream.kept_from.lock() = KeptFrom::ByHand;
    let snapshot = scene.until(12).await;
    let found = find(&snapshot, CheckKind::Upstream);
    assert_eq!(found.status, CheckStatus::Degraded);
    assert_eq!(found.detail, "answers server/discover; the circuit breaker is open (by hand)");
    assert_eq!((snapshot.status, snapshot.ready, scene.server_up()), (Overall::Degraded, true, Some(1.0)));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_probed_yet_counts_at_the_start_only() {
    let scene = Scene::begin(Server::NeverAnswers, &[], true);
    let unprobed = scene.until(0).await;
    assert_eq!(unprobed.not_ready_because, ["server `weather` was not probed yet"]);
    *scene.upstream.server.lock() = Server::Modern;
    assert!(scene.until(15).await.ready);
    *scene.upstream.server.lock() = Server::NeverAnswers;
    let servers = vec!["files".to_owned()];
    scene.health.apply(HealthConfig { servers, ready_requires_upstreams: true, ..HealthConfig::default() });
    let added = scene.until(16).await;
    assert_eq!((find(&added, CheckKind::Upstream).status, added.not_ready_because), (CheckStatus::Unknown, Vec::new()));
    assert_eq!(scene.until(19).await.not_ready_because, ["server `files` is not up"]);
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

/// As long as there is something to check; what it found last is of no meaning after that.
struct Keys(Mutex<Option<CheckStatus>>);

impl OwnCheck for Keys {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn look(&self) -> Option<(CheckStatus, String)> {
        self.0.lock().map(|status| (status, "as said".to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_says_of_itself_is_shown_and_degrades_it() {
    let scene = Scene::begin(Server::Modern, &[], false);
    let keys = Arc::new(Keys(Mutex::new(None)));
    scene.health.show(keys.clone());
    for (status, overall) in
        [(None, Overall::Ok), (Some(CheckStatus::Degraded), Overall::Degraded), (Some(CheckStatus::Ok), Overall::Ok), (None, Overall::Ok)]
    {
        *keys.0.lock() = status;
        let snapshot = scene.until(1).await;
        let shown = snapshot.checks.iter().find(|check| check.name == "keys");
        assert_eq!(shown.map(|check| (check.kind, check.status, check.detail.as_str())), status.map(|is| (CheckKind::Core, is, "as said")));
        assert_eq!((snapshot.status, snapshot.ready), (overall, true));
    }
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
