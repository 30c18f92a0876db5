//! A redaction plugin that fails closes: its message is denied with an error that carries the id, is counted, and harms no other message.

use serde_json::{Value, json};
use watchgate_tests::plugins::guest;
use watchgate_tests::{Exchange, Gateway, GatewayOptions, PluginFolder, Reply, Scripted, wait_until};

use crate::messages::{event, tool_result};

/// The word that wakes the evil in the probe.
const WORD: &str = "zap";

/// The tool whose result holds the word.
const BAD_TOOL: &str = "answers-badly";

/// Where instances are counted: without the other kinds, nothing but the test's own messages is shown to the policy.
const ALONE: &str = "kinds = [\"redaction\"]\n";

/// Answers each `tools/call` with its tool's name in the text, on `/events` as the last of three events.
fn answer(exchange: &mut Exchange) -> anyhow::Result<()> {
    let message: Value = serde_json::from_slice(&exchange.request.body)?;
    let tool = message["params"]["name"].as_str().unwrap_or_default();
    let result = tool_result(&message["id"], if tool == BAD_TOOL { WORD } else { tool });
    if exchange.request.head.target() != "/events" {
        return exchange.json(200, result);
    }
    exchange.event_stream()?;
    exchange.chunk("id: 1\ndata:\n\n")?;
    exchange.chunk(event(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":0,"progress":1}}"#))?;
    exchange.chunk(format!("id: 2\n{}", event(&result)))?;
    exchange.end()
}

fn call(id: &Value, tool: &str, argument: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {"a": argument}}})
}

/// A gateway with the probe in front of [`answer`].
struct Scene {
    gateway: Gateway,
    upstream: Scripted,
    folder: PluginFolder,
}

impl Scene {
    fn start(settings: &str) -> Self {
        let folder = PluginFolder::with("probe", &guest("probe"), settings);
        let upstream = Scripted::start(answer);
        let args = ["--upstream", &upstream.url(), "--plugins", folder.path()];
        let gateway = Gateway::start(&args, GatewayOptions::default());
        assert_eq!(gateway.plugin("probe")["state"], "live", "{}", gateway.plugin("probe"));
        Self { gateway, upstream, folder }
    }

    /// The message that answers a call on `/json` or `/events`.
    #[track_caller]
    fn call(&self, target: &str, id: &Value, tool: &str, argument: &str) -> Value {
        let reply = self.gateway.post(target, &call(id, tool, argument));
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let text = reply.text();
        if reply.head.header("content-type") == Some("application/json") {
            return reply.json().unwrap();
        }
        let last = text.split("\n\n").filter(|event| !event.is_empty()).last().unwrap_or_default();
        assert!(text.contains("notifications/progress"), "the events before went missing: {text}");
        assert!(last.starts_with("id: 2\n"), "the event lost its id: {last}");
        let data: Vec<&str> = last.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        serde_json::from_str(&data.join("\n")).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[track_caller]
    fn assert_works(&self, target: &str, id: &Value) {
        let answer = self.call(target, id, "good", "good");
        assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (id, &json!("good")), "{answer}");
    }

    #[track_caller]
    fn assert_denied(&self, target: &str, id: &Value, tool: &str, argument: &str) {
        let answer = self.call(target, id, tool, argument);
        assert_eq!((&answer["jsonrpc"], &answer["id"], &answer["error"]["code"]), (&json!("2.0"), id, &json!(-31001)), "{answer}");
        let data = &answer["error"]["data"];
        assert_eq!((&data["source"], &data["reason"]), (&json!("watchgate"), &json!("denied")), "{answer}");
        assert!(!answer.to_string().contains("probe"), "the client learns of the gateway's plugins: {answer}");
        let error_id = data["error_id"].as_str().unwrap();
        self.gateway.wait_for_log(error_id);
    }

    fn failures(&self, kind: &str, reason: &str) -> f64 {
        self.gateway.metrics().metric("watchgate_plugin_failures_total", &[("plugin", "probe"), ("kind", kind), ("reason", reason)])
    }
}

/// Only who waits shall meet the wall deadline; who computes needs longer for it on a loaded machine.
pub fn limits(evil: &str) -> &'static str {
    match evil {
        "wait" => "[limits]\nwall = \"500ms\"\n",
        // Writing more of it may take longer than the CPU budget.
        "grow" => "[limits]\nwall = \"10s\"\nmemory = \"16MiB\"\n",
        _ => "[limits]\nwall = \"10s\"\n",
    }
}

