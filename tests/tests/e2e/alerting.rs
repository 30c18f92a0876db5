//! An alert fires, is told to a receiver by `alert-webhook`, and is resolved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::plugins::{guest, stock};
use watchgate_tests::{Connection, Gateway, GatewayOptions, PluginFolder, Scripted, wait_until};

/// An upstream whose GET streams stay open, which is what the rule looks at.
fn upstream() -> Scripted {
    Scripted::start(|exchange| {
        exchange.event_stream()?;
        exchange.client_left().map(drop)
    })
}

/// A receiver of webhooks that refuses the first so many.
fn receiver(refuses: usize) -> Scripted {
    let seen = Arc::new(AtomicUsize::new(0));
    Scripted::start(move |exchange| {
        let refused = seen.fetch_add(1, Ordering::SeqCst) < refuses;
        exchange.respond(if refused { 503 } else { 204 }, &[("Content-Length", "0")], b"")
    })
}

/// What a receiver accepted: the alerts, in their order.
fn told(receiver: &Scripted) -> Vec<Value> {
    let requests = receiver.requests();
    requests.iter().map(|received| serde_json::from_slice(&received.body).unwrap()).collect()
}

/// A rule that fires as long as a GET stream is open.
fn config(upstream: &Scripted, more: &str) -> String {
    format!(
        r#"
        [servers.s]
        url = "{}"
        [alerts]
        evaluation_interval = "100ms"
        [[alerts.rule]]
        name = "open-streams"
        metric = "watchgate_http_requests_in_flight"
        labels = {{ method = "GET" }}
        op = ">"
        threshold = 0.5
        severity = "critical"
        summary = "somebody listens"
        extra_labels = {{ team = "blue" }}
        {more}
        "#,
        upstream.url()
    )
}

fn start(config: &str, folder: &PluginFolder) -> Gateway {
    Gateway::start(&["--plugins", folder.path()], GatewayOptions::config(config))
}

fn webhook(receiver: &Scripted, granted: &str) -> PluginFolder {
    let settings =
        format!("[config]\nurl = \"{}/hook?a=b\"\nheaders = {{ x-team = \"blue\" }}\n[grants]\nhttp = [{granted:?}]\n", receiver.url());
    PluginFolder::with("alert-webhook", &stock("alert-webhook"), &settings)
}

fn open_stream(gateway: &Gateway) -> Connection {
    let mut client = gateway.connect();
    client.send(&request("GET", "/s/mcp", &MCP_POST, b"")).unwrap();
    assert_eq!(client.head().unwrap().status(), 200);
    client
}

fn delivered(gateway: &Gateway, action: &str, result: &str) -> f64 {
    gateway.metrics().metric("watchgate_alert_notifications_total", &[("action", action), ("result", result)])
}

#[test]
fn fires_and_resolves() {
    let (upstream, receiver) = (upstream(), receiver(0));
    let folder = webhook(&receiver, &receiver.address().to_string());
    let gateway = start(&config(&upstream, ""), &folder);
    let page = gateway.admin_get("/api/alerts").json().unwrap();
    assert_eq!((page["rules"][0]["name"].as_str(), page["rules"][0]["firing"].as_u64()), (Some("open-streams"), Some(0)), "{page}");
    let client = open_stream(&gateway);
    wait_until("the alert is told", || (receiver.requests().len() == 1).then_some(()));
    let page = gateway.admin_get("/api/alerts").json().unwrap();
    assert_eq!(page["alerts"][0]["state"], "firing", "{page}");
    assert_eq!(gateway.metrics().metric("watchgate_alerts_firing", &[("severity", "critical")]), 1.0);
    drop(client);
    wait_until("its end is told", || (receiver.requests().len() == 2).then_some(()));
    gateway.wait_for_metric("watchgate_alert_notifications_total", &[("action", "alert-webhook"), ("result", "delivered")], 2.0);
    let alerts = told(&receiver);
    for (alert, state) in alerts.iter().zip(["firing", "resolved"]) {
        for (key, value) in [("name", "open-streams"), ("state", state), ("severity", "critical"), ("summary", "somebody listens")] {
            assert_eq!(alert[key], value, "{alert}");
        }
        assert_eq!((&alert["labels"]["team"], &alert["labels"]["server"]), (&"blue".into(), &"s".into()), "{alert}");
        assert_eq!((alert["threshold"].as_f64(), alert["is_repeat"].as_bool()), (Some(0.5), Some(false)), "{alert}");
        assert_eq!(alert["resolved_at_ms"].is_u64(), state == "resolved", "{alert}");
    }
    assert_eq!(alerts[0]["value"].as_f64(), Some(1.0));
    assert_eq!(alerts[0]["fingerprint"], alerts[1]["fingerprint"]);
    let head = &receiver.requests()[0].head;
    assert_eq!((head.method(), head.target()), ("POST", "/hook?a=b"));
    for (name, value) in [("content-type", "application/json"), ("x-team", "blue")] {
        assert_eq!(head.header(name), Some(value), "{head:?}");
    }
    let page = gateway.admin_get("/api/alerts").json().unwrap();
    assert_eq!((page["alerts"].as_array().unwrap().len(), &page["resolved"][0]["state"]), (0, &"resolved".into()), "{page}");
    assert_eq!(gateway.metrics().metric("watchgate_alerts_firing", &[("severity", "critical")]), 0.0);
    // A second firing is another alert.
    let _client = open_stream(&gateway);
    wait_until("the second alert is told", || (receiver.requests().len() == 3).then_some(()));
    assert_eq!(told(&receiver)[2]["state"], "firing");
}

