//! What the handles of servers, endpoints and certificates and the facts of the gateway's front door show in a scrape.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use watchgate_telemetry::{
    AccessLine, AccessLogTarget, AuthResult, BreakerState, CertificateReload, ConfigReload, ConfigReloadFinished, ConnectionRefusal,
    ConnectionRefused, EndpointResult, ExchangeFinished, GuardRefusal, GuardRefused, JwksInUse, Limit, Retry, ServerMetrics, Telemetry,
};

use crate::exposition::Exposition;
use crate::scene;

const SECOND: Duration = Duration::from_secs(1);

/// Says something once with a fresh gateway: `metric` shows every one of `words` under `label`, all at 0 but `counted`.
fn check(metric: &str, label: &str, words: &[&str], counted: &str, say: impl Fn(&Telemetry, &ServerMetrics)) {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let values = || -> Vec<(String, f64)> {
        let scraped = Exposition::read(&telemetry.render_prometheus());
        scraped.find(metric, &[]).into_iter().map(|(labels, value)| (labels[label].clone(), value)).collect()
    };
    let shown: BTreeSet<String> = values().into_iter().map(|(word, _)| word).collect();
    assert_eq!(shown, words.iter().map(|word| (*word).to_owned()).collect(), "{metric} shows its series from the start");
    assert!(values().iter().all(|(_, value)| *value == 0.0));
    say(&telemetry, &telemetry.server("weather"));
    for (word, value) in values() {
        assert_eq!(value, f64::from(u8::from(word == counted)), "{metric}: {word} after {counted}");
    }
}

#[test]
fn refusals_by_limits_are_counted_by_limit() {
    let words: Vec<_> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
    assert_eq!(words, ["rate", "concurrency", "streams", "request_size", "request_headers", "answer_size", "held_bytes"]);
    for limit in Limit::ALL {
        check("watchgate_limited_total", "limit", &words, limit.as_str(), |_, server| server.limited(*limit));
        for (own, metric) in [
            (Limit::Rate, "watchgate_rate_limited_total"),
            (Limit::Concurrency, "watchgate_concurrency_limited_total"),
            (Limit::Streams, "watchgate_streams_limited_total"),
        ] {
            let counted = if *limit == own { "weather" } else { "" };
            check(metric, "server", &["weather"], counted, |_, server| server.limited(*limit));
        }
    }
}

#[test]
fn retries_and_verdicts_are_counted_by_result() {
    for retry in Retry::ALL {
        check("watchgate_upstream_retries_total", "result", &["sent", "over_budget"], retry.as_str(), |_, server| server.retried(*retry));
    }
    let words = [
        "known",
        "missing",
        "invalid",
        "unknown_key",
        "wrong_signature",
        "unsupported_token",
        "missing_claim",
        "wrong_issuer",
        "wrong_audience",
        "not_yet_valid",
        "expired",
        "upstream_401",
        "upstream_403",
    ];
    for result in AuthResult::ALL {
        check("watchgate_auth_total", "result", &words, result.as_str(), |_, server| server.authenticated(*result));
    }
}

#[test]
fn the_front_door_counts_whom_it_turns_away() {
    let reasons = ["tls_handshake", "slow_head", "malformed_head", "head_too_large", "too_many_of_client", "idle_longest"];
    for reason in ConnectionRefusal::ALL {
        check("watchgate_connections_refused_total", "reason", &reasons, reason.as_str(), |telemetry, _| {
            telemetry.emit(ConnectionRefused { reason: *reason });
        });
    }
    for reason in GuardRefusal::ALL {
        check("watchgate_guard_refused_total", "reason", &["host", "origin"], reason.as_str(), |telemetry, _| {
            telemetry.emit(GuardRefused { reason: *reason });
        });
    }
}

