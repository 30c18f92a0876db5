//! Plugins are swapped under load: no call fails, no event is lost, every answer was seen by one of two generations, nothing is left behind.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::plugins::guest;
use watchgate_tests::{Connection, Exchange, Gateway, GatewayOptions, PluginFolder, Scripted, wait_until};

use crate::echo::probe_says;
use crate::messages::{event, tool_result};

const CLIENTS: usize = 8;
const SWAPS: usize = 20;
/// Events before the result in each streamed answer.
const EVENTS: usize = 5;
const SECRET: &str = "probe-secret";
/// What the two generations put in the place of the secret.
const WORDS: [&str; 2] = ["[even]", "[odd]"];

/// Answers each call with the secret: as a document, on `/events` in numbered events, and on a GET with whatever `to_send` brings.
fn answer(exchange: &mut Exchange, to_send: &Mutex<Option<Receiver<String>>>) -> anyhow::Result<()> {
    if exchange.request.head.method() == "GET" {
        exchange.event_stream()?;
        let to_send = to_send.lock().unwrap().take();
        let events = to_send.into_iter().flatten();
        return events.into_iter().try_for_each(|data| exchange.chunk(event(&data)));
    }
    let message: Value = serde_json::from_slice(&exchange.request.body)?;
    let heard = message["params"]["arguments"]["text"].as_str().unwrap_or_default();
    let result = tool_result(&message["id"], &format!("{heard} {SECRET}"));
    if exchange.request.head.target() != "/events" {
        return exchange.json(200, result);
    }
    exchange.event_stream()?;
    for n in 0..EVENTS {
        exchange.chunk(event(&notification(n)))?;
    }
    exchange.chunk(event(&result))?;
    exchange.end()
}

fn notification(n: usize) -> String {
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": {"n": n, "text": SECRET}}}).to_string()
}

/// The component in one more version: a custom section changes its hash and nothing else.
fn version(n: usize) -> Vec<u8> {
    let mut component = guest("probe");
    component.extend([0, 3, 1, b'v', u8::try_from(n).unwrap()]);
    component
}

/// One client that calls without pause until it is stopped; what goes wrong first ends it.
fn client(gateway: std::net::SocketAddr, number: usize, stop: &AtomicBool, calls: &AtomicU64) -> Result<(), String> {
    let target = if number.is_multiple_of(2) { "/json" } else { "/events" };
    let mut connection = Connection::open(gateway).map_err(|error| error.to_string())?;
    for id in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let params = json!({"name": "say", "arguments": {"text": SECRET}});
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string();
        connection.send(&request("POST", target, &MCP_POST, call.as_bytes())).map_err(|error| format!("call {id}: {error}"))?;
        let reply = connection.reply().map_err(|error| format!("call {id}: {error:#}"))?;
        check_reply(target, id, reply.status(), &reply.text()).map_err(|what| format!("call {id}: {what} in {}", reply.text()))?;
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The request and the answer were each redacted by one of the generations, perhaps not the same.
fn check_reply(target: &str, id: u64, status: u16, text: &str) -> Result<(), String> {
    if status != 200 || text.contains(SECRET) {
        return Err(format!("status {status}, or the secret"));
    }
    let messages: Vec<Value> = match target {
        "/events" => text.lines().filter_map(|line| line.strip_prefix("data: ")).map(parse).collect::<Result<_, _>>()?,
        _ => vec![parse(text)?],
    };
    let (result, notifications) = messages.split_last().ok_or("no message")?;
    if target == "/events" && notifications.len() != EVENTS {
        return Err(format!("{} events", notifications.len()));
    }
    for (n, notification) in notifications.iter().enumerate() {
        let data = &notification["params"]["data"];
        if data["n"] != n || !data["text"].as_str().is_some_and(|text| WORDS.contains(&text)) {
            return Err(format!("event {n} is {notification}"));
        }
    }
    let words: Vec<&str> = result["result"]["content"][0]["text"].as_str().unwrap_or_default().split(' ').collect();
    if result["id"] != id || words.len() != 2 || !words.iter().all(|word| WORDS.contains(word)) {
        return Err(format!("the result is {result}"));
    }
    Ok(())
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))
}

