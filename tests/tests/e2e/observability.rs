//! What operators see of a running gateway from the command line: traces, logs, metrics, health.

use serde_json::{Value, json};
use watchgate_tests::gateway::Exit;
use watchgate_tests::http1::MCP_POST;
use watchgate_tests::operator::keep_asking_at;
use watchgate_tests::plugins::guest;
use watchgate_tests::upstream::nobody;
use watchgate_tests::{Connection, Gateway, GatewayOptions, PluginFolder, Scripted, ScriptedSocket, wait_until};

use crate::messages::{answer, tool_call};

fn upstream() -> Scripted {
    Scripted::start(|exchange| {
        let message: Value = serde_json::from_slice(&exchange.request.body)?;
        if message["method"] != "tools/list" {
            return answer(exchange);
        }
        let tools = json!({"tools": [{"name": "forecast", "inputSchema": {"type": "object"}}]});
        exchange.json(200, json!({"jsonrpc": "2.0", "id": message["id"], "result": tools}).to_string())
    })
}

fn gateway_before(upstream: &Scripted) -> Gateway {
    let gateway =
        Gateway::start(&["--upstream", &format!("weather={},gone=http://{}", upstream.url(), nobody())], GatewayOptions::default());
    // A tool's name is known only once its server has listed it.
    gateway.post("/weather/mcp", &json!({"jsonrpc": "2.0", "id": 0, "method": "tools/list"}));
    gateway
}

/// Calls a tool and has it traced.
fn call(gateway: &Gateway, server: &str, request_id: &str) {
    let headers = [&MCP_POST[..], &[("X-Request-ID", request_id), ("X-Debug-Trace", "true")]].concat();
    gateway.call("POST", &format!("/{server}/mcp"), &headers, tool_call(1, "forecast").to_string().as_bytes());
}

/// The summary of the only trace with this request id, once it is kept.
fn trace_of(gateway: &Gateway, request_id: &str) -> Value {
    let target = format!("/api/traces?request_id={request_id}");
    wait_until("the trace is kept", || gateway.admin_get(&target).json().unwrap()["traces"].get(0).cloned())
}

#[track_caller]
fn check(ended: &Exit, code: i32, stdout: &[&str], stderr: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for text in stdout {
        assert!(ended.stdout.contains(text), "{text:?} is not in {}", ended.stdout);
    }
    match stderr {
        "" => assert_eq!(ended.stderr, ""),
        text => assert!(
            ended.stderr.starts_with("watchgate: ") && ended.stderr.contains(text) && ended.stderr.lines().count() == 1,
            "{ended:?}"
        ),
    }
}

#[test]
fn a_call_is_found_by_its_request_id_and_drawn() {
    let upstream = upstream();
    let gateway = gateway_before(&upstream);
    call(&gateway, "weather", "r-1");
    call(&gateway, "gone", "r-2");
    let trace = trace_of(&gateway, "r-1");
    let id = trace["trace_id"].as_str().unwrap();
    assert_eq!((&trace["server"], &trace["outcome"], &trace["tool"]), (&"weather".into(), &"ok".into(), &"forecast".into()));

    check(&gateway.ask(&["trace", "--request-id", "r-1"]), 0, &["DURATION", "tools/call forecast", id], "");
    let drawn = gateway.ask(&["trace", id]);
    check(
        &drawn,
        0,
        &[&format!("trace {id}"), "weather  ok", "request r-1", "SERVER    tools/call forecast", "CLIENT      tools/call", "█"],
        "",
    );
    check(&gateway.ask(&["trace", id, "--attributes"]), 0, &["mcp.method.name = tools/call", "watchgate.request_id = r-1"], "");
    let json = gateway.ask(&["trace", id, "--json"]);
    let told: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(told["exchanges"][0]["spans"][0]["name"], "tools/call forecast");

    let failed = trace_of(&gateway, "r-2");
    let errors = gateway.ask(&["trace", "--errors"]);
    check(&errors, 0, &[failed["trace_id"].as_str().unwrap(), "unreachable"], "");
    assert!(!errors.stdout.contains(id), "{errors:?}");
    check(&gateway.ask(&["trace", failed["trace_id"].as_str().unwrap()]), 0, &["gone  unreachable", "! "], "");
    let error_id = failed["error_id"].as_str().unwrap();
    for id in [error_id, "r-2", &failed["trace_id"].as_str().unwrap()[..12]] {
        check(&gateway.ask(&["trace", id]), 0, &["gone  unreachable", "the MCP server cannot be reached"], "");
    }
    check(
        &gateway.ask(&["logs", "--error-id", error_id, "--target", "watchgate_proxy"]),
        0,
        &["answered by the gateway", "request_id=r-2"],
        "",
    );
    check(&gateway.ask(&["logs", "--request-id", "r-1", "--trace", &id[..8]]), 0, &["tools/call forecast ok", "sampled=true"], "");
    check(&gateway.ask(&["trace", "--server", "weather", "--tool", "forecast", "--slow", "1h"]), 1, &[], "no recent trace");
    check(&gateway.ask(&["trace", "00000000000000000000000000000001"]), 1, &[], "traces.ratio");
    check(&gateway.ask(&["trace", "--slow", "soon"]), 64, &[], "min_duration");
}