#[test]
fn sessions_are_active_until_they_end_and_their_time_is_measured() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("weather");
    server.session_opened();
    server.session_opened();
    server.session_ended(SECOND * 3600);
    let scraped = Exposition::read(&telemetry.render_prometheus());
    assert_eq!(scraped.value("watchgate_sessions_active", &[("server", "weather")]), 1.0);
    assert_eq!(scraped.value("mcp_server_session_duration_seconds_sum", &[("server", "weather")]), 3600.0);
    assert_eq!(scraped.value("mcp_server_session_duration_seconds_bucket", &[("le", "900")]), 0.0);
    assert_eq!(scraped.value("mcp_server_session_duration_seconds_bucket", &[("le", "3600")]), 1.0);
}

#[test]
fn keys_of_tokens_are_shown_where_tokens_are_configured() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let check = |keys: Option<(usize, Option<SystemTime>)>, count: Option<f64>, loaded: Option<f64>| {
        telemetry.emit(JwksInUse { keys });
        let scraped = Exposition::read(&telemetry.render_prometheus());
        let shown = |metric: &str| scraped.find(metric, &[]).first().map(|(_, value)| *value);
        assert_eq!((shown("watchgate_jwks_keys"), shown("watchgate_jwks_last_load_timestamp_seconds")), (count, loaded));
    };
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
    check(None, None, None);
    check(Some((0, None)), Some(0.0), None);
    check(Some((3, Some(moment))), Some(3.0), Some(1.5));
    check(None, None, None);
}

#[test]
fn an_endpoint_shows_its_requests_and_its_state() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let endpoint = telemetry.endpoint("weather", "10.0.0.7:3001");
    let labels = [("server", "weather"), ("endpoint", "10.0.0.7:3001")];
    let value = |metric: &str| Exposition::read(&telemetry.render_prometheus()).value(metric, &labels);
    for result in EndpointResult::ALL {
        endpoint.request_ended(*result);
    }
    let scraped = Exposition::read(&telemetry.render_prometheus());
    for result in ["ok", "failed", "connect_failed", "abandoned"] {
        assert_eq!(scraped.value("watchgate_endpoint_requests_total", &[labels[0], labels[1], ("result", result)]), 1.0);
    }
    let requests = (endpoint.in_flight(), endpoint.in_flight());
    assert_eq!(value("watchgate_endpoint_requests_in_flight"), 2.0);
    drop(requests);
    assert_eq!(value("watchgate_endpoint_requests_in_flight"), 0.0);
    for up in [true, false] {
        endpoint.up(up);
        assert_eq!(value("watchgate_endpoint_up"), f64::from(u8::from(up)));
    }
    assert_eq!((value("watchgate_endpoint_ejected"), value("watchgate_endpoint_ejections_total")), (0.0, 0.0));
    for (ejected, times) in [(true, 1.0), (true, 1.0), (false, 1.0), (true, 2.0)] {
        endpoint.ejected(ejected);
        let shown = (value("watchgate_endpoint_ejected"), value("watchgate_endpoint_ejections_total"));
        assert_eq!(shown, (f64::from(u8::from(ejected)), times));
    }
}

#[test]
fn a_breaker_shows_its_state_and_counts_each_change_once() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let endpoint = telemetry.endpoint("weather", "a:1");
    let check = |state: Option<BreakerState>, shown: f64, transitions: [f64; 3]| {
        if let Some(state) = state {
            endpoint.breaker(state);
        }
        let scraped = Exposition::read(&telemetry.render_prometheus());
        assert_eq!(scraped.value("watchgate_circuit_breaker_state", &[("server", "weather"), ("endpoint", "a:1")]), shown);
        let counted = ["closed", "open", "half_open"]
            .map(|state| scraped.value("watchgate_circuit_breaker_transitions_total", &[("endpoint", "a:1"), ("state", state)]));
        assert_eq!(counted, transitions, "{state:?}");
    };
    check(None, 0.0, [0.0, 0.0, 0.0]);
    check(Some(BreakerState::Closed), 0.0, [0.0, 0.0, 0.0]);
    check(Some(BreakerState::Open), 1.0, [0.0, 1.0, 0.0]);
    check(Some(BreakerState::Open), 1.0, [0.0, 1.0, 0.0]);
    check(Some(BreakerState::HalfOpen), 2.0, [0.0, 1.0, 1.0]);
    check(Some(BreakerState::Closed), 0.0, [1.0, 1.0, 1.0]);
}

