//! What a scrape shows: each fact where it belongs, each metric of the table, nothing else, and well formed.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use watchgate_telemetry::{
    AccessLogTarget, BucketGroup, ErrorType, ExchangeFinished, HealthCheckFinished, HistogramBuckets, HttpMethod, MetricName, NameKind,
    OperationFinished, ServerMetrics, Telemetry, TelemetryConfig, Unit,
};

use crate::everything::{OF_PLUGIN, say_everything};
use crate::exposition::Exposition;
use crate::scene;

const SECOND: Duration = Duration::from_secs(1);

fn scrape(telemetry: &Telemetry) -> Exposition {
    Exposition::read(&telemetry.render_prometheus())
}

#[test]
fn every_metric_rendered_is_in_the_table_and_the_other_way_round() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let _held = say_everything(&telemetry);
    let scraped = scrape(&telemetry);
    let rendered: BTreeSet<&str> = scraped.families.keys().map(String::as_str).filter(|name| !OF_PLUGIN.contains(name)).collect();
    let table: BTreeSet<&str> = MetricName::all().map(|row| row.name).collect();
    assert_eq!(rendered, table);
    for row in MetricName::all() {
        let family = &scraped.families[row.name];
        assert_eq!((family.kind.as_str(), family.help.as_str()), (row.kind.as_str(), row.help));
        let unit_is_said = row.unit() == Unit::None || row.help.to_lowercase().contains(row.unit().as_str());
        assert!(unit_is_said, "{}: {}", row.name, row.help);
        let expected: BTreeSet<&str> = row.labels.iter().map(|label| label.as_str()).collect();
        for (_, labels, _) in &family.samples {
            let shown: BTreeSet<&str> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(shown, expected, "{}", row.name);
        }
    }
}

fn check_exchange(change: impl Fn(&mut ExchangeFinished<'_>), expected: [(&str, &str); 3]) {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("weather");
    let mut fact = scene::exchange(&server);
    change(&mut fact);
    telemetry.emit(fact);
    let scraped = scrape(&telemetry);
    assert_eq!(scraped.value("watchgate_http_requests_total", &expected), 1.0);
    assert_eq!(scraped.find("watchgate_http_requests_total", &[]).len(), 1);
    assert_eq!(scraped.value("watchgate_http_request_duration_seconds_sum", &[("server", "weather"), expected[0]]), 0.0015);
}

#[test]
fn exchanges_are_counted_by_method_status_and_outcome() {
    check_exchange(|_| {}, [("method", "POST"), ("status", "200"), ("outcome", "ok")]);
    check_exchange(|fact| fact.http_method = HttpMethod::from("GET"), [("method", "GET"), ("status", "200"), ("outcome", "ok")]);
    check_exchange(|fact| fact.http_method = HttpMethod::from("BREW"), [("method", "_other"), ("status", "200"), ("outcome", "ok")]);
    check_exchange(
        |fact| (fact.status, fact.outcome) = (0, "cancelled"),
        [("method", "POST"), ("status", "none"), ("outcome", "cancelled")],
    );
    check_exchange(
        |fact| (fact.status, fact.outcome) = (799, "http_error"),
        [("method", "POST"), ("status", "_other"), ("outcome", "http_error")],
    );
}

#[test]
fn exchanges_in_flight_are_those_whose_guard_lives() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("weather");
    let in_flight = || scrape(&telemetry).value("watchgate_http_requests_in_flight", &[("server", "weather"), ("method", "GET")]);
    let (one, two) = (server.in_flight(HttpMethod::Get), server.in_flight(HttpMethod::Get));
    let connection = telemetry.connection_opened();
    assert_eq!((in_flight(), scrape(&telemetry).value("watchgate_connections_open", &[])), (2.0, 1.0));
    drop((one, two, connection));
    assert_eq!((in_flight(), scrape(&telemetry).value("watchgate_connections_open", &[])), (0.0, 0.0));
}