struct Scene {
    gateway: Gateway,
    folder: PluginFolder,
    _upstream: Scripted,
    to_stream: Sender<String>,
}

impl Scene {
    fn start() -> Self {
        let (to_stream, to_send) = channel();
        let to_send = Mutex::new(Some(to_send));
        let upstream = Scripted::start(move |exchange| answer(exchange, &to_send));
        let folder = PluginFolder::with("p", &version(0), &probe_says(WORDS[0]));
        let args = ["--upstream", &upstream.url(), "--plugins", folder.path(), "--require", "p"];
        let gateway = Gateway::start(&args, GatewayOptions::default());
        Self { gateway, folder, _upstream: upstream, to_stream }
    }

    /// Makes generation `number` (from 2) in one of four ways, and waits until it is live; gives its word.
    fn swap(&self, number: usize) -> &'static str {
        let word = WORDS[number / 2 % 2];
        match number % 4 {
            // The settings with another word.
            0 => self.folder.write("p.toml", probe_says(word).as_bytes()),
            2 => self.folder.rename_over("p.toml", probe_says(word).as_bytes()),
            // The component in another version.
            1 => self.folder.write("p.wasm", &version(number)),
            _ => self.folder.rename_over("p.wasm", &version(number)),
        }
        self.gateway.wait_for_generation("p", number as u64);
        word
    }

    fn value(&self, metric: &str) -> f64 {
        self.gateway.metrics().metric(metric, if metric.starts_with("watchgate_plugin") { &[("plugin", "p")] } else { &[] })
    }
}

#[test]
fn twenty_swaps_while_eight_clients_call() {
    let scene = Scene::start();
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (address, stop, calls) = (scene.gateway.traffic, Arc::clone(&stop), Arc::clone(&calls));
            thread::spawn(move || client(address, number, &stop, &calls))
        })
        .collect();
    let mut stream = scene.gateway.connect();
    stream.send(&request("GET", "/events", &MCP_POST, b"")).unwrap();
    assert_eq!(stream.head().unwrap().status(), 200);
    for number in 2..SWAPS + 2 {
        let before = calls.load(Ordering::Relaxed);
        let word = scene.swap(number);
        // The stream was opened before any swap, and its next event is seen by the newest generation.
        scene.to_stream.send(notification(number)).unwrap();
        let seen = stream.body_until("\n\n").unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), event(&notification(number).replace(SECRET, word)));
        wait_until("every client has called again", || (calls.load(Ordering::Relaxed) > before + 2 * CLIENTS as u64).then_some(()));
    }
    stop.store(true, Ordering::Relaxed);
    for (number, client) in clients.into_iter().enumerate() {
        if let Err(what) = client.join().unwrap() {
            panic!("client {number}: {what}");
        }
    }
    let metrics = scene.gateway.metrics();
    let made = calls.load(Ordering::Relaxed) as f64;
    assert_eq!(metrics.metric("watchgate_http_requests_total", &[("outcome", "ok"), ("method", "POST")]), made, "{made} calls");
    assert_eq!(metrics.metric("watchgate_http_requests_total", &[("method", "POST")]), made, "some calls ended otherwise");
    assert_eq!(metrics.metric("watchgate_reload_total", &[("result", "live")]), SWAPS as f64 + 1.0);
    assert_eq!(metrics.metric("watchgate_reload_total", &[]), SWAPS as f64 + 1.0);
    assert_eq!(metrics.metric("watchgate_plugin_failures_total", &[("plugin", "p")]), 0.0);
    assert_eq!(scene.value("watchgate_plugin_generation"), SWAPS as f64 + 1.0);
    assert!(scene.value("watchgate_plugin_instances") <= 9.0, "{}", metrics.text());
    assert!(!scene.gateway.stderr().contains("ERROR"), "{}", scene.gateway.stderr());
    wait_until("every call has its access line", || {
        let posts = scene.gateway.access_log().iter().filter(|line| line["http_method"] == "POST").count();
        (posts as f64 == made).then_some(())
    });
}

