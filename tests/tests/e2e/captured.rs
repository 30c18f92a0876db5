//! Arguments and results of tool calls, recorded where the configuration wants them and never as they were when something in them is secret.

use serde_json::{Value, json};
use watchgate_tests::plugins::guest;
use watchgate_tests::{Gateway, GatewayOptions, PluginFolder, Scripted, wait_until};

/// What the policy is told to mask.
const WORD: &str = "xylophone";
const TOO_LARGE: usize = 200_000;

/// Answers as the argument `answer` says.
fn upstream() -> Scripted {
    Scripted::start(|exchange| {
        let message: Value = serde_json::from_slice(&exchange.request.body)?;
        let id = &message["id"];
        let result = match message["params"]["arguments"]["answer"].as_str() {
            Some("error") => json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": format!("no {WORD} here")}}),
            Some("large") => {
                json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "y".repeat(TOO_LARGE)}]}})
            }
            _ => {
                json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": format!("a {WORD}")}], "api_key": "k-1"}})
            }
        };
        exchange.json(200, result.to_string())
    })
}

fn call(id: u32, answer: &str) -> Value {
    let arguments = json!({"answer": answer, "city": WORD, "deep": [{"password": "hunter-2"}]});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "play", "arguments": arguments}})
}

/// The lines with target `capture`, once there are so many.
fn lines(gateway: &Gateway, count: usize) -> Vec<Value> {
    wait_until("the calls are recorded", || {
        let lines = gateway.admin_get("/api/logs?target=capture").json().unwrap()["lines"].as_array().unwrap().clone();
        (lines.len() >= count).then_some(lines)
    })
}

/// What one call's line says: outcome, arguments and result.
fn said(line: &Value) -> (&str, &str, &str) {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    (text("outcome"), text("arguments"), text("result"))
}

fn gateway(upstream: &Scripted, logs: &str, plugins: &PluginFolder) -> Gateway {
    let config = format!("[logs]\n{logs}\n[servers.a]\nurl = \"{}\"\nmount = \"root\"\n", upstream.url());
    Gateway::start(&["--plugins", plugins.path()], GatewayOptions::config(&config))
}

const ARGUMENTS: &str = r#"{"answer":"","city":"xylophone","deep":[{"password":"***"}]}"#;

#[test]
fn what_is_recorded_is_masked_cut_and_found_in_log_and_trace() {
    let (upstream, plugins) = (upstream(), PluginFolder::new());
    let mut gateway = gateway(&upstream, "capture = \"all\"\ncapture_bytes = \"1KiB\"", &plugins);
    let headers = [&watchgate_tests::http1::MCP_POST[..], &[("X-Debug-Trace", "true"), ("X-Request-ID", "r-1")]].concat();
    gateway.call("POST", "/mcp", &headers, call(1, "").to_string().as_bytes());
    let line = lines(&gateway, 1).remove(0);
    let result = r#"{"api_key":"***","content":[{"text":"a xylophone","type":"text"}]}"#;
    assert_eq!(said(&line), ("ok", ARGUMENTS, result), "{line}");
    assert_eq!((&line["request_id"], &line["server"], &line["tool"]), (&json!("r-1"), &json!("a"), &json!("play")));
    let id = line["trace_id"].as_str().unwrap();
    let trace = gateway.admin_get(&format!("/api/traces/{id}")).json().unwrap();
    let attributes = &trace["exchanges"][0]["spans"][0]["attributes"];
    assert_eq!(attributes["gen_ai.tool.call.arguments"], ARGUMENTS, "{trace}");
    assert_eq!(attributes["gen_ai.tool.call.result"], result);

    gateway.post("/mcp", &call(2, "large"));
    let line = lines(&gateway, 2).remove(1);
    let (_, _, result) = said(&line);
    assert!(result.len() == 1024 + '…'.len_utf8() && result.ends_with("yy…"), "{} bytes: {result}", result.len());
    let whole = gateway.metrics().text().to_owned();
    assert!(!whole.contains("hunter") && !gateway.whole_log().contains("hunter"));
}

