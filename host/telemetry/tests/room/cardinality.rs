//! Floods of names from outside leave a bounded number of series, and every event is still counted.

use watchgate_telemetry::{
    AccessLine, AccessLogTarget, CertificateReload, ClientIntroduced, EndpointResult, ErrorType, ExchangeFinished, HttpMethod, NameKind,
    OperationFinished, ServerUp, Telemetry, UpstreamConnected,
};

use crate::exposition::Exposition;
use crate::scene;

/// 100 000 different names, none of them seen before.
fn names() -> impl Iterator<Item = String> {
    (0_u32..100_000).map(|index| format!("n{:08x}", index.wrapping_mul(2_654_435_761)))
}

/// How many samples the scrape holds more after `flood` than after one ordinary call.
fn check(flood: impl Fn(&Telemetry), at_most: usize) -> Exposition {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    telemetry.emit(scene::tool_call(&telemetry.server("weather"), "first"));
    let before = Exposition::read(&telemetry.render_prometheus()).samples();
    flood(&telemetry);
    let after = Exposition::read(&telemetry.render_prometheus());
    assert!(after.samples() <= before + at_most, "{before} samples became {}", after.samples());
    after
}

#[test]
fn tools_that_nobody_listed_are_one_series() {
    let after = check(
        |telemetry| {
            let server = telemetry.server("weather");
            for name in names() {
                telemetry.emit(OperationFinished { outcome: "rpc_error", ..scene::tool_call(&server, &name) });
            }
        },
        40,
    );
    assert_eq!(after.value("watchgate_mcp_tool_calls_total", &[("tool", "_other"), ("outcome", "rpc_error")]), 100_000.0);
}

#[test]
fn a_server_that_answers_every_name_gets_500_of_them() {
    let after = check(
        |telemetry| {
            let server = telemetry.server("weather");
            for name in names() {
                server.learn(NameKind::Tool, &name);
                telemetry.emit(scene::tool_call(&server, &name));
            }
        },
        501 * 60,
    );
    let tools = after.find("watchgate_mcp_tool_calls_total", &[]);
    assert_eq!(tools.len(), 501);
    assert_eq!(tools.iter().map(|(_, value)| value).sum::<f64>(), 100_001.0);
}

#[test]
fn combinations_of_a_hostile_server_and_its_client_are_bounded() {
    const OUTCOMES: [&str; 9] = ["ok", "tool_error", "rpc_error", "http_error", "denied", "timeout", "unreachable", "cancelled", "aborted"];
    const VERSIONS: [Option<&str>; 4] = [None, Some("2025-06-18"), Some("2025-11-25"), Some("2026-07-28")];
    let errors: Vec<Option<ErrorType>> = (400..600).map(|status| Some(ErrorType::Http(status))).chain([None]).collect();
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("weather");
    let tools: Vec<String> = names().take(10).collect();
    let mut emitted = 0_u32;
    for tool in &tools {
        server.learn(NameKind::Tool, tool);
        for (outcome, protocol_version) in OUTCOMES.iter().flat_map(|outcome| VERSIONS.map(|version| (*outcome, version))) {
            for error_type in &errors {
                let fact = OperationFinished { outcome, protocol_version, error_type: *error_type, ..scene::tool_call(&server, tool) };
                telemetry.emit(fact);
                emitted += 1;
            }
        }
    }
    let scraped = Exposition::read(&telemetry.render_prometheus());
    let series = scraped.find("mcp_server_operation_duration_seconds_count", &[]);
    assert!(series.len() <= 4096 + 9 * 2 * 2, "{}", series.len());
    assert_eq!(series.iter().map(|(_, count)| count).sum::<f64>(), f64::from(emitted));
    let calls = scraped.find("watchgate_mcp_tool_calls_total", &[]);
    assert_eq!(calls.iter().map(|(_, count)| count).sum::<f64>(), f64::from(emitted));
}

#[test]
fn invented_statuses_codes_and_methods_are_one_series_each() {
    check(
        |telemetry| {
            let server = telemetry.server("weather");
            for status in 0..=u16::MAX {
                let method = HttpMethod::from(format!("M{status}").as_str());
                telemetry.emit(ExchangeFinished { status, http_method: method, ..scene::exchange(&server) });
                let error_type = Some(ErrorType::Rpc(i64::from(status) << 20));
                telemetry.emit(OperationFinished { error_type, ..scene::tool_call(&server, "first") });
                telemetry.emit(UpstreamConnected { server: &server, duration: std::time::Duration::ZERO, ok: status % 2 == 0 });
            }
        },
        64 + 200,
    );
}