/// With a probe that does `action` at the word, messages that hold it are denied in either direction, and all others pass.
fn check_fails_closed(action: &str, reason: &str) {
    let scene = Scene::start(&format!("{ALONE}[config]\nredact = {action:?}\nwhen = {WORD:?}\n{}", limits(action)));
    let lost = || scene.gateway.metrics().metric("watchgate_plugin_restarts_total", &[("plugin", "probe")]);
    let mut denied = 0.0;
    for (target, id) in [("/json", json!(0)), ("/events", json!("an id")), ("/json", json!(7)), ("/events", json!(-1))] {
        scene.assert_works(target, &id);
        let before = lost();
        scene.assert_denied(target, &id, BAD_TOOL, "good");
        scene.assert_works(target, &id);
        assert_eq!(lost(), before + 1.0, "{action}: the instance lives on");
        let forwarded = scene.upstream.requests().len();
        scene.assert_denied("/json", &id, "good", WORD);
        assert_eq!(scene.upstream.requests().len(), forwarded, "{action}: a denied request was forwarded");
        denied += 2.0;
    }
    scene.assert_works("/json", &json!(8));
    assert_eq!(scene.failures("redaction", reason), denied, "{action}:\n{}", scene.gateway.metrics().text());
    let metrics = scene.gateway.metrics();
    let all = metrics.metric("watchgate_plugin_failures_total", &[("plugin", "probe"), ("kind", "redaction")]);
    assert_eq!(all, denied, "{action}: counted twice, or for another reason");
    assert_eq!(metrics.metric("watchgate_http_requests_total", &[("outcome", "denied")]), denied, "{action}");
    assert_eq!(metrics.metric("watchgate_plugin_restarts_total", &[("plugin", "probe")]), denied, "{action}");
    assert_eq!(scene.gateway.plugin("probe")["state"], "live");
    assert_eq!(scene.gateway.admin_get("/health/ready").status(), 200);
    let outcomes = wait_until("an access line for each exchange", || {
        let lines = scene.gateway.access_log();
        (lines.len() == 17).then(|| lines.iter().filter(|line| line["outcome"] == "denied").count())
    });
    assert_eq!(outcomes, 8);
}

macro_rules! fails_closed {
    ($($test:ident: $action:literal, $reason:literal;)*) => {$(
        #[test]
        fn $test() {
            check_fails_closed($action, $reason);
        }
    )*};
}

fails_closed! {
    a_policy_that_traps: "trap", "trap";
    a_policy_that_loops: "loop", "cpu_timeout";
    a_policy_that_grows: "grow", "memory";
    a_policy_that_waits: "wait", "wall_timeout";
    a_policy_that_hoards_handles: "leak-handles", "host_calls";
    a_policy_that_returns_no_json: "not-json", "invalid_output";
    a_policy_that_changes_the_id: "change-id", "invalid_output";
    a_policy_that_breaks_the_envelope: "set:/jsonrpc=\"1.0\"", "invalid_output";
}

#[test]
fn a_policy_that_decides_to_deny_has_not_failed() {
    let scene = Scene::start(&format!("[config]\nredact = \"deny\"\nwhen = {WORD:?}\n"));
    scene.assert_denied("/json", &json!(1), BAD_TOOL, "good");
    scene.assert_denied("/events", &json!(2), BAD_TOOL, "good");
    scene.assert_denied("/json", &json!(3), "good", WORD);
    let metrics = scene.gateway.metrics();
    assert_eq!(metrics.metric("watchgate_plugin_denials_total", &[("plugin", "probe")]), 3.0);
    assert_eq!(metrics.metric("watchgate_plugin_failures_total", &[("plugin", "probe"), ("kind", "redaction")]), 0.0);
    assert_eq!(metrics.metric("watchgate_plugin_restarts_total", &[("plugin", "probe")]), 0.0);
}

