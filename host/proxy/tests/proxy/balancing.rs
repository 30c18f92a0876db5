//! Several endpoints of one server: who gets the next exchange, what is tried again and what never is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use watchgate_hooks::UpstreamCallError;
use watchgate_proxy::{BreakerConfig, EjectionConfig, RetryConfig, ServerConfig};
use watchgate_tests::upstream::nobody;
use watchgate_tests::wait::wait_for;
use watchgate_tests::{DEADLINE, Exchange, Gate, Scripted, ScriptedSocket, wait_until};

use crate::rig::{CALL, RESULT, Rig, check_fault, config, leaving, server, unprobed};

fn answering() -> Scripted {
    Scripted::start(|exchange| exchange.json(200, RESULT))
}

/// Nothing but retries stands between an endpoint that fails and its clients.
fn only_retries(addresses: &[SocketAddr], retry: RetryConfig) -> ServerConfig {
    let mut server = server(addresses);
    server.retry = retry;
    server.breaker = BreakerConfig { enabled: false, ..BreakerConfig::default() };
    server.ejection = EjectionConfig { consecutive_failures: u32::MAX, ..EjectionConfig::default() };
    server
}

fn asked(rig: &Rig, endpoint: SocketAddr, result: &str) -> f64 {
    rig.metrics().metric("watchgate_endpoint_requests_total", &[("endpoint", &endpoint.to_string()), ("result", result)])
}

/// Calls from several clients at once; none may fail.
fn check_all_answered(rig: &Rig, clients: usize, calls: usize) {
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                for _ in 0..calls {
                    assert_eq!(rig.call().text(), RESULT);
                }
            });
        }
    });
}

#[test]
fn calls_in_turn_reach_every_endpoint() {
    let upstreams = [answering(), answering(), answering()];
    let rig = Rig::new(config(vec![server(&upstreams.each_ref().map(Scripted::address))]));
    check_all_answered(&rig, 1, 90);
    let counts = upstreams.each_ref().map(|upstream| upstream.requests().len());
    // By chance alone, one of them has fewer than ten about once in ten million runs.
    assert!(counts.iter().sum::<usize>() == 90 && counts.iter().all(|count| *count >= 10), "{counts:?}");
}

#[test]
fn the_endpoint_with_less_to_do_gets_the_next_call() {
    let release = Gate::default();
    let holding = |exchange: &mut Exchange, release: &Gate| {
        if exchange.request.head.header("x-hold").is_some() {
            release.wait("the calls in between");
        }
        exchange.json(200, RESULT)
    };
    let upstreams = [release.clone(), release.clone()].map(|release| Scripted::start(move |exchange| holding(exchange, &release)));
    let rig = Rig::new(config(vec![server(&upstreams.each_ref().map(Scripted::address))]));
    let counts = || upstreams.each_ref().map(|upstream| upstream.requests().len());
    let mut held = rig.open(&[("X-Hold", "yes")], CALL);
    wait_until("the held call has come", || (counts().iter().sum::<usize>() == 1).then_some(()));
    let busy = counts().iter().position(|count| *count == 1).unwrap();
    check_all_answered(&rig, 1, 10);
    assert_eq!(counts()[busy], 1, "the other has nothing to do");
    release.open();
    assert_eq!(held.reply().unwrap().status(), 200);
}

#[test]
fn an_endpoint_that_goes_away_costs_no_call_and_is_passed_over() {
    let stays = answering();
    let mut leaves = leaving("");
    let rig = unprobed(server(&[stays.address(), leaves.address()]));
    check_all_answered(&rig, 2, 50);
    assert!(asked(&rig, leaves.address(), "ok") > 0.0);
    leaves.go_away();
    check_all_answered(&rig, 2, 50);
    let labels = [("endpoint", leaves.address().to_string())];
    let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
    rig.wait_for("watchgate_endpoint_ejected", &labels, 1.0);
    rig.wait_for("watchgate_endpoint_ejections_total", &labels, 1.0);
    let refused = asked(&rig, leaves.address(), "connect_failed");
    assert!((5.0..=10.0).contains(&refused), "five in a row, and those that were under way then: {refused}");
    assert_eq!(rig.metrics().metric("watchgate_upstream_retries_total", &[("result", "sent")]), refused);
    check_all_answered(&rig, 1, 20);
    assert_eq!(asked(&rig, leaves.address(), "connect_failed"), refused, "it is left alone");
}