#[test]
fn what_is_turned_away_at_once_is_told_with_its_ids_and_not_for_each_client() {
    let upstream = upstream();
    let gateway = gateway_before(&upstream);
    for _ in 0..100 {
        let headers = [&MCP_POST[..], &[("X-Request-ID", "r-lost")]].concat();
        gateway.call("POST", "/nowhere", &headers, b"{}");
    }
    let lines = wait_until("the refusals are said", || {
        let page = gateway.admin_get("/api/logs?request_id=r-lost&limit=1000").json().unwrap();
        let lines = page["lines"].as_array().unwrap().clone();
        (lines.iter().filter(|line| line["type"] == "access").count() == 100).then_some(lines)
    });
    let said: Vec<&Value> = lines.iter().filter(|line| line["message"] == "answered by the gateway").collect();
    assert!(!said.is_empty() && said.len() < 100, "{said:?}");
    let access = lines.iter().find(|line| line["error_id"] == said[0]["error_id"] && line["type"] == "access").unwrap();
    assert_eq!((&said[0]["trace_id"], &access["sampled"]), (&access["trace_id"], &false.into()), "{access}");
    let errors = gateway.admin_get("/api/traces?errors").json().unwrap();
    assert_eq!(errors["traces"], json!([]), "clients' mistakes crowd nothing out");
}

#[test]
fn logs_are_filtered_and_followed() {
    let upstream = upstream();
    let gateway = gateway_before(&upstream);
    call(&gateway, "weather", "r-before");
    wait_until("the line is remembered", || {
        gateway.ask(&["logs", "--server", "weather"]).stdout.contains("request_id=r-before").then_some(())
    });
    let following = gateway.keep_asking(&["logs", "--follow", "--server", "weather", "--target", "access"]);
    let says = |text: &str| {
        wait_until(&format!("{text} is followed"), || following.process.stdout().contains(text).then_some(()));
    };
    says("request_id=r-before");
    call(&gateway, "gone", "r-elsewhere");
    call(&gateway, "weather", "r-after");
    says("request_id=r-after");
    assert!(!following.process.stdout().contains("r-elsewhere"), "{}", following.process.stdout());
    let json = gateway.ask(&["logs", "--server", "gone", "--target", "access", "--level", "error", "--json"]);
    let line: Value = serde_json::from_str(json.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&line["request_id"], &line["outcome"]), (&"r-elsewhere".into(), &"unreachable".into()));
    check(&gateway.ask(&["logs", "--level", "loud"]), 64, &[], "`level` must be");
}