/// The labels of `mcp_server_operation_duration_seconds`, those of the client's twin if it has a series, and the tool's.
fn check_operation(
    change: impl Fn(&mut OperationFinished<'_>),
    server_labels: &[(&str, &str)],
    client_error: Option<&str>,
    tool: Option<&str>,
) {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server: &ServerMetrics = &telemetry.server("weather");
    server.learn(NameKind::Tool, "echo");
    server.learn(NameKind::Prompt, "greet");
    let mut fact = scene::tool_call(server, "echo");
    change(&mut fact);
    telemetry.emit(fact);
    let scraped = scrape(&telemetry);
    assert_eq!(scraped.value("mcp_server_operation_duration_seconds_count", server_labels), 1.0);
    let client = scraped.find("mcp_client_operation_duration_seconds_count", &[]);
    assert_eq!(client.first().map(|(labels, _)| labels["error_type"].as_str()), client_error);
    let tools = scraped.find("watchgate_mcp_tool_calls_total", &[]);
    assert_eq!(tools.first().map(|(labels, _)| labels["tool"].as_str()), tool);
    assert_eq!(scraped.find("watchgate_mcp_tool_call_duration_seconds_count", &[]).len(), tools.len());
}

#[test]
fn operations_are_labelled_with_what_is_known() {
    let echo = [
        ("server", "weather"),
        ("gen_ai_tool_name", "echo"),
        ("gen_ai_prompt_name", ""),
        ("mcp_method_name", "tools/call"),
        ("initiator", "client"),
    ];
    check_operation(|_| {}, &echo, Some(""), Some("echo"));
    check_operation(|fact| fact.name = Some("nope"), &[("gen_ai_tool_name", "_other")], Some(""), Some("_other"));
    check_operation(|fact| fact.name = None, &[("gen_ai_tool_name", "_other")], Some(""), Some("_other"));
    check_operation(
        |fact| (fact.method, fact.name_kind, fact.name) = (Some("prompts/get"), Some(NameKind::Prompt), Some("greet")),
        &[("gen_ai_tool_name", ""), ("gen_ai_prompt_name", "greet")],
        Some(""),
        None,
    );
    check_operation(
        |fact| (fact.method, fact.name_kind, fact.name) = (Some("resources/read"), Some(NameKind::Resource), Some("file:///secret")),
        &[("gen_ai_tool_name", ""), ("gen_ai_prompt_name", ""), ("mcp_method_name", "resources/read")],
        Some(""),
        None,
    );
    check_operation(|fact| (fact.method, fact.name_kind) = (None, None), &[("mcp_method_name", "_other")], Some(""), None);
    check_operation(|fact| fact.protocol_version = None, &[("mcp_protocol_version", "")], Some(""), Some("echo"));
    check_operation(|fact| fact.upstream = Duration::ZERO, &[("outcome", "ok")], None, Some("echo"));
    let from_server = |fact: &mut OperationFinished<'_>| {
        (fact.from_client, fact.method, fact.name_kind, fact.name) = (false, Some("sampling/createMessage"), None, None);
    };
    check_operation(from_server, &[("initiator", "server"), ("mcp_method_name", "sampling/createMessage")], None, None);
}

#[test]
fn the_callers_mistakes_are_errors_of_the_upstream_call_only() {
    let failed = |error| move |fact: &mut OperationFinished<'_>| (fact.outcome, fact.error_type) = ("rpc_error", Some(error));
    check_operation(failed(ErrorType::Rpc(-32602)), &[("error_type", ""), ("outcome", "rpc_error")], Some("-32602"), Some("echo"));
    check_operation(failed(ErrorType::Rpc(-32603)), &[("error_type", "-32603")], Some("-32603"), Some("echo"));
    check_operation(failed(ErrorType::Rpc(4711)), &[("error_type", "_other")], Some("_other"), Some("echo"));
    check_operation(failed(ErrorType::ToolError), &[("error_type", "tool_error")], Some("tool_error"), Some("echo"));
    check_operation(failed(ErrorType::Http(503)), &[("error_type", "503")], Some("503"), Some("echo"));
    check_operation(failed(ErrorType::Named("timeout")), &[("error_type", "timeout")], Some("timeout"), Some("echo"));
}

