//! The access log: one line of JSON an exchange, to a file or standard output, and nothing of it can hold up traffic.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use watchgate_telemetry::{
    AccessField, AccessLine, AccessLogTarget, ExchangeFinished, HttpMethod, NameKind, ServerMetrics, SpanId, Telemetry, TelemetryConfig,
    TelemetryError, TraceId, UpstreamCause,
};

use crate::exposition::Exposition;
use crate::scene;

const DEADLINE: Duration = Duration::from_secs(10);

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))).collect()
}

/// The one line written for a fact.
fn line_of(change: impl Fn(&ServerMetrics, &mut ExchangeFinished<'_>)) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let telemetry = scene::telemetry(AccessLogTarget::File(path.clone()));
    let server = telemetry.server("weather");
    let mut fact = scene::exchange(&server);
    change(&server, &mut fact);
    telemetry.emit(fact);
    telemetry.flush(DEADLINE);
    let mut lines = lines(&path);
    assert_eq!(lines.len(), 1);
    lines.remove(0)
}

#[test]
fn a_plain_exchange_says_what_it_knows() {
    let expected = json!({
        "time": "2023-11-14T22:13:20.000Z", "type": "access", "level": "INFO", "server": "weather", "http_method": "POST", "status": 200, "outcome": "ok",
        "duration_ms": 1.5, "upstream_ms": 1.0, "plugins_ms": 0.1, "request_bytes": 100, "response_bytes": 200, "operations": 0,
    });
    assert_eq!(line_of(|_, _| {}), expected);
}

#[test]
fn every_field_has_its_member() {
    let line = line_of(|server, fact| {
        server.learn(NameKind::Tool, "echo");
        fact.line = AccessLine {
            mcp_method: Some("tools/call"),
            name: Some("echo".into()),
            name_kind: Some(NameKind::Tool),
            rpc_error_code: Some(-32603),
            session: Some([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]),
            protocol_version: Some("2026-07-28"),
            error_id: Some("e-1".into()),
            fault: Some("upstream"),
            auth_result: Some("expired"),
            client: Some("127.0.0.1:4711".parse().unwrap()),
            request_id: Some("r-1".into()),
            operations: 3,
            client_name: Some("ci".into()),
            endpoint: Some("10.0.0.7:3001".into()),
            attempts: 2,
            cause: Some(UpstreamCause::TlsUntrusted),
            trace_id: TraceId::parse(b"0af7651916cd43dd8448eb211c80319c"),
            span_id: SpanId::parse(b"b7ad6b7169203331"),
            sampled: Some(false),
            connect: Duration::from_micros(250),
            read: Duration::from_micros(1500),
            write: Duration::from_millis(2),
        };
    });
    for (member, expected) in [
        ("mcp_method", json!("tools/call")),
        ("name", json!("echo")),
        ("name_kind", json!("tool")),
        ("rpc_error_code", json!(-32603)),
        ("session", json!("00010203fcfdfeff")),
        ("protocol_version", json!("2026-07-28")),
        ("error_id", json!("e-1")),
        ("fault", json!("upstream")),
        ("auth_result", json!("expired")),
        ("client", json!("127.0.0.1:4711")),
        ("request_id", json!("r-1")),
        ("operations", json!(3)),
        ("client_name", json!("ci")),
        ("endpoint", json!("10.0.0.7:3001")),
        ("attempts", json!(2)),
        ("cause", json!("tls_untrusted")),
        ("trace_id", json!("0af7651916cd43dd8448eb211c80319c")),
        ("span_id", json!("b7ad6b7169203331")),
        ("sampled", json!(false)),
        ("connect_ms", json!(0.25)),
        ("read_ms", json!(1.5)),
        ("write_ms", json!(2.0)),
    ] {
        assert_eq!(line[member], expected, "{member}");
    }
}

#[test]
fn fields_are_those_that_are_configured_in_that_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let fields = ["outcome", "request_id", "server"].map(|name| AccessField::parse(name).unwrap());
    let config =
        TelemetryConfig { access_log: AccessLogTarget::File(path.clone()), access_fields: fields.to_vec(), ..TelemetryConfig::default() };
    let telemetry = Telemetry::new(config).unwrap();
    telemetry.emit(scene::exchange(&telemetry.server("weather")));
    let line = AccessLine { request_id: Some("r".into()), ..AccessLine::default() };
    telemetry.emit(ExchangeFinished { line, ..scene::exchange(&telemetry.server("weather")) });
    telemetry.flush(DEADLINE);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "{\"outcome\":\"ok\",\"server\":\"weather\"}\n{\"outcome\":\"ok\",\"request_id\":\"r\",\"server\":\"weather\"}\n");
}