#[test]
fn what_is_said_of_an_exchange_carries_its_trace() {
    let upstream = upstream();
    let folder = PluginFolder::with("probe", &guest("probe"), "[config]\nredact = \"deny\"\nwhen = \"forecast\"\n");
    let gateway = Gateway::start(&["--upstream", &upstream.url(), "--plugins", folder.path()], GatewayOptions::default());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut call_with_context = tool_call(1, "forecast");
    call_with_context["params"]["_meta"] = json!({"traceparent": format!("00-{trace}-00f067aa0ba902b7-01")});
    let headers = [&MCP_POST[..], &[("X-Request-ID", "r-denied")]].concat();
    gateway.call("POST", "/mcp", &headers, call_with_context.to_string().as_bytes());
    let line = wait_until("the denial is said", || {
        let lines = gateway.admin_get("/api/logs?target=watchgate_proxy").json().unwrap()["lines"].as_array().unwrap().clone();
        lines.into_iter().find(|line| line["message"].as_str().is_some_and(|message| message.contains("denied")))
    });
    assert_eq!(line["trace_id"], trace, "{line}");
    let access = wait_until("an access line", || gateway.access_log().into_iter().next());
    assert_eq!((&access["trace_id"], &access["span_id"]), (&line["trace_id"], &line["span_id"]), "{access}");
    assert_eq!(access["request_id"], "r-denied", "the policies have seen it meanwhile");
}

#[test]
fn metrics_are_shown_and_held_against_thresholds() {
    let upstream = upstream();
    let gateway = gateway_before(&upstream);
    for id in 0..3 {
        call(&gateway, "weather", &format!("r-{id}"));
    }
    let calls = "watchgate_mcp_tool_calls_total{server=\"weather\"}";
    wait_until("the calls are counted", || {
        (gateway.metrics().metric("watchgate_mcp_tool_calls_total", &[("server", "weather")]) == 3.0).then_some(())
    });
    let shown = gateway.ask(&["metrics", "--filter", "tool_calls_total.*weather"]);
    check(&shown, 0, &["METRIC", "watchgate_mcp_tool_calls_total", "tool=\"forecast\""], "");
    assert!(!shown.stdout.contains("watchgate_build_info"), "{shown:?}");
    check(&gateway.ask(&["metrics", "--threshold", &format!("{calls} > 3")]), 0, &["not over"], "");
    check(&gateway.ask(&["metrics", "--threshold", &format!("{calls} >= 3")]), 1, &[], "over the threshold");
    check(&gateway.ask(&["metrics", "--threshold", "p99(watchgate_overhead_seconds{server=\"weather\"}) > 1h"]), 0, &["not over"], "");
    check(&gateway.ask(&["metrics", "--threshold", "watchgate_typo > 3"]), 64, &[], "no metric is called watchgate_typo");
    check(&gateway.ask(&["metrics", "--threshold", "typo > 3"]), 1, &[], "no metric is called typo");
    check(&gateway.ask(&["metrics", "--threshold", "p99(watchgate_mcp_tool_call_duration_seconds) > 0s"]), 1, &[], "over the threshold");
    check(&gateway.ask(&["metrics", "--threshold", "watchgate_circuit_breaker_state{server=\"weather\"} == 0"]), 1, &[], "{endpoint=");
    check(&gateway.ask(&["metrics", "--threshold", "watchgate_circuit_breaker_state > 0"]), 0, &["not over"], "");
    check(&gateway.ask(&["metrics", "--threshold", "watchgate_plugin_state == 1"]), 1, &[], "nothing was observed");
    check(&gateway.ask(&["metrics", "--threshold", "watchgate_server_up{server=\"wether\"} < 1"]), 1, &[], "no server is called wether");
    check(&gateway.ask(&["metrics", "--threshold", &format!("rate({calls}) > 1")]), 64, &[], "--window");
    let windowed =
        gateway.ask(&["metrics", "--json", "--window", "10ms", "--filter", "tool_calls", "--threshold", &format!("increase({calls}) > 0")]);
    check(&windowed, 0, &["\"over\":false", "\"change\":0.0"], "observing");
    let mut watching =
        gateway.keep_asking(&["metrics", "--watch", "--interval", "20ms", "--json", "--threshold", &format!("increase({calls}) > 0")]);
    wait_until("it is watched", || watching.process.stdout().contains("\"over\":false").then_some(()));
    call(&gateway, "weather", "r-last");
    let ended = watching.process.wait(watchgate_tests::DEADLINE).unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(watching.process.stdout().lines().last().unwrap().contains("\"over\":true"));
}

