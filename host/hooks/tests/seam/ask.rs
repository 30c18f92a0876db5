//! The small MCP client speaks both eras and cleans up after itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use watchgate_hooks::{
    AskError, BoxFuture, Era, McpSession, UpstreamCallError, UpstreamCalls, UpstreamRequest, UpstreamResponse, ask, probe,
};

const DEADLINE: Duration = Duration::from_secs(2);

type Answer = Result<UpstreamResponse, UpstreamCallError>;

type Script = dyn Fn(&UpstreamRequest, &Value) -> Answer + Send + Sync;

/// A server that answers by a function of the request and its body, and remembers what it was asked.
struct Server {
    answer: Box<Script>,
    asked: Mutex<Vec<(UpstreamRequest, Duration)>>,
}

impl Server {
    fn new(answer: impl Fn(&UpstreamRequest, &Value) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { answer: Box::new(answer), asked: Mutex::default() })
    }

    /// What was sent: the JSON-RPC method, or the HTTP method where there is no body.
    fn methods(&self) -> Vec<String> {
        let name = |request: &UpstreamRequest| match serde_json::from_slice::<Value>(&request.body) {
            Ok(body) => body["method"].as_str().unwrap().to_owned(),
            Err(_) => request.method.to_owned(),
        };
        self.asked.lock().iter().map(|(request, _)| name(request)).collect()
    }

    fn last_header(&self, name: &str) -> Option<String> {
        header(&self.asked.lock().last()?.0, name)
    }

    fn body(&self, index: usize) -> Value {
        serde_json::from_slice(&self.asked.lock()[index].0.body).unwrap()
    }
}

impl UpstreamCalls for Server {
    fn servers(&self) -> Vec<String> {
        vec!["weather".to_owned()]
    }

    fn connect<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Result<(), UpstreamCallError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn send<'a>(&'a self, _: &'a str, request: UpstreamRequest, deadline: Duration) -> BoxFuture<'a, Answer> {
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        assert_eq!(request.awaited_id.as_deref().map(|id| serde_json::from_str(id).unwrap()).unwrap_or(Value::Null), body["id"]);
        let answer = (self.answer)(&request, &body);
        self.asked.lock().push((request, deadline));
        Box::pin(std::future::ready(answer))
    }
}

fn header(request: &UpstreamRequest, name: &str) -> Option<String> {
    request.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone())
}

fn http(status: u16, body: &str) -> Answer {
    Ok(UpstreamResponse { status, headers: Vec::new(), body: Bytes::from(body.to_owned()) })
}

fn result(request: &Value, result: Value) -> Answer {
    http(200, &json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string())
}

fn rpc_error(request: &Value, status: u16, code: i64) -> Answer {
    http(status, &json!({"id": request["id"], "jsonrpc": "2.0", "error": {"code": code, "message": "no \u{e9}"}}).to_string())
}

fn modern() -> Arc<Server> {
    Server::new(|_, body| match body["method"].as_str() {
        Some("server/discover") => result(body, json!({"supportedVersions": ["2026-07-28"]})),
        Some("tools/list") => result(body, json!({"tools": []})),
        _ => rpc_error(body, 404, -32601),
    })
}

/// A legacy server that wants its session in each request after `initialize`.
fn legacy(to_discover: fn(&Value) -> Answer) -> Arc<Server> {
    Server::new(move |request, body| {
        let in_session = header(request, "mcp-session-id").as_deref() == Some("s1")
            && header(request, "mcp-protocol-version").as_deref() == Some("2025-06-18");
        match body["method"].as_str() {
            Some("server/discover") => to_discover(body),
            Some("initialize") => result(body, json!({"protocolVersion": "2025-06-18"}))
                .map(|response| UpstreamResponse { headers: vec![("mcp-session-id".to_owned(), "s1".to_owned())], ..response }),
            _ if !in_session => http(400, "no session"),
            Some("notifications/initialized") => http(202, ""),
            Some("tools/list") => result(body, json!({"tools": ["legacy"]})),
            Some(_) => rpc_error(body, 200, -32601),
            None => http(405, ""),
        }
    })
}

fn asked(session: &McpSession, method: &str, params: Option<&str>) -> Result<Value, AskError> {
    let answer = session.ask("weather", method, params, DEADLINE).now_or_never().unwrap();
    answer.map(|result| serde_json::from_slice(&result).unwrap())
}