#[test]
fn an_endpoint_that_goes_away_when_there_is_little_traffic_costs_no_call_either() {
    let stays = answering();
    let rig = unprobed(server(&[stays.address(), nobody()]));
    check_all_answered(&rig, 1, 30);
}

#[test]
fn a_probe_takes_an_endpoint_out_and_lets_it_back() {
    let stays = answering();
    let mut leaves = leaving("");
    leaves.go_away();
    let rig = Rig::new(config(vec![server(&[stays.address(), leaves.address()])]));
    let endpoint = leaves.address().to_string();
    let labels = [("endpoint", endpoint.as_str())];
    rig.probe("only");
    rig.wait_for("watchgate_endpoint_ejected", &labels, 1.0);
    rig.wait_for("watchgate_endpoint_up", &labels, 0.0);
    let refused = asked(&rig, leaves.address(), "connect_failed");
    check_all_answered(&rig, 1, 20);
    assert_eq!(asked(&rig, leaves.address(), "connect_failed"), refused);
    leaves.come_back();
    rig.probe("only");
    rig.wait_for("watchgate_endpoint_ejected", &labels, 0.0);
    rig.wait_for("watchgate_endpoint_up", &labels, 1.0);
    check_all_answered(&rig, 1, 30);
    assert!(asked(&rig, leaves.address(), "ok") > 0.0);
}

#[test]
fn an_endpoint_that_takes_connections_and_says_nothing_is_taken_out_by_a_probe() {
    let (stays, hangs) = (answering(), Scripted::start_for_the_gateway_too(|exchange| exchange.client_left().map(drop)));
    let rig = unprobed(server(&[stays.address(), hangs.address()]));
    let found = rig.probe("only");
    assert_eq!(found[0].0, Ok(404));
    assert_eq!(found[1].0, Err(UpstreamCallError::Timeout(Duration::from_secs(1))));
    let asked = hangs.requests().len();
    check_all_answered(&rig, 1, 20);
    assert_eq!(hangs.requests().len(), asked);
}

#[test]
fn what_a_server_says_to_a_probe_does_not_matter() {
    let (stays, refuses) = (answering(), Scripted::start_for_the_gateway_too(|exchange| exchange.json(500, "{}")));
    let rig = unprobed(server(&[stays.address(), refuses.address()]));
    rig.probe("only");
    assert_eq!(rig.metrics().metric("watchgate_endpoint_up", &[]), 2.0);
    assert_eq!(rig.metrics().metric("watchgate_endpoint_ejected", &[]), 0.0);
    assert_eq!(rig.metrics().metric("watchgate_endpoint_requests_total", &[]), 0.0, "no client has asked");
}

#[test]
fn an_endpoint_that_clients_give_up_is_passed_over() {
    let (stays, hangs) = (answering(), Scripted::start(|exchange| exchange.client_left().map(drop)));
    let mut server = server(&[stays.address(), hangs.address()]);
    server.ejection.consecutive_failures = 2;
    server.breaker.min_requests = 1;
    let rig = unprobed(server);
    let endpoint = hangs.address().to_string();
    let given_up = |count: usize| {
        let mut waiting: Vec<_> = Vec::new();
        while hangs.requests().len() < count {
            waiting.push(rig.open(&[], CALL));
            let have_come = || (stays.requests().len() + hangs.requests().len() == waiting.len()).then_some(());
            wait_until("the call is with one of the endpoints", have_come);
        }
        waiting
    };
    // Two that have waited for long, seen by the gateway's own clock: nothing else says how long a client is patient.
    let waiting = given_up(2);
    let long_enough = std::time::Instant::now() + Duration::from_millis(3_100);
    wait_until("they have waited", || (std::time::Instant::now() > long_enough).then_some(()));
    drop(waiting);
    rig.wait_for("watchgate_endpoint_requests_total", &[("endpoint", &endpoint), ("result", "abandoned")], 2.0);
    rig.wait_for("watchgate_endpoint_ejected", &[("endpoint", &endpoint)], 1.0);
    assert_eq!(rig.control.breakers()[1].state, "closed", "a share of errors is one of answers");
}

