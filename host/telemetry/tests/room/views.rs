//! The views on the metrics for people: how many series there are, and the gateway in a few figures.

use serde_json::{Value, json};
use watchgate_telemetry::{AccessLogTarget, Cardinality, NameKind, OperationFinished, ServerUp, TelemetryDropped};

use crate::everything::{OF_PLUGIN, say_everything};
use crate::exposition::Exposition;
use crate::scene;

#[test]
fn cardinality_counts_what_a_scrape_holds() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let _held = say_everything(&telemetry);
    let counted = telemetry.cardinality();
    let scraped = Exposition::read(&telemetry.render_prometheus());
    assert_eq!((counted.metrics.len(), counted.samples), (scraped.families.len(), scraped.samples()));
    assert!(counted.metrics.is_sorted_by(|one, next| one.samples >= next.samples));
    assert_eq!(counted.series, counted.metrics.iter().map(|metric| metric.series).sum::<usize>());
    for metric in &counted.metrics {
        let family = &scraped.families[&metric.name];
        assert_eq!((metric.kind, metric.samples), (family.kind.as_str(), family.samples.len()), "{}", metric.name);
        assert_eq!(metric.plugins, if OF_PLUGIN.contains(&metric.name.as_str()) { vec!["p"] } else { Vec::new() }, "{}", metric.name);
    }
    let orders = counted.metrics.iter().find(|metric| metric.name == "shop_orders_total").unwrap();
    assert_eq!((orders.series, orders.labels["shop"], orders.labels["plugin"]), (999, 999, 1));
    let text = serde_json::to_value(&counted).unwrap();
    assert!(text["metrics"][0]["labels"].is_object() && text["folded"].is_array());
}

/// The events of a metric that went to `_other` by this label.
fn folded(counted: &Cardinality, metric: &str, label: &str) -> Option<(usize, f64)> {
    let mut rows = counted.folded.iter().filter(|row| row.metric == metric && row.label == label);
    let row = rows.next()?;
    assert!(rows.next().is_none());
    Some((row.series, row.events))
}

#[test]
fn what_was_folded_and_dropped_is_told() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let server = telemetry.server("weather");
    server.learn(NameKind::Tool, "echo");
    telemetry.emit(scene::tool_call(&server, "echo"));
    // There from the start, with nothing in it.
    let _nowhere = telemetry.server("_other");
    assert_eq!(telemetry.cardinality().folded, []);
    assert_eq!(folded(&telemetry.cardinality(), "watchgate_mcp_tool_calls_total", "tool"), None);
    for name in 0..100 {
        telemetry.emit(scene::tool_call(&server, &format!("invented-{name}")));
        telemetry.emit(OperationFinished { outcome: "rpc_error", ..scene::tool_call(&server, &format!("invented-{name}")) });
    }
    telemetry.emit(TelemetryDropped { signal: "operations", reason: "queue_full" });
    let counted = telemetry.cardinality();
    assert_eq!(folded(&counted, "watchgate_mcp_tool_calls_total", "tool"), Some((2, 200.0)));
    assert_eq!(folded(&counted, "mcp_server_operation_duration_seconds", "gen_ai_tool_name"), Some((2, 200.0)));
    assert_eq!(folded(&counted, "watchgate_mcp_tool_calls_total", "server"), None);
    let dropped: Vec<_> = counted.dropped.iter().map(|row| (row.signal.as_str(), row.reason.as_str(), row.count)).collect();
    assert_eq!(dropped, [("operations", "queue_full", 1.0)]);
}

#[test]
fn the_overview_says_what_the_metrics_say() {
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let _held = say_everything(&telemetry);
    let server = telemetry.server("weather");
    server.session_opened();
    telemetry.emit(watchgate_telemetry::ExchangeFinished { outcome: "timeout", ..scene::exchange(&server) });
    telemetry.emit(ServerUp { server: "weather", up: false });
    telemetry.server("another");
    let view = serde_json::to_value(telemetry.overview()).unwrap();
    assert_eq!(view["version"], env!("CARGO_PKG_VERSION"));
    assert!(view["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert!(view["memory"]["resident_bytes"].as_f64().unwrap() > 100_000.0);
    assert!(view["cpu"]["average_percent"].as_f64().unwrap() >= 0.0);
    assert_eq!((&view["sessions"], &view["requests_total"]), (&json!(1.0), &json!(2.0)));
    let weather = json!({ "up": false, "requests_total": 2.0, "failed_total": 1.0, "in_flight": 0.0, "sessions": 1.0 });
    let another = json!({ "up": null, "requests_total": 0.0, "failed_total": 0.0, "in_flight": 0.0, "sessions": 0.0 });
    assert_eq!(view["servers"], json!({ "weather": weather, "another": another }));
    let custom: Vec<&String> = view["custom"].as_object().unwrap().keys().collect();
    assert_eq!(custom, ["shop_orders_total", "shop_queue_bytes", "shop_wait_seconds_count", "shop_wait_seconds_sum"]);
    assert_eq!(view["custom"]["shop_queue_bytes"], json!([{ "labels": { "plugin": "p", "shop": "a" }, "value": -2.5 }]));
    assert!(view["custom"]["shop_orders_total"].as_array().is_some_and(|rows: &Vec<Value>| rows.len() == 999));
}