#[test]
fn a_modern_server_is_discovered_once() {
    let server = modern();
    let session = McpSession::new(server.clone());
    assert_eq!(session.era("weather"), None);
    for _ in 0..2 {
        assert_eq!(asked(&session, "tools/list", None), Ok(json!({"tools": []})));
    }
    assert_eq!(server.methods(), ["server/discover", "tools/list", "tools/list"]);
    assert_eq!(session.era("weather"), Some(Era::Modern));
    assert_eq!(server.last_header("mcp-protocol-version").as_deref(), Some("2026-07-28"));
    assert_eq!(server.last_header("mcp-method").as_deref(), Some("tools/list"));
    assert_eq!(server.last_header("mcp-name"), None);
    assert_eq!(server.body(1)["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
}

#[test]
fn modern_requests_mirror_what_they_name() {
    let check = |method: &str, params: &str, expected: Option<&str>| {
        let server = modern();
        let code = asked(&McpSession::new(server.clone()), method, Some(params)).unwrap_err();
        assert_eq!(code, AskError::Rpc { code: -32601, message: "no \u{e9}".to_owned() });
        assert_eq!(server.last_header("mcp-name").as_deref(), expected, "{method} {params}");
    };
    check("tools/call", r#"{"name":"get","arguments":{}}"#, Some("get"));
    check("prompts/get", r#"{"name":"caf\u00e9"}"#, Some("=?base64?Y2Fmw6k=?="));
    check("resources/read", r#"{"uri":"test:\/\/a"}"#, Some("test://a"));
    check("tools/call", r#"{"name":1}"#, None);
    check("logging/other", r#"{"name":"get"}"#, None);
}

#[test]
fn a_legacy_server_gets_a_session_that_is_ended() {
    let refusals: [fn(&Value) -> Answer; 4] = [
        |_| http(400, "Bad Request: Missing session ID"),
        |body| rpc_error(body, 200, -32601),
        |body| rpc_error(body, 400, -32022),
        |_| Err(UpstreamCallError::Timeout(DEADLINE)),
    ];
    for to_discover in refusals {
        let server = legacy(to_discover);
        let session = McpSession::new(server.clone());
        assert_eq!(asked(&session, "tools/list", Some("{}")), Ok(json!({"tools": ["legacy"]})));
        let talk = ["initialize", "notifications/initialized", "tools/list", "DELETE"];
        assert_eq!(server.methods(), [&["server/discover"][..], &talk].concat());
        assert_eq!(server.last_header("mcp-session-id").as_deref(), Some("s1"));
        assert_eq!(session.era("weather"), Some(Era::Legacy));
        // The session ends after an error too.
        assert_eq!(asked(&session, "prompts/list", None).map_err(|error| error.reason()), Err("rpc-error"));
        assert_eq!(server.methods()[5..], ["initialize", "notifications/initialized", "prompts/list", "DELETE"]);
    }
}

#[test]
fn a_probe_asks_no_more_than_it_must() {
    let check = |server: &Server, known, expected| {
        assert_eq!(probe(server, "weather", known, DEADLINE).now_or_never().unwrap(), Ok(expected));
    };
    let server = modern();
    check(&server, None, Era::Modern);
    check(&server, Some(Era::Modern), Era::Modern);
    assert_eq!(server.methods(), ["server/discover"; 2]);
    let server = legacy(|_| http(404, ""));
    check(&server, None, Era::Legacy);
    check(&server, Some(Era::Legacy), Era::Legacy);
    assert_eq!(server.methods(), ["server/discover", "initialize", "DELETE", "initialize", "DELETE"]);
}

#[test]
fn a_probe_notices_that_a_server_speaks_another_era_than_before() {
    let server = modern();
    assert_eq!(probe(&*server, "weather", Some(Era::Legacy), DEADLINE).now_or_never().unwrap(), Ok(Era::Modern));
    assert_eq!(server.methods(), ["initialize", "server/discover"]);
    let none = Server::new(|_, body| rpc_error(body, 404, -32601));
    let answer = probe(&*none, "weather", Some(Era::Legacy), DEADLINE).now_or_never().unwrap();
    assert_eq!(answer.map_err(|error| error.reason()), Err("rpc-error"));
}

#[test]
fn a_server_that_changes_its_era_is_discovered_again() {
    let is_modern = Arc::new(Mutex::new(false));
    let (old, new, switch) = (legacy(|_| http(404, "")), modern(), is_modern.clone());
    let server = Server::new(move |request, body| if *switch.lock() { (new.answer)(request, body) } else { (old.answer)(request, body) });
    let session = McpSession::new(server);
    assert_eq!(asked(&session, "tools/list", None), Ok(json!({"tools": ["legacy"]})));
    *is_modern.lock() = true;
    assert_eq!(asked(&session, "tools/list", None), Ok(json!({"tools": []})));
    *is_modern.lock() = false;
    assert_eq!(asked(&session, "tools/list", None), Ok(json!({"tools": ["legacy"]})));
}

#[test]
fn errors_say_why() {
    let check = |answer: fn(&Value) -> Answer, expected: &str| {
        let server = Server::new(move |_, body| answer(body));
        let error = asked(&McpSession::new(server.clone()), "tools/list", None).unwrap_err();
        assert_eq!(error.reason(), expected, "{error}");
        let once = ask(&*server, "weather", "tools/list", None, DEADLINE).now_or_never().unwrap().unwrap_err();
        assert_eq!(once, error);
    };
    check(|_| Err(UpstreamCallError::Unreachable("refused".to_owned())), "unreachable");
    check(|_| Err(UpstreamCallError::UnknownServer("weather".to_owned())), "unknown-server");
    check(|_| Err(UpstreamCallError::Timeout(DEADLINE)), "timeout");
    check(|_| Err(UpstreamCallError::TooLarge), "too-large");
    check(|_| http(401, "who are you?"), "protocol");
    check(|_| http(200, r#"{"jsonrpc":"2.0","id":99,"result":{}}"#), "protocol");
    check(|body| http(200, &json!({"jsonrpc": "2.0", "id": body["id"], "error": "bad"}).to_string()), "protocol");
    check(|body| rpc_error(body, 200, -32603), "rpc-error");
    assert_eq!(asked(&McpSession::new(modern()), "tools/list", Some("[]")).unwrap_err().reason(), "invalid-params");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_for_everything_together() {
    let server = Server::new(|_, _| Err(UpstreamCallError::Timeout(Duration::ZERO)));
    let session = McpSession::new(server.clone());
    let slow = session.ask("weather", "tools/list", None, DEADLINE).await;
    assert_eq!(slow.map_err(|error| error.reason()), Err("timeout"));
    let given: Vec<Duration> = server.asked.lock().iter().map(|(_, deadline)| *deadline).collect();
    assert_eq!(given, [DEADLINE / 2, DEADLINE]);
    let none = session.ask("weather", "tools/list", None, Duration::ZERO).await;
    assert_eq!(none, Err(AskError::Upstream(UpstreamCallError::Timeout(Duration::ZERO))));
}
