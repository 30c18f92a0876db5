//! What reaches a collector, as the configuration file and the environment say.

use watchgate_tests::{Gateway, GatewayOptions, Scripted, wait_until};

use crate::config_reload::servers;
use crate::messages::{answer, tool_call};

/// A collector that takes everything.
pub fn collector() -> Scripted {
    Scripted::start_for_the_gateway_too(|exchange| exchange.respond(200, &[("content-type", "application/x-protobuf")], b""))
}

/// Waits until the collector was sent a body to `path` that names all of `texts`. In protobuf they stand as they are.
fn wait_for(collector: &Scripted, path: &str, texts: &[&str]) {
    wait_until(&format!("{path} with {texts:?}"), || {
        let requests = collector.requests();
        let bodies = requests.iter().filter(|request| request.head.target() == path);
        let holds = |body: &[u8], text: &str| body.windows(text.len()).any(|window| window == text.as_bytes());
        bodies.into_iter().any(|request| texts.iter().all(|text| holds(&request.body, text))).then_some(())
    });
}

#[test]
fn metrics_and_logs_reach_the_collectors_of_the_file() {
    let (upstream, metrics, logs) = (Scripted::start(answer), collector(), collector());
    let text = format!(
        "[metrics]\npath = \"/prometheus\"\n[metrics.otlp]\nprotocol = \"http\"\nendpoint = \"{}\"\ninterval = \"50ms\"\n\
         [logs.otlp]\nprotocol = \"http\"\nendpoint = \"{}/otel/logs\"\ninterval = \"10ms\"\n[traces]\nservice_name = \"edge\"\n{}",
        metrics.url(),
        logs.url(),
        servers(&[("weather", &upstream)])
    );
    let gateway = Gateway::start(&[], GatewayOptions::config(&text));
    gateway.post("/weather/mcp", &tool_call(1, "forecast"));
    wait_for(&metrics, "/v1/metrics", &["watchgate.mcp_tool_calls", "weather", "edge"]);
    wait_for(&logs, "/otel/logs", &["tools/call", "weather", "edge"]);
    for path in ["/metrics", "/prometheus"] {
        let reply = gateway.admin_get(path);
        assert!(reply.status() == 200 && reply.text().contains("watchgate_http_requests_total{"), "{path}: {}", reply.text());
    }
}

#[test]
fn the_standard_variables_send_all_signals_to_one_collector() {
    let (upstream, collector) = (Scripted::start(answer), collector());
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
        ("OTEL_LOGS_EXPORTER", "otlp".to_owned()),
        ("OTEL_TRACES_SAMPLER", "always_on".to_owned()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50".to_owned()),
        ("OTEL_BLRP_SCHEDULE_DELAY", "10".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10".to_owned()),
        ("OTEL_SERVICE_NAME", "edge".to_owned()),
    ];
    let environment = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let url = format!("weather={}", upstream.url());
    let gateway = Gateway::start(&["--upstream", &url], GatewayOptions { environment, ..GatewayOptions::default() });
    gateway.post("/weather/mcp", &tool_call(1, "forecast"));
    wait_for(&collector, "/v1/traces", &["tools/call", "edge"]);
    wait_for(&collector, "/v1/metrics", &["watchgate.mcp_tool_calls", "edge"]);
    wait_for(&collector, "/v1/logs", &["tools/call", "edge"]);
    drop(gateway);
}
