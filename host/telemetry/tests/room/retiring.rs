//! What a reload of the configuration takes away leaves no series behind, whoever still holds a handle, and comes back anew.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime};

use watchgate_telemetry::{
    AccessLogTarget, BreakerState, CertificateReload, EndpointMetrics, EndpointResult, ErrorType, ExchangeFinished, HealthCheckFinished,
    HttpMethod, Limit, NameKind, OperationFinished, ServerMetrics, ServerUp, Telemetry, UpstreamConnected,
};

use crate::exposition::Exposition;
use crate::scene;

const SECOND: Duration = Duration::from_secs(1);

/// How many samples carry this value of this label.
fn samples_of(telemetry: &Telemetry, label: &str, value: &str) -> usize {
    let scraped = Exposition::read(&telemetry.render_prometheus());
    let all = scraped.families.values().flat_map(|family| &family.samples);
    all.filter(|(_, labels, _)| labels.get(label).is_some_and(|found| found == value)).count()
}

/// Uses every handle of a server, with label values of this round's own where they are open.
fn use_server(telemetry: &Telemetry, server: &ServerMetrics, status: u16, tool: &str) {
    server.learn(NameKind::Tool, tool);
    drop(server.in_flight(HttpMethod::Get));
    telemetry.emit(ExchangeFinished { status, ..scene::exchange(server) });
    telemetry.emit(OperationFinished { error_type: Some(ErrorType::Http(status)), ..scene::tool_call(server, tool) });
    telemetry.emit(UpstreamConnected { server, duration: SECOND, ok: status < 500 });
    telemetry.emit(ServerUp { server: server.name(), up: true });
    server.limited(Limit::Rate);
    server.session_opened();
    server.session_ended(SECOND);
}

fn use_endpoint(endpoint: &EndpointMetrics) {
    drop(endpoint.in_flight());
    endpoint.up(true);
    endpoint.request_ended(EndpointResult::Ok);
    endpoint.ejected(true);
    endpoint.breaker(BreakerState::Open);
}

#[test]
fn nothing_of_a_retired_server_is_shown_though_exchanges_go_on() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let neighbour = telemetry.server("weather-2");
    use_server(&telemetry, &neighbour, 200, "echo");
    let of_neighbour = samples_of(&telemetry, "server", "weather-2");
    let (server, endpoint) = (telemetry.server("weather"), telemetry.endpoint("weather", "a:1"));
    use_server(&telemetry, &server, 200, "echo");
    use_endpoint(&endpoint);
    let in_flight = server.in_flight(HttpMethod::Post);
    assert!(samples_of(&telemetry, "server", "weather") > of_neighbour);

    telemetry.retire_server("weather");
    telemetry.retire_server("weather");
    telemetry.retire_server("never configured");
    // Series that exist, and ones that are new to the handle.
    use_server(&telemetry, &server, 200, "echo");
    use_server(&telemetry, &server, 502, "other");
    use_endpoint(&endpoint);
    assert_eq!(samples_of(&telemetry, "server", "weather"), 0);
    assert_eq!(samples_of(&telemetry, "server", "weather-2"), of_neighbour);

    // The name comes back: it counts from 0, and what the past still records is none of it.
    let again = telemetry.server("weather");
    use_server(&telemetry, &again, 404, "third");
    use_server(&telemetry, &server, 200, "echo");
    use_server(&telemetry, &server, 404, "third");
    use_server(&telemetry, &server, 503, "fourth");
    drop((in_flight, endpoint));
    let scraped = Exposition::read(&telemetry.render_prometheus());
    let weather = ("server", "weather");
    for (metric, expected) in [
        ("watchgate_http_requests_total", 1.0),
        ("watchgate_mcp_tool_calls_total", 1.0),
        ("mcp_server_operation_duration_seconds_count", 1.0),
        ("mcp_client_operation_duration_seconds_count", 1.0),
        ("watchgate_http_request_duration_seconds_count", 1.0),
        ("watchgate_upstream_connect_seconds_count", 1.0),
        ("mcp_server_session_duration_seconds_count", 1.0),
        ("watchgate_rate_limited_total", 1.0),
        ("watchgate_sessions_active", 0.0),
    ] {
        assert_eq!(scraped.value(metric, &[weather]), expected, "{metric}");
    }
    assert_eq!(scraped.value("watchgate_http_requests_in_flight", &[weather, ("method", "POST")]), 0.0);
}

#[test]
fn a_probe_that_ends_late_brings_no_server_back() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    telemetry.emit(ServerUp { server: "weather", up: true });
    telemetry.retire_server("weather");
    telemetry.emit(ServerUp { server: "weather", up: false });
    assert_eq!(samples_of(&telemetry, "server", "weather"), 0);
}

#[test]
fn servers_can_come_and_go_for_ever() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let empty = Exposition::read(&telemetry.render_prometheus()).samples();
    for round in 0..1100 {
        let name = format!("server-{round}");
        let (server, endpoint) = (telemetry.server(&name), telemetry.endpoint(&name, "a:1"));
        assert_eq!(server.name(), name, "the names of retired servers are free again");
        use_endpoint(&endpoint);
        telemetry.retire_server(&name);
    }
    assert_eq!(Exposition::read(&telemetry.render_prometheus()).samples(), empty);
}

