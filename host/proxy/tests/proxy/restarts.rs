//! A server without others that is away for a moment: calls wait for it a little, within bounds, and nothing else waits with them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use watchgate_proxy::{BreakerConfig, Forced, Mount, ProxyConfig, RetryConfig, ServerConfig, Timeouts};
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::upstream::nobody;
use watchgate_tests::{Reply, Scripted, ScriptedSocket, wait_until};

use crate::rig::{self, CALL, Conditions, RESULT, Rig, check_fault, config, server, unprobed, wait_for_drain};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// Asks again and again, as quickly as that is allowed.
const EAGER: RetryConfig = RetryConfig { max: 10, backoff: Duration::from_millis(20), budget: 1.0, min_per_second: 1000 };

/// Asks again after a wait that no test sees the end of.
const PATIENT: RetryConfig = RetryConfig { backoff: LONG, ..EAGER };

fn retrying(addresses: &[SocketAddr], retry: RetryConfig) -> ServerConfig {
    let mut server = server(addresses);
    server.retry = retry;
    server.breaker.enabled = false;
    server.timeouts.connect = 10 * LONG;
    server.timeouts.head = 10 * LONG;
    server
}

/// A server that answers each call in a session, and can go away.
fn leaving() -> ScriptedSocket {
    rig::leaving("Mcp-Session-Id: s\r\n")
}

fn count(rig: &Rig, name: &str, result: &str) -> f64 {
    rig.metrics().metric(name, &[("result", result)])
}

fn refused(rig: &Rig) -> f64 {
    count(rig, "watchgate_endpoint_requests_total", "connect_failed")
}

fn retried(rig: &Rig) -> f64 {
    count(rig, "watchgate_upstream_retries_total", "sent")
}

/// Makes calls while the server is away, brings it back once each of them was refused, and gives their answers.
fn calls_over_a_restart(rig: &Rig, away: &mut ScriptedSocket, calls: usize, headers: &[(&str, &str)]) -> Vec<Reply> {
    away.go_away();
    let before = refused(rig);
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..calls).map(|_| scope.spawn(|| rig.post_with(headers, CALL))).collect();
        wait_until("each was refused", || (refused(rig) >= before + calls.len() as f64).then_some(()));
        away.come_back();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}

#[test]
fn a_server_that_restarts_costs_no_call() {
    let mut upstream = leaving();
    let mut server = retrying(&[upstream.address()], EAGER);
    // It opens by what calls end with, and not by what they went through.
    server.breaker = BreakerConfig { connect_failures: 1, min_requests: 1, ..BreakerConfig::default() };
    let rig = unprobed(server);
    for _ in 0..3 {
        for reply in calls_over_a_restart(&rig, &mut upstream, 4, &[]) {
            assert_eq!((reply.status(), reply.text().as_str()), (200, RESULT));
        }
    }
    assert!(retried(&rig) >= 12.0, "{}", retried(&rig));
    assert_eq!(rig.control.breakers()[0].state, "closed");
    let outcomes = rig.metrics().metric("watchgate_http_requests_total", &[("outcome", "ok")]);
    assert_eq!(outcomes, 12.0);
}

#[test]
fn waiting_for_a_server_takes_nothing_from_the_time_that_it_has_to_answer() {
    let mut upstream = leaving();
    let mut server = retrying(&[upstream.address()], EAGER);
    // Over before the server is back.
    server.timeouts.head = Duration::from_millis(200);
    server.retry = RetryConfig { backoff: Duration::from_millis(900), ..EAGER };
    let rig = unprobed(server);
    for reply in calls_over_a_restart(&rig, &mut upstream, 1, &[]) {
        assert_eq!((reply.status(), reply.text().as_str()), (200, RESULT));
    }
}

#[test]
fn with_the_defaults_many_calls_at_once_wait_for_a_restart() {
    let mut upstream = leaving();
    let mut server = retrying(&[upstream.address()], RetryConfig::default());
    server.breaker = BreakerConfig::default();
    let rig = unprobed(server);
    for reply in calls_over_a_restart(&rig, &mut upstream, 20, &[]) {
        assert_eq!((reply.status(), reply.text().as_str()), (200, RESULT));
    }
}

#[test]
fn a_session_waits_for_its_own_endpoint() {
    let mut upstreams = [leaving(), leaving()];
    let rig = unprobed(retrying(&upstreams.each_ref().map(ScriptedSocket::address), EAGER));
    let session = rig.call().head.header("mcp-session-id").unwrap().to_owned();
    let home = usize::from(upstreams[1].accepted() > 0);
    let replies = calls_over_a_restart(&rig, &mut upstreams[home], 1, &[("Mcp-Session-Id", &session)]);
    assert_eq!(replies[0].status(), 200);
    assert_eq!(upstreams[1 - home].accepted(), 0, "nobody else knows the session");
}

#[test]
fn when_all_were_tried_they_are_tried_again() {
    let mut upstreams = [leaving(), leaving()];
    let rig = unprobed(retrying(&upstreams.each_ref().map(ScriptedSocket::address), EAGER));
    upstreams[0].go_away();
    let [_, last] = &mut upstreams;
    last.go_away();
    let reply = std::thread::scope(|scope| {
        let call = scope.spawn(|| rig.call());
        wait_until("both were asked", || (refused(&rig) >= 2.0).then_some(()));
        last.come_back();
        call.join().unwrap()
    });
    assert_eq!(reply.text(), RESULT);
}