#[test]
fn the_level_says_how_grave_it_is() {
    let check = |outcome: &'static str, fault: Option<&'static str>, level: &str| {
        let line = line_of(|_, fact| (fact.outcome, fact.line.fault) = (outcome, fault));
        assert_eq!(line["level"], level, "{outcome} {fault:?}");
    };
    check("ok", None, "INFO");
    check("cancelled", Some("client"), "WARN");
    check("denied", Some("plugin"), "WARN");
    check("tool_error", Some("upstream"), "WARN");
    check("http_error", Some("client"), "WARN");
    check("http_error", Some("upstream"), "ERROR");
    check("rpc_error", Some("gateway"), "ERROR");
    for outcome in ["timeout", "unreachable", "aborted"] {
        check(outcome, Some("upstream"), "ERROR");
    }
}

#[test]
fn slow_calls_are_marked() {
    let check = |threshold: Option<u64>, change: fn(&mut ExchangeFinished<'_>), expected: Value| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let config = TelemetryConfig {
            access_log: AccessLogTarget::File(path.clone()),
            slow_call_threshold: threshold.map(Duration::from_millis),
            ..TelemetryConfig::default()
        };
        let telemetry = Telemetry::new(config).unwrap();
        let server = telemetry.server("weather");
        let mut fact = ExchangeFinished { duration: Duration::from_millis(300), ..scene::exchange(&server) };
        fact.line.mcp_method = Some("tools/call");
        change(&mut fact);
        telemetry.emit(fact);
        telemetry.flush(DEADLINE);
        assert_eq!(lines(&path)[0]["slow"], expected);
    };
    check(Some(300), |_| {}, json!(true));
    check(Some(301), |_| {}, Value::Null);
    check(None, |_| {}, Value::Null);
    check(Some(1), |fact| fact.http_method = HttpMethod::Get, Value::Null);
    check(Some(1), |fact| fact.line.mcp_method = Some("subscriptions/listen"), Value::Null);
    check(Some(1), |fact| fact.line.mcp_method = None, Value::Null);
}

#[test]
fn attempts_are_told_when_there_was_more_than_one() {
    let check = |attempts: u32, expected: Value| assert_eq!(line_of(|_, fact| fact.line.attempts = attempts)["attempts"], expected);
    check(0, Value::Null);
    check(1, Value::Null);
    check(2, json!(2));
}

#[test]
fn names_that_are_not_known_are_not_written() {
    let check = |kind: Option<NameKind>, name: &str, expected: &str| {
        let line = line_of(|server, fact| {
            server.learn(NameKind::Tool, "echo");
            fact.line = AccessLine { name: Some(name.into()), name_kind: kind, ..AccessLine::default() };
        });
        assert_eq!(line["name"], expected, "{kind:?} {name}");
    };
    check(Some(NameKind::Tool), "echo", "echo");
    check(Some(NameKind::Prompt), "echo", "_other");
    check(Some(NameKind::Tool), "AKIAIOSFODNN7EXAMPLE", "_other");
    check(Some(NameKind::Resource), "file:///home/me/secret", "_other");
    check(None, "echo", "_other");
}

#[test]
fn whatever_the_fields_hold_it_is_one_line_of_json() {
    for hostile in ["a\nb\r\n{\"x\":1}", "\"\\\u{0}\u{1b}[31m", "\u{2028}\u{2029}ü😀", "</script>", ""] {
        let line = line_of(|server, fact| {
            server.learn(NameKind::Tool, hostile);
            fact.line = AccessLine {
                name: Some(hostile.into()),
                name_kind: Some(NameKind::Tool),
                request_id: Some(hostile.into()),
                error_id: Some(hostile.into()),
                client_name: Some(hostile.into()),
                endpoint: Some(hostile.into()),
                ..AccessLine::default()
            };
            fact.duration = Duration::MAX;
        });
        for member in ["request_id", "error_id", "client_name", "endpoint"] {
            assert_eq!(line[member], hostile, "{member}");
        }
        assert_eq!(line["name"], if hostile.is_empty() { "_other" } else { hostile });
    }
    let long = line_of(|_, fact| fact.line.request_id = Some("ü".repeat(1_000_000).into()));
    assert_eq!(long["request_id"], "ü".repeat(64));
    let long = line_of(|_, fact| fact.line.client_name = Some("n".repeat(1_000_000).into()));
    assert_eq!(long["client_name"], "n".repeat(128));
}