#[test]
fn the_series_of_an_endpoint_last_as_long_as_its_last_handle() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let shown = |endpoint| samples_of(&telemetry, "endpoint", endpoint);
    let (first, second) = (telemetry.endpoint("weather", "a:1"), telemetry.endpoint("weather", "a:1"));
    let neighbour = telemetry.endpoint("weather", "a:12");
    use_endpoint(&first);
    use_endpoint(&neighbour);
    let all = shown("a:1");
    assert!(all > 0);
    drop(first);
    assert_eq!(shown("a:1"), all);
    drop(second);
    assert_eq!((shown("a:1"), shown("a:12")), (0, all));

    let old = telemetry.endpoint("weather", "a:1");
    let with_the_old_one = old.in_flight();
    use_endpoint(&old);
    old.retire();
    old.retire();
    use_endpoint(&old);
    assert_eq!(shown("a:1"), 0);
    let new = telemetry.endpoint("weather", "a:1");
    use_endpoint(&new);
    drop((with_the_old_one, old));
    let scraped = Exposition::read(&telemetry.render_prometheus());
    let endpoint = ("endpoint", "a:1");
    assert_eq!(scraped.value("watchgate_endpoint_requests_total", &[endpoint, ("result", "ok")]), 1.0);
    assert_eq!(scraped.value("watchgate_endpoint_requests_in_flight", &[endpoint]), 0.0);
}

#[test]
fn an_endpoint_that_was_never_tried_is_not_shown_as_up_or_down_and_not_after_it_is_retired() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let endpoint = telemetry.endpoint("weather", "a:1");
    let up = || Exposition::read(&telemetry.render_prometheus()).find("watchgate_endpoint_up", &[]).len();
    assert_eq!(up(), 0);
    for _ in 0..2 {
        endpoint.up(false);
        assert_eq!(up(), 1);
        endpoint.up_unknown();
        endpoint.up_unknown();
        assert_eq!(up(), 0);
    }
    endpoint.retire();
    endpoint.up(true);
    assert_eq!(up(), 0);
    let endpoint = telemetry.endpoint("weather", "a:1");
    telemetry.retire_server("weather");
    endpoint.up(true);
    assert_eq!(up(), 0);
}

#[test]
fn a_server_that_is_no_longer_probed_is_not_shown_as_up_or_down() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let up = || Exposition::read(&telemetry.render_prometheus()).find("watchgate_server_up", &[]).len();
    let _server = telemetry.server("weather");
    for _ in 0..2 {
        telemetry.emit(ServerUp { server: "weather", up: true });
        assert_eq!(up(), 1);
        telemetry.retire_server_up("weather");
        telemetry.retire_server_up("weather");
        telemetry.retire_server_up("never configured");
        assert_eq!(up(), 0);
    }
}

#[test]
fn certificates_end_with_their_last_handle() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let shown = |name| samples_of(&telemetry, "name", name);
    let (one, other) = (telemetry.certificate("public"), telemetry.certificate("weather"));
    for certificate in [&one, &other] {
        certificate.not_after(SystemTime::UNIX_EPOCH + SECOND);
    }
    let all = shown("weather");
    assert_eq!(all, 1 + CertificateReload::ALL.len());
    drop(one);
    assert_eq!((shown("public"), shown("weather")), (0, all));
    other.retire();
    other.not_after(SystemTime::UNIX_EPOCH);
    other.reloaded(CertificateReload::Failed);
    assert_eq!(shown("weather"), 0);
    let late = telemetry.certificate("late");
    late.retire();
    late.not_after(SystemTime::now());
    assert_eq!(shown("late"), 0);
}

#[test]
fn checks_that_no_longer_run_are_gone_and_their_names_are_free_again() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let run = |check: &str, status| telemetry.emit(HealthCheckFinished { check, status, duration: SECOND });
    run("upstream/b", "ok");
    let of_neighbour = samples_of(&telemetry, "check", "upstream/b");
    for round in 0..1100 {
        let check = format!("upstream/{round}");
        run(&check, "ok");
        run(&check, "failing");
        assert!(
            round % 100 > 0 || samples_of(&telemetry, "check", &check) == of_neighbour + 1,
            "the names of retired checks are free again"
        );
        telemetry.retire_check(&check);
    }
    let scraped = Exposition::read(&telemetry.render_prometheus());
    let checks: BTreeSet<_> =
        scraped.find("watchgate_health_check_status", &[]).into_iter().map(|(labels, _)| labels["check"].as_str()).collect();
    assert_eq!(checks, BTreeSet::from(["upstream/b"]));
    assert_eq!(scraped.find("watchgate_health_check_duration_seconds_count", &[]).len(), 1);
}

#[test]
fn a_handle_that_is_held_is_shown_whatever_others_do() {
    const ROUNDS: usize = 2000;
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..ROUNDS {
                    telemetry.endpoint("weather", "a:1").request_ended(EndpointResult::Ok);
                }
            });
        }
        start.wait();
        for _ in 0..ROUNDS / 20 {
            let held = telemetry.endpoint("weather", "a:1");
            let ok = || {
                let scraped = Exposition::read(&telemetry.render_prometheus());
                scraped.value("watchgate_endpoint_requests_total", &[("endpoint", "a:1"), ("result", "ok")])
            };
            let before = ok();
            held.request_ended(EndpointResult::Ok);
            assert!(ok() > before);
        }
    });
    assert_eq!(samples_of(&telemetry, "endpoint", "a:1"), 0);
}

#[test]
fn exchanges_that_race_with_the_end_of_their_server_leave_nothing() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    for _ in 0..50 {
        let start = Barrier::new(3);
        thread::scope(|scope| {
            for thread in 0..2 {
                let (server, start, telemetry) = (telemetry.server("weather"), &start, &telemetry);
                scope.spawn(move || {
                    start.wait();
                    for status in 400..460 {
                        use_server(telemetry, &server, status + thread, &format!("tool-{status}"));
                    }
                });
            }
            start.wait();
            telemetry.retire_server("weather");
        });
        assert_eq!(samples_of(&telemetry, "server", "weather"), 0);
    }
}