#[test]
fn message_sizes_count_by_the_way_the_message_travels() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("weather");
    telemetry.emit(scene::tool_call(&server, "echo"));
    telemetry.emit(OperationFinished {
        from_client: false,
        request_bytes: 7,
        response_bytes: 0,
        overhead: None,
        ..scene::tool_call(&server, "echo")
    });
    let scraped = scrape(&telemetry);
    let sum = |direction| scraped.value("watchgate_mcp_message_bytes_sum", &[("direction", direction)]);
    assert_eq!((sum("client-to-server"), sum("server-to-client")), (100.0, 207.0));
    assert_eq!(scraped.value("watchgate_overhead_seconds_count", &[]), 1.0);
    assert_eq!(scraped.value("watchgate_overhead_seconds_bucket", &[("le", "0.0001")]), 1.0);
}

#[test]
fn a_plugin_is_in_one_state_and_a_check_has_one_status() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let states = |name, of| -> Vec<(String, f64)> {
        scrape(&telemetry).find(name, of).into_iter().map(|(labels, value)| (labels["state"].clone(), value)).collect()
    };
    let (plugin, neighbour) = (telemetry.plugin("p"), telemetry.plugin("p2"));
    neighbour.state("live");
    plugin.state("live");
    plugin.state("quarantined");
    assert_eq!(states("watchgate_plugin_state", &[("plugin", "p")]), [("live".into(), 0.0), ("quarantined".into(), 1.0)]);
    plugin.generation(3);
    plugin.instances(2);
    plugin.memory(65_536);
    assert_eq!(scrape(&telemetry).value("watchgate_plugin_generation", &[("plugin", "p")]), 3.0);
    plugin.gone();
    for metric in ["watchgate_plugin_generation", "watchgate_plugin_instances", "watchgate_plugin_memory_bytes"] {
        assert_eq!(scrape(&telemetry).value(metric, &[("plugin", "p")]), 0.0, "{metric}");
    }
    assert_eq!(states("watchgate_plugin_state", &[("plugin", "p")]), [("live".into(), 0.0), ("quarantined".into(), 0.0)]);
    assert_eq!(states("watchgate_plugin_state", &[("plugin", "p2")]), [("live".into(), 1.0)]);
    for status in ["ok", "failing"] {
        telemetry.emit(HealthCheckFinished { check: "c", status, duration: SECOND });
    }
    assert_eq!(states("watchgate_health_check_status", &[("check", "c")]), [("failing".into(), 1.0), ("ok".into(), 0.0)]);
}

#[test]
fn the_process_and_the_build_are_shown() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let scraped = scrape(&telemetry);
    assert!(scraped.value("process_resident_memory_bytes", &[]) > 100_000.0);
    assert!(scraped.value("process_virtual_memory_bytes", &[]) >= scraped.value("process_resident_memory_bytes", &[]));
    assert!(
        scraped.value("process_open_fds", &[]) >= 3.0 && scraped.value("process_max_fds", &[]) >= scraped.value("process_open_fds", &[])
    );
    assert!(scraped.value("process_threads", &[]) >= 1.0);
    let now = SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let start = scraped.value("process_start_time_seconds", &[]);
    assert!((now - 600.0..=now + 2.0).contains(&start), "{start} {now}");
    assert_eq!(scraped.value("watchgate_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(scraped.value("watchgate_uptime_seconds", &[]) < 600.0);
    let cpu = scraped.value("process_cpu_seconds_total", &[]);
    assert!(scrape(&telemetry).value("process_cpu_seconds_total", &[]) >= cpu);
}

#[test]
fn hostile_names_do_not_break_the_format() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("we\"ather\n\\");
    let hostile = ["a\"} 1\nfake_total 9", "back\\slash\\", "line\nfeed", "\u{0}\u{7f}\r\t", "ünï\u{2028}cödé", "{}=,#"];
    for name in hostile {
        server.learn(NameKind::Tool, name);
        telemetry.emit(scene::tool_call(&server, name));
        telemetry.plugin(name).called("redaction", SECOND);
    }
    let scraped = scrape(&telemetry);
    for name in hostile {
        let labels = [("server", "we\"ather\n\\"), ("tool", name), ("outcome", "ok")];
        assert_eq!(scraped.value("watchgate_mcp_tool_calls_total", &labels), 1.0, "{name:?}");
        assert_eq!(scraped.value("watchgate_plugin_calls_total", &[("plugin", name)]), 1.0, "{name:?}");
    }
    assert!(!scraped.families.contains_key("fake_total"));
}