#[test]
fn who_watches_watches_on_while_the_gateway_is_started_anew() {
    let mut admin = ScriptedSocket::start(|stream| {
        let Ok(mut connection) = Connection::new(stream) else { return };
        let text = "# TYPE g gauge\ng 1\n";
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        // Who has gone away needs no answer.
        let _ = connection.head().map(|_| connection.send(answer.as_bytes()));
    });
    let watching = keep_asking_at(admin.address(), &["metrics", "--watch", "--interval", "20ms", "--json"]);
    let shown = || watching.process.stdout().lines().count();
    wait_until("it is watched", || (shown() > 0).then_some(()));
    admin.go_away();
    wait_until("it is away", || watching.process.stderr().contains("still watching").then_some(()));
    let before = shown();
    admin.come_back();
    wait_until("it is there again", || (shown() > before).then_some(()));
    let said = watching.process.stderr();
    assert!(said.lines().count() == 2 && said.ends_with("is there again\n"), "{said}");
}

#[test]
fn health_has_an_exit_code_and_a_token_is_asked_for() {
    let upstream = upstream();
    let options =
        || GatewayOptions { environment: vec![("WATCHGATE_ADMIN_TOKEN".to_owned(), "t0ken".to_owned())], ..GatewayOptions::default() };
    let url = format!("weather={}", upstream.url());
    let gateway = Gateway::start(&["--upstream", &url], options());
    let health = gateway.ask(&["health"]);
    check(&health, 0, &["ready, version", "upstream"], "");
    check(&gateway.ask(&["metrics"]), 64, &[], "WATCHGATE_ADMIN_TOKEN");
    check(&gateway.ask_as(Some("wrong"), &["trace"]), 64, &[], "refuses the token");
    check(&gateway.ask_as(Some("t0ken"), &["metrics"]), 0, &["watchgate_build_info"], "");
    let missing = Gateway::start(&["--upstream", &url, "--require", "pii"], GatewayOptions::default());
    check(&missing.ask(&["health"]), 1, &["failing", "pii"], "is failing");
}

#[test]
fn where_nobody_listens_the_address_and_the_remedy_are_said() {
    let upstream = upstream();
    let gateway = Gateway::before(&upstream.url());
    let address = nobody().to_string();
    for command in ["trace", "logs", "metrics", "health"] {
        let ended = gateway.ask(&[command, "--admin", &address]);
        check(&ended, 69, &[], &format!("no gateway at {address}: connection refused; start it with"));
        check(&gateway.ask(&[command, "--admin", &format!("http://{}", gateway.traffic)]), 69, &[], "--admin");
        check(&gateway.ask(&[command, "--admin", "https://127.0.0.1:1"]), 64, &[], "http, not https");
    }
}

#[test]
fn the_level_of_the_log_changes_while_it_runs() {
    let upstream = upstream();
    let gateway = gateway_before(&upstream);
    let put = |body: &str| {
        let mut connection = Connection::open(gateway.admin).unwrap();
        connection.send(&watchgate_tests::http1::request("PUT", "/admin/log-level", &[], body.as_bytes())).unwrap();
        connection.reply().unwrap()
    };
    let reply = put(r#"{"level":"debug","for":"1h"}"#);
    assert_eq!((reply.status(), &reply.json().unwrap()["standing"]), (200, &"info".into()), "{}", reply.text());
    assert_eq!(put(r#"{"level":"loud"}"#).status(), 400);
    assert_eq!(gateway.admin_get("/admin/log-level").json().unwrap()["level"], "debug");
    let reply = put(r#"{"level":"error","for":"1ms"}"#);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    wait_until("the level is back", || (gateway.admin_get("/admin/log-level").json().unwrap()["level"] == "info").then_some(()));
}
