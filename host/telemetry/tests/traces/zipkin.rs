//! Zipkin: what it is sent is what its version 2 API describes.

use serde_json::{Value, json};
use watchgate_telemetry::Exporter;

use crate::collector::{Collector, Reply};
use crate::scene::{config, emit, exported, failed_call, ping, telemetry, wait_until};

/// The rules of `zipkin2-api.yaml` for one span.
fn check_schema(span: &Value) {
    let known = [
        "traceId",
        "name",
        "parentId",
        "id",
        "kind",
        "timestamp",
        "duration",
        "debug",
        "shared",
        "localEndpoint",
        "remoteEndpoint",
        "annotations",
        "tags",
    ];
    let members = span.as_object().unwrap();
    assert!(members.keys().all(|key| known.contains(&key.as_str())), "{span}");
    let is_id = |value: &Value, digits: &[usize]| {
        let text = value.as_str().unwrap();
        digits.contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    assert!(is_id(&span["traceId"], &[16, 32]) && is_id(&span["id"], &[16]), "{span}");
    assert!(members.get("parentId").is_none_or(|parent| is_id(parent, &[16])), "{span}");
    assert!(
        members.get("kind").is_none_or(|kind| ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"].contains(&kind.as_str().unwrap())),
        "{span}"
    );
    assert!(span["timestamp"].as_u64().unwrap() > 0 && span["duration"].as_u64().unwrap() >= 1, "{span}");
    for endpoint in ["localEndpoint", "remoteEndpoint"].into_iter().filter_map(|name| members.get(name)) {
        let members = endpoint.as_object().unwrap();
        assert!(members.keys().all(|key| ["serviceName", "ipv4", "ipv6", "port"].contains(&key.as_str())), "{endpoint}");
        assert!(members.get("port").is_none_or(|port| port.as_u64().is_some_and(|port| port <= 65535)), "{endpoint}");
    }
    assert!(span["tags"].as_object().unwrap().values().all(Value::is_string), "{span}");
    for annotation in members.get("annotations").and_then(Value::as_array).into_iter().flatten() {
        assert!(annotation["timestamp"].is_u64() && annotation["value"].is_string(), "{annotation}");
    }
}

#[test]
fn spans_are_as_the_api_describes_them() {
    let collector = Collector::start([Reply::With(202, "x", "y")]);
    let telemetry = telemetry(config(Exporter::Zipkin, &collector.url()));
    emit(&telemetry, failed_call());
    let received = collector.next();
    assert_eq!((received.path.as_str(), &received.headers["content-type"]), ("/api/v2/spans", &"application/json".parse().unwrap()));
    let Value::Array(spans) = serde_json::from_slice(&received.body).unwrap() else { panic!("a list of spans") };
    spans.iter().for_each(check_schema);
    let [root, attempt, connect, _] = spans.as_slice() else { panic!("four spans") };
    assert_eq!(
        (&root["kind"], &root["parentId"], &root["name"]),
        (&json!("SERVER"), &json!("aaaaaaaaaaaaaaaa"), &json!("tools/call forecast"))
    );
    assert_eq!((&root["timestamp"], &root["duration"]), (&json!(1_800_000_000_000_000_u64), &json!(1_000_000)));
    assert_eq!(root["localEndpoint"], json!({ "serviceName": "edge" }));
    assert_eq!(root["remoteEndpoint"], json!({ "ipv4": "192.0.2.7", "port": 5000 }));
    for (tag, value) in [
        ("error", "no forecast"),
        ("error.type", "-32603"),
        ("otel.status_code", "ERROR"),
        ("watchgate.forced", "true"),
        ("service.version", "9.8.7"),
        ("deployment.environment.name", "test"),
        ("otel.scope.name", "watchgate"),
    ] {
        assert_eq!(root["tags"][tag], json!(value), "{tag}");
    }
    let annotation = &root["annotations"][0];
    assert_eq!(annotation["timestamp"], json!(1_800_000_000_500_000_u64));
    let said: Value = serde_json::from_str(annotation["value"].as_str().unwrap()).unwrap();
    assert_eq!(said, json!({ "retry": { "watchgate.retry.reason": "connect_failed" } }));
    assert_eq!(attempt["remoteEndpoint"], json!({ "serviceName": "weather.example", "port": 3001 }));
    assert_eq!((connect.get("kind"), connect.get("remoteEndpoint"), &connect["duration"]), (None, None, &json!(1)));
    emit(&telemetry, ping(1));
    collector.next();
    wait_until("both are counted", || exported(&telemetry) == 2);
}