#[test]
fn messages_that_make_a_policy_loop_cost_no_other_message_anything() {
    let scene = Scene::start(&format!("{ALONE}required = true\n[config]\nredact = \"loop\"\nwhen = {WORD:?}\n"));
    for id in 0..7 {
        scene.assert_denied("/json", &json!(id), "good", WORD);
    }
    assert_eq!(scene.failures("redaction", "cpu_timeout"), 7.0);
    scene.gateway.wait_for_log("interrupted 3 times in a row by what it was shown");
    scene.assert_works("/json", &json!(7));
    assert_eq!(scene.gateway.plugin("probe")["state"], "live");
    assert_eq!(scene.gateway.admin_get("/health/ready").status(), 200);
    assert_eq!(scene.failures("redaction", "quarantined"), 0.0);
}

/// A call of `good` until one is answered with this status.
#[track_caller]
fn call_until(scene: &Scene, status: u16) -> Reply {
    wait_until("an answer with that status", || {
        let reply = scene.gateway.post("/json", &call(&json!(1), "good", "good"));
        (reply.status() == status).then_some(reply)
    })
}

#[test]
fn a_required_policy_that_loops_with_everything_is_quarantined_until_it_does_not() {
    // Late enough for it to go live, and for no longer than the second try.
    let from = now_ms() + 5_000;
    let config = format!("[config]\nloops_between = [{from}, {}]\n", from + 1_500);
    let scene = Scene::start(&format!("{ALONE}required = true\n{config}"));
    scene.assert_works("/json", &json!(1));
    let refused = call_until(&scene, 503);
    assert_eq!(refused.json().unwrap()["error"]["code"], -31005, "{}", refused.text());
    scene.gateway.wait_for_plugin("probe", "quarantined", |plugin| plugin["state"] == "quarantined");
    assert_eq!(scene.gateway.metrics().metric("watchgate_plugin_state", &[("plugin", "probe"), ("state", "quarantined")]), 1.0);
    let ready = scene.gateway.admin_get("/health/ready");
    assert_eq!(ready.status(), 503);
    assert!(ready.text().contains("required plugin `probe` is quarantined"), "{}", ready.text());
    // By itself: no call reaches it meanwhile.
    call_until(&scene, 200);
    scene.assert_works("/json", &json!(2));
    assert_eq!(scene.gateway.admin_get("/health/ready").status(), 200);
    assert_eq!(scene.gateway.plugin("probe")["generation"], 1);
    scene.gateway.wait_for_log("called again after its quarantine");
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

/// Three calls through a probe that puts the number of its instance's calls in the place of the word.
fn check_instances(settings: &str, expected: [&str; 4]) {
    let config = "[config]\nredact = \"count-instances\"\nwhen = \"zap\"\nsurfaces = [\"wire\"]\ndirections = [\"server-to-client\"]\n";
    let scene = Scene::start(&format!("{ALONE}{settings}\n{config}"));
    let seen = expected.map(|_| scene.call("/json", &json!(1), BAD_TOOL, "good")["result"]["content"][0]["text"].clone());
    assert_eq!(seen, expected.map(Value::from), "{settings}");
}

#[test]
fn instances_are_used_again_as_often_as_the_settings_say() {
    check_instances("", ["1", "2", "3", "4"]);
    check_instances("limits.max_calls = 2", ["1", "2", "1", "2"]);
    check_instances("isolation = \"call\"", ["1", "1", "1", "1"]);
}

#[test]
fn policies_run_in_their_order_each_on_what_the_one_before_made() {
    let scene = Scene::start("order = 2\n[config]\nredact = \"mask:one=two\"\n");
    let first = "order = 1\n[config]\nredact = \"mask:zero=one\"\n";
    scene.folder.add("z-first", &guest("probe"), first);
    scene.folder.add(
        "a-last",
        &guest("probe"),
        "order = 3\n[config]\nredact = \"deny\"\nwhen = \"two\"\ndirections = [\"client-to-server\"]\n",
    );
    scene.gateway.wait_for_generation("z-first", 1);
    scene.gateway.wait_for_generation("a-last", 1);
    scene.assert_denied("/json", &json!(1), "good", "zero");
    // Turned round, nobody makes a `two`.
    scene.folder.write("z-first.toml", first.replace("order = 1", "order = 4").as_bytes());
    scene.gateway.wait_for_generation("z-first", 2);
    let answer = scene.call("/events", &json!(2), "zero", "zero");
    assert_eq!(answer["result"]["content"][0]["text"], "two", "the request became `one` and the answer `two`: {answer}");
}

#[test]
fn a_denied_request_of_the_server_is_answered_in_the_clients_name() {
    let folder = PluginFolder::with("probe", &guest("probe"), &format!("[config]\nredact = \"trap\"\nwhen = {WORD:?}\n"));
    let upstream = Scripted::start(|exchange| {
        let message: Value = serde_json::from_slice(&exchange.request.body)?;
        if message["method"] != "tools/call" {
            return exchange.respond(202, &[], b"");
        }
        let asks = json!({"jsonrpc": "2.0", "id": "s1", "method": "sampling/createMessage", "params": {"messages": [WORD]}});
        exchange.event_stream()?;
        exchange.chunk(format!("id: 9\n{}", event(&asks.to_string())))?;
        exchange.chunk(event(&tool_result(&message["id"], "done")))?;
        exchange.end()
    });
    let args = ["--upstream", &upstream.url(), "--plugins", folder.path()];
    let gateway = Gateway::start(&args, GatewayOptions::default());
    let headers = [("Content-Type", "application/json"), ("Mcp-Session-Id", "session-1"), ("Authorization", "Bearer of-the-client")];
    let reply = gateway.call("POST", "/mcp", &headers, call(&json!(1), "ask", "").to_string().as_bytes());
    assert!(!reply.text().contains("sampling") && reply.text().contains("id: 9\n"), "{}", reply.text());
    assert!(reply.text().contains("done"), "{}", reply.text());
    let refusal = wait_until("the server is told", || upstream.requests().into_iter().nth(1));
    let message: Value = serde_json::from_slice(&refusal.body).unwrap();
    assert_eq!((&message["id"], &message["error"]["code"]), (&json!("s1"), &json!(-31001)));
    for (name, value) in [("mcp-session-id", "session-1"), ("authorization", "Bearer of-the-client")] {
        assert_eq!(refusal.head.header(name), Some(value));
    }
    // What a client sends that needs no answer is accepted and dropped; an answer to the server becomes an error.
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"reason": WORD}});
    assert_eq!(gateway.post("/mcp", &notification).status(), 202);
    assert_eq!(upstream.requests().len(), 2);
    let answer = json!({"jsonrpc": "2.0", "id": "s2", "result": {"text": WORD}});
    assert_eq!(gateway.post("/mcp", &answer).status(), 202);
    let forwarded: Value = serde_json::from_slice(&upstream.requests()[2].body).unwrap();
    assert_eq!((&forwarded["id"], &forwarded["error"]["code"]), (&json!("s2"), &json!(-31001)));
}

