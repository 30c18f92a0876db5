//! Traffic that makes the gateway say everything it can say.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::wait::pause;
use watchgate_tests::{Connection, Reply, wait_until};

use super::scene::{KEY, MOST_CONNECTIONS, Scene};
use super::server::{HELD, LARGE};

/// How long a slow client waits: longer than a part of an exchange must take to be told.
const SLOW: Duration = Duration::from_millis(20);

/// What `redact-secrets` refuses to let pass.
const PRIVATE_KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\\nMIIEpAIBAAKCAQEA\\n-----END RSA PRIVATE KEY-----";

impl Scene {
    /// Everything, once.
    pub fn play(&mut self) {
        self.crowd();
        self.play_what_repeats();
        self.run_into_limits();
        self.dawdle();
        self.fall_back();
        self.change();
    }

    /// More connections at once than there may be: some wait until others have ended.
    fn crowd(&self) {
        let crowd: Vec<TcpStream> = (0..MOST_CONNECTIONS + 8).map(|_| TcpStream::connect(self.gateway.traffic).unwrap()).collect();
        let waited = || self.gateway.metrics().metric("watchgate_connections_waited_total", &[]);
        wait_until("a connection waits", || (waited() > 0.0).then_some(()));
        drop(crowd);
    }

    /// What can be done again and again.
    pub fn play_what_repeats(&self) {
        self.speak_mcp();
        self.fail();
        self.be_refused();
    }