#[test]
fn a_receiver_that_fails_is_told_again() {
    let (upstream, receiver) = (upstream(), receiver(2));
    let folder = webhook(&receiver, &receiver.address().to_string());
    let gateway = start(&config(&upstream, ""), &folder);
    let _client = open_stream(&gateway);
    gateway.wait_for_metric("watchgate_alert_notifications_total", &[("action", "alert-webhook"), ("result", "delivered")], 1.0);
    assert_eq!(delivered(&gateway, "alert-webhook", "failed"), 2.0);
    let alerts = told(&receiver);
    assert_eq!(alerts.len(), 3);
    assert!(alerts.iter().all(|alert| alert == &alerts[0]), "{alerts:?}");
    let failures = [("plugin", "alert-webhook"), ("kind", "alerting"), ("reason", "guest_error")];
    assert_eq!(gateway.metrics().metric("watchgate_plugin_failures_total", &failures), 2.0);
}

#[test]
fn a_host_that_is_not_granted_hears_nothing() {
    let (upstream, receiver, other) = (upstream(), receiver(0), receiver(0));
    let folder = webhook(&receiver, &other.address().to_string());
    let gateway = start(&config(&upstream, ""), &folder);
    let _client = open_stream(&gateway);
    gateway.wait_for_metric("watchgate_alert_notifications_total", &[("action", "alert-webhook"), ("result", "failed")], 1.0);
    assert!(gateway.metrics().metric("watchgate_plugin_failures_total", &[("plugin", "alert-webhook"), ("kind", "alerting")]) >= 1.0);
    assert_eq!((receiver.connections(), other.connections()), (0, 0));
    let page = gateway.admin_get("/api/alerts").json().unwrap();
    assert_eq!(page["waiting"]["alert-webhook"], 1, "{page}");
    // With the grant, the next try arrives: the notification has outlived a reload.
    let settings = std::fs::read_to_string(folder.file("alert-webhook.toml")).unwrap();
    let granted = settings.replace(&other.address().to_string(), &receiver.address().to_string());
    folder.write("alert-webhook.toml", granted.as_bytes());
    gateway.wait_for_generation("alert-webhook", 2);
    wait_until("the alert is told", || (receiver.requests().len() == 1).then_some(()));
}

#[test]
fn every_action_is_told_and_a_broken_one_hinders_no_other() {
    let (upstream, receiver) = (upstream(), receiver(0));
    let folder = webhook(&receiver, &receiver.address().to_string());
    folder.add("broken", &guest("probe"), "kinds = [\"alerting\"]\n[config]\nnotify = \"error\"\n");
    folder.add("late", &guest("probe"), "kinds = [\"alerting\"]\n[config]\nnotify = \"error-first:1\"\n");
    let gateway = start(&config(&upstream, ""), &folder);
    let _client = open_stream(&gateway);
    wait_until("the alert is told", || (receiver.requests().len() == 1).then_some(()));
    gateway.wait_for_metric("watchgate_alert_notifications_total", &[("action", "late"), ("result", "delivered")], 1.0);
    assert_eq!(delivered(&gateway, "late", "failed"), 1.0);
    assert!(delivered(&gateway, "broken", "failed") >= 1.0);
    assert_eq!((delivered(&gateway, "broken", "delivered"), delivered(&gateway, "alert-webhook", "failed")), (0.0, 0.0));
}

#[test]
fn a_rule_on_a_rate_waits_as_long_as_it_says() {
    let (upstream, receiver) = (Scripted::start(crate::messages::answer), receiver(0));
    let folder = webhook(&receiver, &receiver.address().to_string());
    let rule = r#"
        [[alerts.rule]]
        name = "busy"
        metric = "watchgate_http_requests_total"
        rate_over = "1s"
        op = ">="
        threshold = 1.0
        for = "300ms"
    "#;
    let gateway = start(&config(&upstream, rule), &folder);
    let mut was_pending = false;
    wait_until("the alert fires while calls are made", || {
        gateway.post("/s/mcp", &crate::messages::tool_call(1, "t"));
        let page = gateway.admin_get("/api/alerts").json().unwrap();
        was_pending |= page["alerts"][0]["state"] == "pending";
        (!receiver.requests().is_empty()).then_some(())
    });
    assert!(was_pending, "it fired at once");
    wait_until("it is resolved when no calls are made", || (receiver.requests().len() == 2).then_some(()));
    let alerts = told(&receiver);
    assert_eq!((&alerts[0]["name"], &alerts[0]["state"], &alerts[1]["state"]), (&"busy".into(), &"firing".into(), &"resolved".into()));
    assert!(alerts[0]["value"].as_f64().unwrap() >= 1.0 && alerts[1]["value"].as_f64().unwrap() < 1.0, "{alerts:?}");
}
