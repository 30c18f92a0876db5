//! How exchanges end, and whose their time was.

use std::time::Duration;

use serde_json::Value;
use watchgate_proxy::{AuthConfig, GuardConfig, Mount, ProxyConfig};
use watchgate_tests::http1::request;
use watchgate_tests::wait::pause;
use watchgate_tests::{Reply, Scripted, wait_until};

use crate::admission::{KEY, key};
use crate::rig::{CALL, Conditions, RESULT, Rig, config, named, post, server};

const EXCHANGES: &str = "watchgate_http_requests_total";
const OPERATIONS: &str = "mcp_server_operation_duration_seconds_count";

/// A rig before this server whose access lines can be read.
struct Logged {
    rig: Rig,
    folder: tempfile::TempDir,
}

impl Logged {
    fn before(upstream: &Scripted) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let conditions =
            Conditions { without_housekeeping: true, access_log: Some(folder.path().join("access.log")), ..Conditions::default() };
        Self { rig: Rig::under(conditions, config(vec![server(&[upstream.address()])])), folder }
    }

    /// The line of the only exchange.
    fn line(&self) -> Value {
        wait_until("there is an access line", || {
            let text = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
            text.strip_suffix('\n').map(|line| serde_json::from_str(line).unwrap())
        })
    }
}

#[test]
fn who_is_turned_away_was_denied_nothing() {
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let auth = AuthConfig { keys: vec![key("ann", KEY)], jwt: None, pass_authorization: false };
    let servers = vec![named("only", Mount::Prefix, &[upstream.address()])];
    let rig = Rig::new(ProxyConfig { guard: GuardConfig::loopback(), auth: Some(auth), ..config(servers) });
    let bearer = format!("Bearer {KEY}");
    let check = |target: &str, headers: &[(&str, &str)], server: &str, status: u16| {
        let mut connection = rig.connect();
        connection.send(&request("POST", target, headers, CALL.as_bytes())).unwrap();
        assert_eq!(connection.reply().unwrap().status(), status, "{target} {headers:?}");
        rig.wait_for(EXCHANGES, &[("server", server), ("status", &status.to_string()), ("outcome", "http_error")], 1.0);
    };
    check("/only", &[], "only", 401);
    check("/only", &[("Origin", "https://evil.test"), ("Authorization", &bearer)], "only", 403);
    check("/wp-admin", &[("Authorization", &bearer)], "_other", 502);
    assert_eq!(rig.metrics().metric(EXCHANGES, &[("outcome", "denied")]), 0.0);
    assert_eq!(rig.metrics().metric(EXCHANGES, &[("outcome", "unreachable")]), 0.0);
}

/// What is said of an exchange whose server answers so.
#[track_caller]
fn check_answer(sent: &str, status: u16, body: &'static str, outcome: &str, code: Option<i64>) -> Logged {
    let upstream = Scripted::start(move |exchange| exchange.json(status, body));
    let logged = Logged::before(&upstream);
    let reply: Reply = logged.rig.post(sent);
    assert_eq!((reply.status(), reply.text()), (status, body.to_owned()));
    let line = logged.line();
    assert_eq!((line["outcome"].as_str(), line["rpc_error_code"].as_i64()), (Some(outcome), code), "{line}");
    logged
}

#[test]
fn an_error_that_answers_nothing_is_one_all_the_same() {
    const PARSE_ERROR: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#;
    check_answer("{", 400, PARSE_ERROR, "rpc_error", Some(-32700));
    check_answer("{", 200, PARSE_ERROR, "rpc_error", Some(-32700));
    check_answer(CALL, 400, PARSE_ERROR, "rpc_error", Some(-32700));
}

#[test]
fn who_is_sent_elsewhere_was_not_cut_off() {
    let logged = check_answer(CALL, 307, "{}", "ok", None);
    logged.rig.wait_for(OPERATIONS, &[("mcp_method_name", "tools/call"), ("outcome", "ok")], 1.0);
}

#[test]
fn what_a_server_asks_outside_of_a_session_is_counted() {
    let upstream = Scripted::start(|exchange| {
        exchange.event_stream()?;
        exchange.chunk("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"roots/list\"}\n\n")?;
        exchange.chunk(format!("data: {RESULT}\n\n"))?;
        exchange.end()
    });
    let logged = Logged::before(&upstream);
    assert_eq!(logged.rig.call().status(), 200);
    logged.rig.wait_for(OPERATIONS, &[("mcp_method_name", "roots/list"), ("initiator", "server"), ("outcome", "ok")], 1.0);
    assert_eq!(logged.line()["outcome"], "ok");
}

#[test]
fn the_time_of_a_slow_client_is_its_own() {
    const LONG: Duration = Duration::from_secs(1);
    // More than the sockets between them hold.
    let upstream = Scripted::start(|exchange| exchange.respond(200, &[("Content-Type", "text/plain")], &vec![b'x'; 32 << 20]));
    let logged = Logged::before(&upstream);
    let rig = &logged.rig;
    let mut client = rig.connect();
    let whole = post(&[], CALL);
    let (head, body) = whole.split_at(whole.len() - CALL.len());
    client.send(head).unwrap();
    rig.wait_for("watchgate_http_requests_in_flight", &[("server", "only"), ("method", "POST")], 1.0);
    pause(LONG / 10);
    client.send(body).unwrap();
    assert_eq!(client.head().unwrap().status(), 200);
    pause(LONG);
    assert_eq!(client.body().unwrap().len(), 32 << 20);
    let line = logged.line();
    let milliseconds = |member: &str| line[member].as_f64().unwrap_or_else(|| panic!("{member}: {line}"));
    assert!(milliseconds("read_ms") >= 100.0 && milliseconds("write_ms") >= 500.0 && milliseconds("upstream_ms") < 500.0, "{line}");
    let metrics = rig.metrics();
    for metric in ["watchgate_upstream_seconds_sum", "mcp_client_operation_duration_seconds_sum"] {
        let seconds = metrics.metric(metric, &[("server", "only")]);
        assert!(seconds > 0.0 && seconds < 0.5, "{metric}: {seconds}");
    }
}

#[test]
fn streams_are_no_measure_of_a_server() {
    let upstream = Scripted::start(|exchange| {
        exchange.event_stream()?;
        exchange.end()
    });
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    assert_eq!(rig.ask("GET", "/mcp", &[("Accept", "text/event-stream")]).status(), 200);
    rig.wait_for(EXCHANGES, &[("method", "GET")], 1.0);
    assert_eq!(rig.metrics().find("watchgate_upstream_seconds_count", &[("server", "only")]), None);
}