#[test]
fn only_calls_that_failed_or_none_at_all() {
    let (upstream, plugins) = (upstream(), PluginFolder::new());
    let failing = gateway(&upstream, "capture = \"on_error\"", &plugins);
    failing.post("/mcp", &call(1, ""));
    failing.post("/mcp", &call(2, "error"));
    let lines_of_failing = lines(&failing, 1);
    assert_eq!(lines_of_failing.len(), 1);
    let (outcome, arguments, result) = said(&lines_of_failing[0]);
    assert_eq!((outcome, result), ("rpc_error", r#"{"code":-32000,"message":"no xylophone here"}"#));
    assert!(arguments.contains("\"answer\":\"error\""), "{arguments}");

    let mut silent = gateway(&upstream, "capture = \"none\"", &plugins);
    silent.post("/mcp", &call(1, "error"));
    wait_until("the call is kept", || {
        silent.admin_get("/api/traces?errors=true").json().unwrap()["traces"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    });
    assert!(!silent.whole_log().contains(WORD));
}

#[test]
fn policies_see_it_on_the_telemetry_surface_first() {
    let check = |redact: &str, expected: (&str, &str), lost: f64| {
        let upstream = upstream();
        let settings = format!("[config]\nsurfaces = [\"telemetry\"]\nwhen = \"{WORD}\"\nredact = \"{redact}\"\n");
        let plugins = PluginFolder::with("probe", &guest("probe"), &settings);
        let mut gateway = gateway(&upstream, "capture = \"all\"", &plugins);
        let reply = gateway.post("/mcp", &call(1, ""));
        assert!(reply.text().contains(WORD), "the wire is none of its business: {}", reply.text());
        if expected == ("", "") {
            let dropped = [("signal", "trace_fields"), ("reason", "redaction")];
            wait_until("what was lost is counted", || {
                (gateway.metrics().metric("watchgate_telemetry_dropped_total", &dropped) == lost).then_some(())
            });
        } else {
            let line = lines(&gateway, 1).remove(0);
            assert_eq!((said(&line).1, said(&line).2), expected, "{line}");
        }
        assert!(!gateway.whole_log().contains(WORD), "{redact}");
    };
    let (arguments, result) = (ARGUMENTS.replace(WORD, "[M]"), r#"{"api_key":"***","content":[{"text":"a [M]","type":"text"}]}"#);
    check(&format!("mask:{WORD}=[M]"), (&arguments, result), 0.0);
    check("deny", ("", ""), 2.0);
    check("not-json", ("", ""), 2.0);
}

#[test]
fn policies_see_strings_as_they_are_and_not_only_their_escapes() {
    // As the policy meets it in JSON; within the text of captured JSON it would have three backslashes.
    const QUOTED: &str = r#"xylo\"phone"#;
    let upstream = Scripted::start(|exchange| {
        let inner = json!({"note": "a xylo\"phone"}).to_string();
        let result = json!({"content": [{"type": "text", "text": inner}, {"type": "text", "text": "of a xylo\"phone\n"}]});
        exchange.json(200, json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string())
    });
    let settings = format!("[config]\nsurfaces = [\"telemetry\"]\nwhen = '{QUOTED}'\nredact = 'mask:{QUOTED}=[M]'\n");
    let plugins = PluginFolder::with("probe", &guest("probe"), &settings);
    let gateway = gateway(&upstream, "capture = \"all\"", &plugins);
    gateway.post("/mcp", &call(1, ""));
    let line = lines(&gateway, 1).remove(0);
    let expected =
        json!({"content": [{"type": "text", "text": r#"{"note":"a [M]"}"#}, {"type": "text", "text": "of a [M]\n"}]}).to_string();
    assert_eq!(said(&line).2, expected, "{line}");
}