#[test]
fn a_change_of_state_that_many_report_is_counted_once() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let endpoint = telemetry.endpoint("weather", "a:1");
    for round in 1..=200_u32 {
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    endpoint.breaker(BreakerState::Open);
                    endpoint.ejected(true);
                });
            }
        });
        let scraped = Exposition::read(&telemetry.render_prometheus());
        let opened = scraped.value("watchgate_circuit_breaker_transitions_total", &[("state", "open")]);
        assert_eq!((opened, scraped.value("watchgate_endpoint_ejections_total", &[])), (f64::from(round), f64::from(round)));
        endpoint.breaker(BreakerState::Closed);
        endpoint.ejected(false);
    }
}

#[test]
fn a_certificate_shows_when_it_ends_and_how_reading_it_again_went() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let certificate = telemetry.certificate("127.0.0.1:8443");
    let name = ("name", "127.0.0.1:8443");
    let not_after = |end: SystemTime| {
        certificate.not_after(end);
        Exposition::read(&telemetry.render_prometheus()).value("watchgate_tls_cert_not_after_seconds", &[name])
    };
    assert_eq!(not_after(SystemTime::UNIX_EPOCH + SECOND * 4_000_000_000), 4_000_000_000.0);
    assert_eq!(not_after(SystemTime::UNIX_EPOCH - SECOND), 0.0, "an end before 1970 is as past as can be");
    certificate.reloaded(CertificateReload::Replaced);
    certificate.reloaded(CertificateReload::Failed);
    certificate.reloaded(CertificateReload::Failed);
    let scraped = Exposition::read(&telemetry.render_prometheus());
    let reloads = |result| scraped.value("watchgate_tls_reloads_total", &[name, ("result", result)]);
    assert_eq!((reloads("replaced"), reloads("failed")), (1.0, 2.0));
}

#[test]
fn reloads_of_the_configuration_are_told() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let check = |successful: f64, counted: [f64; 2]| -> f64 {
        let scraped = Exposition::read(&telemetry.render_prometheus());
        assert_eq!(scraped.value("watchgate_config_last_reload_successful", &[]), successful);
        let reloads = ["applied", "refused"].map(|result| scraped.value("watchgate_config_reloads_total", &[("result", result)]));
        assert_eq!(reloads, counted);
        scraped.value("watchgate_config_last_reload_timestamp_seconds", &[])
    };
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = check(1.0, [0.0, 0.0]);
    assert!((now() - started).abs() < 60.0, "the configuration at the start counts as applied");
    telemetry.emit(ConfigReloadFinished { result: ConfigReload::Refused });
    assert_eq!(check(0.0, [0.0, 1.0]), started, "what is in force is as old as before");
    telemetry.emit(ConfigReloadFinished { result: ConfigReload::Applied });
    assert!(check(1.0, [1.0, 1.0]) >= started);
}

#[test]
fn exchanges_are_counted_by_the_name_of_their_client() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("weather");
    for client_name in [Some("ci"), Some("desk"), None, Some("ci")] {
        let line = AccessLine { client_name: client_name.map(Into::into), ..AccessLine::default() };
        telemetry.emit(ExchangeFinished { line, ..scene::exchange(&server) });
    }
    let scraped = Exposition::read(&telemetry.render_prometheus());
    let clients: Vec<_> = scraped
        .find("watchgate_client_requests_total", &[])
        .into_iter()
        .map(|(labels, value)| (labels["client"].as_str(), value))
        .collect();
    assert_eq!(clients, [("ci", 2.0), ("desk", 1.0)]);
}