/// With a probe whose `observe` does `action` for the bad tool, no client notices, and later operations are observed.
fn check_fails_open(action: &str, reason: &str) {
    let settings = format!("kinds = [\"derivation\"]\n[config]\nobserve = {action:?}\nwhen = {BAD_TOOL:?}\n{}", limits(action));
    let scene = Scene::start(&settings);
    let observed = |name: &str| scene.gateway.wait_for_metric("probe_operations_total", &[("plugin", "probe"), ("name", name)], 1.0);
    for (round, target) in ["/json", "/events"].into_iter().enumerate() {
        let direct = scene.call(target, &json!(round), BAD_TOOL, WORD);
        assert_eq!(direct["result"]["content"][0]["text"], WORD, "{action}");
        wait_until("the failure is counted", || (scene.failures("derivation", reason) > round as f64).then_some(()));
        let after = format!("after-{round}");
        scene.call(target, &json!(round), &after, "good");
        observed(&after);
    }
    assert_eq!(scene.failures("derivation", reason), 2.0, "{action}");
    assert_eq!(scene.gateway.metrics().metric("watchgate_http_requests_total", &[("outcome", "ok")]), 4.0, "{action}");
    assert_eq!(scene.gateway.admin_get("/health/ready").status(), 200);
}

macro_rules! fails_open {
    ($($test:ident: $action:literal, $reason:literal;)*) => {$(
        #[test]
        fn $test() {
            check_fails_open($action, $reason);
        }
    )*};
}

fails_open! {
    a_derivation_that_traps: "trap", "trap";
    a_derivation_that_loops: "loop", "cpu_timeout";
    a_derivation_that_grows: "grow", "memory";
    a_derivation_that_waits: "wait", "wall_timeout";
}
