//! Telemetry that cannot go where it should, and contexts that are none: traffic does not notice, one line says it, a counter counts it.

use std::fs;
use std::net::TcpListener;

use serde_json::json;
use watchgate_tests::http1::MCP_POST;
use watchgate_tests::{Gateway, GatewayOptions, Scripted, wait_until};

use crate::config_reload::servers;
use crate::messages::{answer, tool_call};

/// A gateway that pushes all signals to `url`, each at once, and has little patience with it.
fn pushing_to(upstream: &Scripted, url: &str) -> Gateway {
    let push = |table: &str, chosen: &str, more: &str| {
        format!("[{table}]\n{chosen}\nendpoint = \"{url}\"\ntimeout = \"100ms\"\ninterval = \"20ms\"\n{more}\n")
    };
    let config = [
        push("traces", "exporter = \"otlp-http\"", "ratio = 1\nqueue = 2\nbatch = 1"),
        push("metrics.otlp", "protocol = \"http\"", ""),
        push("logs.otlp", "protocol = \"http\"", "queue = 2\nbatch = 1"),
        servers(&[("a", upstream)]),
    ];
    let environment = vec![("OTEL_TRACES_SAMPLER".to_owned(), "always_on".to_owned())];
    Gateway::start(&[], GatewayOptions { environment, ..GatewayOptions::config(&config.concat()) })
}

/// Calls a tool often enough to fill every queue.
fn calls_pass(gateway: &Gateway) {
    for id in 0..20 {
        assert_eq!(gateway.post("/a/mcp", &tool_call(id, "t")).status(), 200);
    }
}

fn check_collector(url: &str, said: &str) {
    let upstream = Scripted::start(answer);
    let mut gateway = pushing_to(&upstream, url);
    calls_pass(&gateway);
    for signal in ["traces", "otlp_logs"] {
        wait_until(&format!("{signal} that were lost at {url} are counted"), || {
            let metrics = gateway.metrics();
            let lost = metrics.samples("watchgate_telemetry_dropped_total", &[("signal", signal)]).any(|sample| sample.value > 0.0);
            lost.then_some(())
        });
    }
    calls_pass(&gateway);
    let log = gateway.whole_log();
    for signal in ["traces", "metrics", "otlp_logs"] {
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains("cannot be exported") && line.contains(&format!("signal={signal} "))).collect();
        assert!(lines.len() == 1 && lines[0].contains(said), "{signal}: {lines:#?}");
    }
}

#[test]
fn collectors_that_are_none_or_fail() {
    let failing = Scripted::start_for_the_gateway_too(|exchange| exchange.respond(500, &[], b"out of order"));
    check_collector(&failing.url(), "500");
    let page = Scripted::start_for_the_gateway_too(|exchange| exchange.respond(200, &[("Content-Type", "text/html")], b"<h1>hello</h1>"));
    check_collector(&page.url(), "no collector of this protocol");
}

#[test]
fn a_collector_that_hangs() {
    // Connections are made by the system and answered by nobody.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    check_collector(&format!("http://{}", silent.local_addr().unwrap()), "time");
}

#[test]
fn a_log_folder_that_vanishes_and_is_there_again() {
    let upstream = Scripted::start(answer);
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let path = logs.join("access.log");
    let url = format!("a={}", upstream.url());
    let gateway = Gateway::start(&["--upstream", &url, "--access-log", path.to_str().unwrap()], GatewayOptions::default());
    calls_pass(&gateway);
    fs::remove_dir_all(&logs).unwrap();
    calls_pass(&gateway);
    fs::create_dir(&logs).unwrap();
    wait_until("lines are written again", || {
        calls_pass(&gateway);
        fs::read_to_string(&path).is_ok_and(|text| text.contains("tools/call")).then_some(())
    });
}

#[test]
fn contexts_that_are_none() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::start(&["--upstream", &format!("a={}", upstream.url())], GatewayOptions::default());
    let members = (0..10_000).map(|number| format!("k{number}=v")).collect::<Vec<_>>().join(",");
    let check = |headers: &[(&str, &str)], meta: serde_json::Value| {
        let mut message = tool_call(1, "t");
        message["params"]["_meta"] = meta;
        let reply = gateway.call("POST", "/a/mcp", &[&MCP_POST[..], headers].concat(), message.to_string().as_bytes());
        assert_eq!(reply.status(), 200, "{headers:?} {}", reply.text());
    };
    check(&[("traceparent", "00-zz-1-01")], json!({}));
    check(&[("traceparent", "00-00000000000000000000000000000000-0000000000000000-01")], json!({}));
    check(&[("tracestate", "=;,,=")], json!({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff"}));
    check(&[], json!({"traceparent": 7, "tracestate": [], "baggage": {}}));
    check(&[], json!({"traceparent": "x".repeat(100_000)}));
    check(&[], json!("no object"));
    check(&[], json!({"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "baggage": members}));
    let counted: f64 = gateway.metrics().samples("watchgate_trace_context_invalid_total", &[]).map(|sample| sample.value).sum();
    assert!(counted >= 4.0, "{counted}");
    // What a client sends reaches the server all the same.
    assert!(upstream.requests().iter().any(|request| request.body.len() > 60_000));
}