#[test]
fn a_server_that_is_not_to_be_probed_is_sent_nothing_of_the_gateways_own() {
    let quiet = [leaving(""), leaving("")];
    let mut unprobed = server(&quiet.each_ref().map(ScriptedSocket::address));
    unprobed.probe = false;
    let rig = Rig::new(config(vec![unprobed]));
    // What a probe found that was under way when they were switched off is not kept.
    rig.probe("only");
    assert_eq!(rig.metrics().metric("watchgate_endpoint_up", &[]), 0.0);
    assert_eq!(rig.metrics().metric("watchgate_endpoint_ejected", &[]), 0.0);
}

#[test]
fn what_a_probe_found_is_forgotten_when_probes_are_switched_off() {
    let stays = answering();
    let mut leaves = leaving("");
    leaves.go_away();
    let mut server = server(&[stays.address(), leaves.address()]);
    let rig = Rig::new(config(vec![server.clone()]));
    let endpoint = leaves.address().to_string();
    rig.probe("only");
    rig.wait_for("watchgate_endpoint_ejected", &[("endpoint", &endpoint)], 1.0);
    rig.wait_for("watchgate_endpoint_up", &[], 1.0);
    leaves.come_back();
    server.probe = false;
    rig.apply(config(vec![server]));
    rig.wait_for("watchgate_endpoint_ejected", &[("endpoint", &endpoint)], 0.0);
    rig.wait_for("watchgate_endpoint_up", &[], 0.0);
    check_all_answered(&rig, 1, 30);
    assert!(asked(&rig, leaves.address(), "ok") > 0.0);
}

#[test]
fn an_endpoint_that_answers_503_is_passed_over_for_a_while_and_comes_back() {
    let (well, ill) = (answering(), Arc::new(AtomicUsize::new(0)));
    let counted = ill.clone();
    let troubled = Scripted::start(move |exchange| {
        counted.fetch_add(1, Ordering::SeqCst);
        exchange.json(503, "{}")
    });
    let mut server = server(&[well.address(), troubled.address()]);
    server.breaker.enabled = false;
    server.ejection = EjectionConfig { consecutive_failures: 3, base: Duration::from_millis(300), max_share: 0.5 };
    let rig = unprobed(server);
    let endpoint = troubled.address().to_string();
    let ejected = || rig.metrics().metric("watchgate_endpoint_ejected", &[("endpoint", &endpoint)]) == 1.0;
    wait_until("it has failed three times in a row", || {
        let status = rig.call().status();
        assert!(matches!(status, 200 | 503), "what the server says passes: {status}");
        ejected().then_some(())
    });
    let asked_before = ill.load(Ordering::SeqCst);
    assert_eq!(asked_before, 3);
    wait_until("it is asked again", || {
        rig.call();
        (ill.load(Ordering::SeqCst) > asked_before).then_some(())
    });
}

#[test]
fn what_never_left_is_tried_on_every_other_endpoint() {
    let alive = answering();
    let retry = RetryConfig { max: 2, backoff: Duration::ZERO, budget: 1.0, min_per_second: 1000 };
    let rig = unprobed(only_retries(&[nobody(), nobody(), alive.address()], retry));
    check_all_answered(&rig, 1, 30);
    assert_eq!(alive.requests().len(), 30);
}