#[test]
fn plugins_checks_severities_and_servers_are_bounded() {
    let after = check(
        |telemetry| {
            for name in names().take(20_000) {
                telemetry.plugin(&name).state("live");
                telemetry.emit(watchgate_telemetry::AlertsFiring { severity: &name, count: 1 });
                telemetry.emit(watchgate_telemetry::AlertDelivered { action: &name, result: "failed" });
                telemetry.emit(watchgate_telemetry::HealthCheckFinished {
                    check: &name,
                    status: "ok",
                    duration: std::time::Duration::ZERO,
                });
                telemetry.server(&name);
                telemetry.emit(ServerUp { server: &name, up: true });
            }
        },
        1001 * 110,
    );
    let count = |metric| after.find(metric, &[]).len();
    assert_eq!(
        (count("watchgate_plugin_state"), count("watchgate_health_check_status"), count("watchgate_alerts_firing")),
        (1001, 1001, 33)
    );
    assert_eq!(count("watchgate_sessions_active"), 1001);
    assert_eq!(count("watchgate_server_up"), 999, "servers that share `_other` are neither up nor down");
    assert_eq!(after.find("watchgate_alert_notifications_total", &[]).iter().map(|(_, value)| value).sum::<f64>(), 20_000.0);
}

#[test]
fn clients_whose_tokens_name_them_get_500_names() {
    let after = check(
        |telemetry| {
            let server = telemetry.server("weather");
            for name in names().chain(["x".repeat(1 << 16)]) {
                let line = AccessLine { client_name: Some(name.into()), ..AccessLine::default() };
                telemetry.emit(ExchangeFinished { line, ..scene::exchange(&server) });
            }
        },
        501 + 60,
    );
    let clients = after.find("watchgate_client_requests_total", &[]);
    assert_eq!(clients.len(), 501);
    assert_eq!(clients.iter().map(|(_, value)| value).sum::<f64>(), 100_001.0);
    assert_eq!(after.value("watchgate_client_requests_total", &[("client", "_other")]), 100_001.0 - 500.0);
}

#[test]
fn client_software_gets_100_names() {
    const VERSIONS: [Option<&str>; 3] = [None, Some("2025-11-25"), Some("2026-07-28")];
    let at = std::time::Instant::now();
    let after = check(
        |telemetry| {
            for name in names().chain(["x".repeat(1 << 16)]) {
                for protocol_version in VERSIONS {
                    telemetry.emit(ClientIntroduced { protocol_version, name: Some(&name), at });
                }
            }
            telemetry.emit(ClientIntroduced { protocol_version: None, name: None, at });
            telemetry.emit(ClientIntroduced { protocol_version: None, name: Some(""), at });
        },
        3 * 101 + 1,
    );
    let clients = after.find("watchgate_clients_total", &[]);
    assert_eq!(clients.len(), 3 * 101 + 1);
    assert_eq!(after.value("watchgate_clients_total", &[("client_info", "_other"), ("mcp_protocol_version", "2025-11-25")]), 99_901.0);
    assert_eq!(after.value("watchgate_clients_total", &[("client_info", "")]), 2.0);
}

#[test]
fn endpoints_and_certificates_that_are_held_are_bounded() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let held: Vec<_> = names().take(3000).map(|name| (telemetry.endpoint("weather", &name), telemetry.certificate(&name))).collect();
    for (endpoint, certificate) in &held {
        endpoint.request_ended(EndpointResult::Failed);
        certificate.reloaded(CertificateReload::Failed);
    }
    let scraped = Exposition::read(&telemetry.render_prometheus());
    for metric in ["watchgate_endpoint_requests_total", "watchgate_tls_reloads_total"] {
        let failed = scraped.find(metric, &[("result", "failed")]);
        assert_eq!((failed.len(), failed.iter().map(|(_, value)| value).sum::<f64>()), (1001, 3000.0), "{metric}");
    }
    drop(held);
    let scraped = Exposition::read(&telemetry.render_prometheus());
    assert!(["watchgate_endpoint_requests_total", "watchgate_tls_reloads_total"].iter().all(|metric| scraped.find(metric, &[]).is_empty()));
    let long = telemetry.endpoint("weather", &"x".repeat(1 << 16));
    let scraped = Exposition::read(&telemetry.render_prometheus());
    assert_eq!(scraped.find("watchgate_endpoint_ejected", &[("endpoint", &"x".repeat(128))]).len(), 1);
    drop(long);
}