#[test]
fn a_tool_and_a_prompt_of_one_name_stay_apart() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("weather");
    server.learn(NameKind::Tool, "x");
    server.learn(NameKind::Prompt, "x");
    telemetry.emit(OperationFinished { method: None, ..scene::tool_call(&server, "x") });
    telemetry.emit(OperationFinished { method: None, name_kind: Some(NameKind::Prompt), ..scene::tool_call(&server, "x") });
    let scraped = scrape(&telemetry);
    for (tool, prompt) in [("x", ""), ("", "x")] {
        let labels = [("gen_ai_tool_name", tool), ("gen_ai_prompt_name", prompt)];
        assert_eq!(scraped.value("mcp_server_operation_duration_seconds_count", &labels), 1.0);
    }
}

#[test]
fn the_snapshot_holds_the_same_values_sorted() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let _held = say_everything(&telemetry);
    let snapshot = telemetry.snapshot();
    assert!(snapshot.series.is_sorted_by(|left, right| (&left.name, &left.labels) < (&right.name, &right.labels)));
    let of = |name| snapshot.of(name).map(|series| series.value).sum::<f64>();
    assert_eq!(of("watchgate_mcp_tool_calls_total"), 1.0);
    assert_eq!(of("mcp_server_operation_duration_seconds_count"), 1.0);
    assert_eq!(of("mcp_server_operation_duration_seconds_sum"), 0.0015);
    assert_eq!(of("mcp_server_operation_duration_seconds_bucket"), 0.0);
    assert_eq!(of("watchgate_alerts_firing"), 2.0);
    let alerts: Vec<_> = snapshot.of("watchgate_alerts_firing").map(|series| (series.label("severity"), series.label("absent"))).collect();
    assert_eq!(alerts, [("page", "")]);
}

#[test]
fn buckets_are_the_configured_ones() {
    let bounds = |set: Option<Vec<f64>>, metric: &str| -> Vec<String> {
        let mut buckets = HistogramBuckets::default();
        if let Some(bounds) = set {
            buckets.set(BucketGroup::Operation, bounds).unwrap();
        }
        let telemetry = Telemetry::new(TelemetryConfig { buckets, ..TelemetryConfig::default() }).unwrap();
        telemetry.emit(scene::tool_call(&telemetry.server("weather"), "echo"));
        scrape(&telemetry).find(&format!("{metric}_bucket"), &[]).iter().map(|(labels, _)| labels["le"].clone()).collect()
    };
    let conventions = ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "30", "60", "120", "300", "+Inf"];
    for metric in
        ["mcp_server_operation_duration_seconds", "mcp_client_operation_duration_seconds", "watchgate_mcp_tool_call_duration_seconds"]
    {
        assert_eq!(bounds(Some(vec![0.5, 2.0]), metric), ["0.5", "2", "+Inf"]);
        assert_eq!(bounds(None, metric), conventions);
    }
    assert_eq!(bounds(Some(vec![0.5, 2.0]), "watchgate_overhead_seconds"), bounds(None, "watchgate_overhead_seconds"));
}