    /// A session with all that it names, and what comes beside it.
    fn speak_mcp(&self) {
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "contract", "version": "1"}});
        let reply = self.ask("weather", &[], "initialize", hello);
        let session = reply.head.header("mcp-session-id").unwrap().to_owned();
        let headers = [("Mcp-Session-Id", session.as_str()), ("MCP-Protocol-Version", "2025-11-25")];
        self.send("weather", &headers, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        for list in ["tools/list", "prompts/list"] {
            self.ask("weather", &headers, list, json!({}));
        }
        self.ask("weather", &headers, "prompts/get", json!({"name": "greet"}));
        self.ask("weather", &headers, "resources/read", json!({"uri": "file:///contract"}));
        for tool in ["forecast", "broken", "unknown", "failing", "unlisted", "flood"] {
            self.tool("weather", &headers, tool, "");
        }
        self.tool("weather", &[("X-Debug-Trace", "true"), ("X-Request-ID", "r-1"), ("traceparent", "nonsense")], "forecast", "");
        let ping = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        self.send("weather", &[], &json!([ping(1), ping(2)]));
        for (method, status) in [("PATCH", 202), ("DELETE", 204)] {
            let reply = self.gateway.call(method, "/weather", &[("Authorization", &bearer()), headers[0]], b"{}");
            assert_eq!(reply.status(), status, "{}", reply.text());
        }
    }

    /// Servers, limits and policies that do not let pass.
    fn fail(&self) {
        assert_eq!(self.tool("gone", &[], "forecast", "").status(), 502);
        self.tool("limited", &[], "forecast", "");
        assert_eq!(self.tool("limited", &[], "forecast", "").status(), 429);
        for (secret, reason) in [(PRIVATE_KEY, "redact-secrets"), ("zap", "trapping")] {
            let denied = self.tool("weather", &[], "forecast", secret).json().unwrap();
            assert_eq!(denied["error"]["code"], -31001, "{reason}: {denied}");
        }
        for passing in ["gossip", "hush"] {
            assert_eq!(self.tool("weather", &[], "forecast", passing).status(), 200);
        }
    }

    fn run_into_limits(&self) {
        thread::scope(|scope| {
            let held = scope.spawn(|| self.tool("narrow", &[], HELD, ""));
            self.arrived.wait("a call is with the server");
            assert_eq!(self.tool("narrow", &[], "forecast", "").status(), 503);
            self.release.open();
            assert_eq!(held.join().unwrap().status(), 200);
        });
        let _stream = self.listen(200);
        self.listen(429);
    }

    /// A client that is slow to send its request, and to take the answer.
    fn dawdle(&self) {
        let authorization = bearer();
        let headers = [&MCP_POST[..], &[("Authorization", authorization.as_str())]].concat();
        let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": LARGE}}).to_string();
        let whole = request("POST", "/weather", &headers, call.as_bytes());
        let (head, body) = whole.split_at(whole.len() - call.len());
        let mut client = self.gateway.connect();
        let going_on = || self.gateway.metrics().metric("watchgate_http_requests_in_flight", &[("server", "weather"), ("method", "POST")]);
        let before = going_on();
        client.send(head).unwrap();
        wait_until("the request has begun", || (going_on() > before).then_some(()));
        pause(SLOW);
        client.send(body).unwrap();
        assert_eq!(client.head().unwrap().status(), 200);
        pause(SLOW);
        client.body().unwrap();
    }

    /// Opens an event stream.
    fn listen(&self, status: u16) -> Connection {
        let mut client = self.gateway.connect();
        let headers = [("Accept", "text/event-stream"), ("Authorization", &bearer())];
        client.send(&request("GET", "/narrow", &headers, b"")).unwrap();
        assert_eq!(client.head().unwrap().status(), status);
        client
    }

    /// One of two endpoints goes. Chance has it whether a request meets it, and whether a probe does before: it comes back until a request has been tried again.
    fn fall_back(&mut self) {
        let value = |metric: &str, labels: &[(&str, &str)]| self.gateway.metrics().metric(metric, labels);
        for _ in 0..10 {
            wait_until("the endpoint is not passed over", || {
                (value("watchgate_endpoint_ejected", &[("server", "replicas")]) == 0.0).then_some(())
            });
            self.replica.go_away();
            for _ in 0..20 {
                self.tool("replicas", &[], "forecast", "");
            }
            if value("watchgate_upstream_retries_total", &[("server", "replicas"), ("result", "sent")]) > 0.0 {
                return;
            }
            self.replica.come_back();
        }
        panic!("no request was tried again");
    }

    /// What comes to no server.
    fn be_refused(&self) {
        assert_eq!(self.gateway.post("/weather", &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).status(), 401);
        let authorization = bearer();
        let other = [&MCP_POST[..], &[("Host", "evil.example"), ("Authorization", authorization.as_str())]].concat();
        assert_eq!(self.gateway.call("POST", "/weather", &other, b"{}").status(), 403);
        TcpStream::connect(self.gateway.traffic).unwrap().write_all(b"\x16\x03\x01 no HTTP\r\n\r\n").unwrap();
    }

    fn change(&self) {
        assert_eq!(self.gateway.admin_post("/api/config/reload", "").status(), 200);
        assert_eq!(self.gateway.admin_post("/api/breakers/narrow", r#"{"state":"open"}"#).status(), 200);
        self.renew_certificate();
        wait_until("an alert is told", || (!self.receiver.requests().is_empty()).then_some(()));
    }

    fn tool(&self, server: &str, headers: &[(&str, &str)], tool: &str, text: &str) -> Reply {
        let text: Value = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        self.ask(server, headers, "tools/call", json!({"name": tool, "arguments": {"text": text}}))
    }

    fn ask(&self, server: &str, headers: &[(&str, &str)], method: &str, params: Value) -> Reply {
        self.send(server, headers, &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))
    }

    /// Posts a message as the client `ci`.
    fn send(&self, server: &str, headers: &[(&str, &str)], message: &Value) -> Reply {
        let authorization = bearer();
        let all = [&MCP_POST[..], headers, &[("Authorization", authorization.as_str())]].concat();
        self.gateway.call("POST", &format!("/{server}"), &all, message.to_string().as_bytes())
    }
}

fn bearer() -> String {
    format!("Bearer {KEY}")
}