/// A call to a server that stays away: how it is answered, and how often it was tried.
#[track_caller]
fn check_given_up(server: ServerConfig, tries: f64) {
    let rig = unprobed(server);
    let begun = Instant::now();
    check_fault(&rig.call(), 502, -31004, "unreachable");
    assert!(begun.elapsed() < LONG);
    assert_eq!((refused(&rig), retried(&rig)), (tries, tries - 1.0));
}

#[test]
fn a_server_that_stays_away_is_asked_no_more_than_is_allowed() {
    check_given_up(retrying(&[nobody()], RetryConfig { max: 3, ..EAGER }), 4.0);
    check_given_up(retrying(&[nobody()], RetryConfig { max: 0, ..EAGER }), 1.0);
    check_given_up(retrying(&[nobody()], RetryConfig { backoff: Duration::ZERO, ..EAGER }), 1.0);
    let without_budget = RetryConfig { budget: 0.0, min_per_second: 0, max: 5, ..EAGER };
    check_given_up(retrying(&[nobody(), nobody()], without_budget.clone()), 1.0);
    // Who waits is not charged.
    check_given_up(retrying(&[nobody()], without_budget), 6.0);
    check_given_up(retrying(&[nobody(), nobody()], RetryConfig { max: 3, ..EAGER }), 4.0);
}

#[test]
fn waits_that_would_not_end_in_time_are_not_begun() {
    let mut connecting = retrying(&[nobody()], PATIENT);
    connecting.timeouts.connect = LONG / 4;
    check_given_up(connecting, 1.0);
}

#[test]
fn a_breaker_that_opens_during_the_wait_ends_it() {
    let mut server = retrying(&[nobody()], RetryConfig { backoff: Duration::from_millis(500), ..EAGER });
    server.breaker = BreakerConfig { connect_failures: 1, open: LONG, ..BreakerConfig::default() };
    let rig = unprobed(server);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| rig.call());
        wait_until("it was refused", || (refused(&rig) == 1.0).then_some(()));
        assert_eq!(rig.control.breakers()[0].state, "closed", "the call has not ended");
        rig.control.force_breaker("only", None, Forced::Open).unwrap();
        check_fault(&call.join().unwrap(), 502, -31004, "unreachable");
    });
    assert_eq!((refused(&rig), retried(&rig)), (1.0, 0.0));
    check_fault(&rig.call(), 503, -31005, "circuit_open");
}

#[test]
fn a_trial_is_not_repeated() {
    let mut server = retrying(&[nobody()], EAGER);
    server.retry.max = 1;
    server.breaker = BreakerConfig { connect_failures: 1, open: Duration::from_millis(20), ..BreakerConfig::default() };
    let rig = unprobed(server);
    check_fault(&rig.call(), 502, -31004, "unreachable");
    assert_eq!((refused(&rig), rig.control.breakers()[0].state != "closed"), (2.0, true));
    wait_until("a trial may go out", || (rig.control.breakers()[0].state == "half_open").then_some(()));
    check_fault(&rig.call(), 502, -31004, "unreachable");
    assert_eq!((refused(&rig), retried(&rig)), (3.0, 1.0));
}

#[test]
fn a_client_that_leaves_ends_the_wait() {
    let mut server = retrying(&[nobody()], PATIENT);
    server.limits.concurrency = Some(1);
    let rig = unprobed(server);
    for left in 1..=3 {
        let client = rig.open(&[], CALL);
        wait_until("it was refused", || (refused(&rig) == f64::from(left)).then_some(()));
        rig.wait_for("watchgate_endpoint_requests_in_flight", &[], 0.0);
        drop(client);
        rig.wait_for("watchgate_http_requests_total", &[("outcome", "cancelled")], f64::from(left));
    }
    assert_eq!(retried(&rig), 0.0);
}

#[test]
fn nobody_else_waits_with_it() {
    let good = Scripted::start(|exchange| exchange.json(200, RESULT));
    let mut away = retrying(&[nobody()], PATIENT);
    away.name = "away".to_owned();
    away.mount = Mount::Prefix;
    let rig = Rig::under(Conditions { without_housekeeping: true, ..Conditions::default() }, config(vec![away, server(&[good.address()])]));
    let mut waiting = rig.connect();
    waiting.send(&request("POST", "/away/", &MCP_POST, CALL.as_bytes())).unwrap();
    wait_until("it was refused", || (refused(&rig) == 1.0).then_some(()));
    assert_eq!(rig.call().text(), RESULT);
}

#[test]
fn a_drain_ends_the_wait_when_the_time_to_finish_is_over() {
    let config = config(vec![retrying(&[nobody()], PATIENT)]);
    let timeouts = Timeouts { drain: Duration::from_millis(100), ..Timeouts::default() };
    let mut rig = Rig::new(ProxyConfig { timeouts, ..config });
    let mut client = rig.open(&[], CALL);
    wait_until("it was refused", || (refused(&rig) == 1.0).then_some(()));
    let draining = rig.drain();
    check_fault(&client.reply().unwrap(), 502, -31004, "unreachable");
    wait_for_drain(&draining);
}