#[test]
fn a_server_without_any_endpoint_up_is_unreachable() {
    let retry = RetryConfig { max: 1, backoff: Duration::ZERO, budget: 1.0, min_per_second: 1000 };
    let rig = unprobed(only_retries(&[nobody(), nobody()], retry));
    check_fault(&rig.call(), 502, -31004, "unreachable");
    let metrics = rig.metrics();
    assert_eq!(metrics.metric("watchgate_upstream_retries_total", &[("result", "sent")]), 1.0);
    assert_eq!(metrics.metric("watchgate_endpoint_requests_total", &[("result", "connect_failed")]), 2.0);
}

#[test]
fn retries_are_no_more_than_their_share_of_the_requests() {
    let retry = RetryConfig { max: 2, backoff: Duration::ZERO, budget: 0.1, min_per_second: 0 };
    let rig = unprobed(only_retries(&[nobody(), nobody()], retry));
    for _ in 0..40 {
        check_fault(&rig.call(), 502, -31004, "unreachable");
    }
    let metrics = rig.metrics();
    let retried = |result| metrics.metric("watchgate_upstream_retries_total", &[("result", result)]);
    assert_eq!(retried("sent"), 4.0);
    assert!(retried("over_budget") >= 36.0, "{}", retried("over_budget"));
}

/// A call that its server may have seen: whatever happens then, nobody gets it a second time.
fn check_never_sent_again(answer: impl Fn(&mut Exchange) -> anyhow::Result<()> + Clone + Send + Sync + 'static, status: u16) {
    let upstreams = [answer.clone(), answer].map(Scripted::start);
    let mut server = server(&upstreams.each_ref().map(Scripted::address));
    server.timeouts.head = Duration::from_millis(300);
    server.retry = RetryConfig { max: 5, backoff: Duration::ZERO, budget: 1.0, min_per_second: 1000 };
    let rig = unprobed(server);
    let (code, reason) = if status == 504 { (-31006, "head_timeout") } else { (-31004, "broken_answer") };
    for calls in 1..=3 {
        check_fault(&rig.call(), status, code, reason);
        assert_eq!(upstreams.iter().map(|upstream| upstream.requests().len()).sum::<usize>(), calls);
    }
    assert_eq!(rig.metrics().metric("watchgate_upstream_retries_total", &[]), 0.0);
    assert_eq!(rig.metrics().metric("watchgate_endpoint_requests_total", &[("result", "failed")]), 3.0);
}

#[test]
fn a_call_that_was_sent_and_cut_is_not_sent_again() {
    check_never_sent_again(
        |exchange| {
            exchange.close();
            Ok(())
        },
        502,
    );
    check_never_sent_again(
        |exchange| {
            exchange.reset();
            Ok(())
        },
        502,
    );
    check_never_sent_again(|exchange| exchange.write(b"HTTP/1.1 200 OK\r\nContent-"), 502);
    check_never_sent_again(|exchange| exchange.write(b"no HTTP at all\r\n\r\n"), 502);
    check_never_sent_again(|exchange| exchange.client_left().map(drop), 504);
}

#[test]
fn a_call_cut_on_a_connection_that_had_worked_is_not_sent_again() {
    let served = AtomicUsize::new(0);
    let upstream = Scripted::start(move |exchange| {
        if served.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            return exchange.json(200, RESULT);
        }
        exchange.close();
        Ok(())
    });
    let rig = unprobed(server(&[upstream.address()]));
    for round in 1..=5 {
        assert_eq!(rig.call().status(), 200);
        check_fault(&rig.call(), 502, -31004, "broken_answer");
        // Only the first was on a connection that had worked: from then on none is used again for a while.
        assert_eq!((upstream.requests().len(), upstream.connections()), (round * 2, round * 2 - 1));
    }
}

#[test]
fn a_connection_that_the_server_closed_while_it_was_unused_costs_no_call() {
    let upstream = Scripted::start(|exchange| {
        exchange.json(200, RESULT)?;
        exchange.close();
        Ok(())
    });
    let rig = unprobed(server(&[upstream.address()]));
    for _ in 0..20 {
        assert_eq!(rig.call().status(), 200);
        let closed = wait_for(DEADLINE, || (upstream.open() == 0).then_some(()));
        assert!(closed.is_some());
    }
    assert_eq!(upstream.requests().len(), 20);
}