#[test]
fn lines_are_appended_in_order_and_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "{\"old\":true}\n").unwrap();
    let telemetry = scene::telemetry(AccessLogTarget::File(path.clone()));
    let server = telemetry.server("weather");
    for round in 0..20 {
        for index in 0..100 {
            telemetry.emit(ExchangeFinished { request_bytes: round * 100 + index, ..scene::exchange(&server) });
        }
        telemetry.flush(DEADLINE);
        let written = lines(&path);
        assert_eq!(written[0], json!({"old": true}));
        let sizes: Vec<u64> = written[1..].iter().map(|line| line["request_bytes"].as_u64().unwrap()).collect();
        assert_eq!(sizes, (0..(round + 1) * 100).collect::<Vec<_>>());
    }
}

#[test]
fn dropping_telemetry_still_writes_what_was_queued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    // A pipe: reading it ends when the writer has written everything and closed it.
    let (mut reading, writing) = std::io::pipe().unwrap();
    let telemetry = scene::telemetry(AccessLogTarget::File(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writing)).into()));
    drop(writing);
    for _ in 0..10 {
        telemetry.emit(scene::exchange(&telemetry.server("weather")));
    }
    drop(telemetry);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reading, &mut text).unwrap();
    fs::write(&path, text).unwrap();
    assert_eq!(lines(&path).len(), 10);
}

#[test]
fn a_target_that_cannot_be_opened_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("absent/access.log")] {
        let config = TelemetryConfig { access_log: AccessLogTarget::File(path.clone()), ..TelemetryConfig::default() };
        let Err(error) = Telemetry::new(config) else { panic!("{} was opened", path.display()) };
        assert!(matches!(&error, TelemetryError::AccessLog { path: named, .. } if *named == path));
        assert_eq!(error.to_string(), format!("cannot write the access log {}", path.display()));
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert!(!error.to_string().contains(&reason), "who prints both says it once");
    }
}

#[test]
fn a_full_disk_costs_lines_and_is_counted() {
    let telemetry = scene::telemetry(AccessLogTarget::File("/dev/full".into()));
    for _ in 0..100 {
        telemetry.emit(scene::exchange(&telemetry.server("weather")));
    }
    telemetry.flush(DEADLINE);
    assert_eq!(dropped(&telemetry, "write_failed"), 100.0);
}

fn dropped(telemetry: &Telemetry, reason: &str) -> f64 {
    let scraped = Exposition::read(&telemetry.render_prometheus());
    scraped.value("watchgate_telemetry_dropped_total", &[("signal", "access_log"), ("reason", reason)])
}

#[test]
fn a_target_that_blocks_costs_lines_and_never_time() {
    // A pipe that nobody reads: the writer is stuck after 64 KiB, and the queue behind it fills.
    let (mut reading, writing) = std::io::pipe().unwrap();
    let telemetry = scene::telemetry(AccessLogTarget::File(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writing)).into()));
    drop(writing);
    let server = telemetry.server("weather");
    let sent = 30_000_u32;
    for _ in 0..sent {
        telemetry.emit(scene::exchange(&server));
    }
    telemetry.flush(Duration::ZERO);
    let lost = dropped(&telemetry, "queue_full");
    assert!(lost >= f64::from(sent) - 8192.0 - 1000.0, "{lost}");
    drop((telemetry, server));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reading, &mut text).unwrap();
    assert_eq!(text.lines().count(), f64::from(sent) as usize - lost as usize, "what was not lost is written");
}

/// Set for the child that writes to its own standard output.
const CHILD: &str = "WATCHGATE_TEST_ACCESS_LOG_CHILD";

#[test]
fn standard_output_gets_the_lines() {
    if std::env::var_os(CHILD).is_some() {
        let telemetry = scene::telemetry(AccessLogTarget::Stdout);
        telemetry.emit(scene::exchange(&telemetry.server("weather")));
        telemetry.flush(DEADLINE);
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", "access_lines::standard_output_gets_the_lines", "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let written: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(|line: &Value| line["type"] == "access").collect();
    assert_eq!(written.len(), 1, "{text}");
    assert_eq!(written[0]["server"], "weather");
}