#[test]
fn old_generations_leave_nothing_behind() {
    // Each generation holds nine of the pool's 400 places, so that what eighty leave behind would not fit.
    let scene = Scene::start();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "say", "arguments": {"text": SECRET}}});
    let mut settled = (0.0, 0.0);
    for number in 2..82 {
        scene.swap(number);
        assert_eq!(scene.gateway.post("/json", &call).status(), 200);
        if number == 21 {
            settled = (scene.value("process_resident_memory_bytes"), scene.value("process_open_fds"));
        }
    }
    let grown = scene.value("process_resident_memory_bytes") - settled.0;
    eprintln!("60 swaps took {grown} bytes");
    assert!(grown < f64::from(24 << 20), "60 swaps took {grown} bytes");
    let opened = scene.value("process_open_fds") - settled.1;
    assert!(opened < 20.0, "60 swaps left {opened} files open");
    wait_until("one generation's instances are left", || (scene.value("watchgate_plugin_instances") <= 9.0).then_some(()));
    assert_eq!(scene.gateway.metrics().metric("watchgate_reload_total", &[("result", "refused")]), 0.0);
}

#[test]
fn a_generation_that_is_swapped_out_finishes_its_call() {
    // The old generation waits in a call until its wall deadline; the new one is live long before.
    let folder = PluginFolder::with("p", &guest("probe"), "[config]\nredact = \"wait\"\nwhen = \"zap\"\n[limits]\nwall = \"3s\"\n");
    let (_to_stream, to_send) = channel();
    let to_send = Mutex::new(Some(to_send));
    let upstream = Scripted::start(move |exchange| answer(exchange, &to_send));
    let args = ["--upstream", &upstream.url(), "--plugins", folder.path()];
    let gateway = Gateway::start(&args, GatewayOptions::default());
    let say = |text: &str| {
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "say", "arguments": {"text": text}}}).to_string()
    };
    let mut waiting = gateway.connect();
    waiting.send(&request("POST", "/json", &MCP_POST, say("zap").as_bytes())).unwrap();
    wait_until("the call is in the plugin", || {
        (gateway.metrics().metric("watchgate_http_requests_in_flight", &[("method", "POST")]) == 1.0).then_some(())
    });
    folder.write("p.toml", probe_says(WORDS[1]).as_bytes());
    gateway.wait_for_generation("p", 2);
    let reply = gateway.call("POST", "/json", &MCP_POST, say("zap").as_bytes());
    assert!(reply.text().contains("zap [odd]"), "the new generation answers: {}", reply.text());
    // The old call ends by the old generation's rules.
    let reply = waiting.reply().unwrap();
    assert_eq!(reply.json().unwrap()["error"]["code"], -31001);
    let failures = [("plugin", "p"), ("kind", "redaction"), ("reason", "wall_timeout")];
    assert_eq!(gateway.metrics().metric("watchgate_plugin_failures_total", &failures), 1.0);
}

#[test]
fn a_policy_that_comes_and_goes_is_felt_by_the_next_event_of_an_open_stream() {
    let folder = PluginFolder::new();
    let (to_stream, to_send) = channel();
    let to_send = Mutex::new(Some(to_send));
    let upstream = Scripted::start(move |exchange| answer(exchange, &to_send));
    let args = ["--upstream", &upstream.url(), "--plugins", folder.path()];
    let gateway = Gateway::start(&args, GatewayOptions::default());
    let mut stream = gateway.connect();
    stream.send(&request("GET", "/events", &MCP_POST, b"")).unwrap();
    assert_eq!(stream.head().unwrap().status(), 200);
    let mut hears = |word: &str| {
        to_stream.send(notification(0)).unwrap();
        let seen = stream.body_until("\n\n").unwrap();
        assert_eq!(String::from_utf8(seen).unwrap(), event(&notification(0).replace(SECRET, word)));
    };
    hears(SECRET);
    folder.add("p", &guest("probe"), &probe_says(WORDS[0]));
    gateway.wait_for_generation("p", 1);
    hears(WORDS[0]);
    folder.remove("p.wasm");
    wait_until("the plugin is gone", || gateway.plugin("p").is_null().then_some(()));
    hears(SECRET);
}
