//! A gateway with `redact-secrets` in front of a scripted upstream, and the search for a secret in everything it lets out.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};

use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::plugins::{guest, stock};
use watchgate_tests::{Gateway, GatewayOptions, PluginFolder, Received, Scripted, leaked, wait_until};

use crate::collected::collector;
use crate::messages::tool_call;

/// The secret that must get nowhere.
pub const KEY: &str = "AKIA2Z7QXW5RT4LMNP3K";

/// What stands in its place.
pub const MASK: &str = "[REDACTED:aws_key]";

/// An answer as the upstream writes it: each piece a chunk of its own.
#[derive(Clone, Default)]
struct Script {
    status: u16,
    content_type: String,
    pieces: Vec<Vec<u8>>,
}

/// The gateway, its plugins and its upstream.
pub struct Guarded {
    pub gateway: Gateway,
    pub upstream: Scripted,
    collector: Scripted,
    script: Arc<Mutex<Script>>,
    exchanges: usize,
    _folder: PluginFolder,
}

/// What the client read of one answer.
pub struct Seen {
    pub status: u16,
    /// Head and body, as far as they came.
    pub bytes: Vec<u8>,
    /// The body, as far as it came.
    pub body: String,
    /// Whether the body came to its end.
    pub is_whole: bool,
}

/// Everything is traced, captured and pushed.
fn talkative(collector: &Scripted) -> GatewayOptions {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_METRICS_EXPORTER", "otlp".to_owned()),
        ("OTEL_LOGS_EXPORTER", "otlp".to_owned()),
        ("OTEL_TRACES_SAMPLER", "always_on".to_owned()),
    ];
    let environment = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    GatewayOptions { environment, ..GatewayOptions::config("[logs]\ncapture = \"all\"\n") }
}

/// All that `/api/traces` tells.
fn recent_traces(gateway: &Gateway) -> Vec<u8> {
    let list = gateway.admin_get("/api/traces?limit=1000");
    let mut all = list.body.clone();
    let list = list.json().unwrap();
    // Many exchanges may be part of one trace.
    let ids: BTreeSet<&str> = list["traces"].as_array().unwrap().iter().map(|trace| trace["trace_id"].as_str().unwrap()).collect();
    for id in ids {
        all.extend(gateway.admin_get(&format!("/api/traces/{id}")).body);
    }
    all
}

impl Guarded {
    /// Starts with `settings` for `redact-secrets`. A second plugin turns the name and text of each operation into metrics, the log
    /// is as talkative as it gets, everything is traced and captured, and all of it is pushed to a collector, so that there is much to leak into.
    pub fn start(settings: &str) -> Self {
        let folder = PluginFolder::with("redact-secrets", &stock("redact-secrets"), settings);
        folder.add("probe", &guest("probe"), "[config]\nkeep_text = true\n");
        let script = Arc::new(Mutex::new(Script::default()));
        let upstream = Scripted::start({
            let script = Arc::clone(&script);
            move |exchange| {
                let script = script.lock().unwrap().clone();
                exchange.chunked(script.status, &[("Content-Type", &script.content_type)])?;
                script.pieces.iter().filter(|piece| !piece.is_empty()).try_for_each(|piece| exchange.chunk(piece))?;
                exchange.end()
            }
        });
        let collector = collector();
        let args = ["--upstream", &upstream.url(), "--plugins", folder.path(), "--log-level", "trace"];
        let gateway = Gateway::start(&args, talkative(&collector));
        let mut guarded = Self { gateway, upstream, collector, script, exchanges: 0, _folder: folder };
        guarded.answer_with(200, "application/json", &[r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#.as_bytes()]);
        guarded
    }

    /// What the upstream answers from now on.
    pub fn answer_with(&mut self, status: u16, content_type: &str, pieces: &[&[u8]]) {
        let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
        *self.script.lock().unwrap() = Script { status, content_type: content_type.to_owned(), pieces };
    }

    /// Sends one message and reads what comes.
    pub fn send(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Seen {
        self.exchanges += 1;
        let mut client = self.gateway.connect();
        client.send(&request("POST", "/mcp", &[&MCP_POST, headers].concat(), body)).unwrap();
        let head = client.head().unwrap();
        // A client gets its own id back, whatever it is.
        let own = headers.iter().find(|(name, value)| *name == "X-Request-ID" && head.header("x-request-id") == Some(value));
        let mut bytes = format!("{head:?}").replacen(own.map_or("", |(_, value)| value), "", 1).into_bytes();
        let mut body = Vec::new();
        let is_whole = loop {
            match client.body_piece() {
                Ok(Some(piece)) => body.extend(piece),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        bytes.extend(&body);
        Seen { status: head.status(), bytes, body: String::from_utf8_lossy(&body).into_owned(), is_whole }
    }

    /// Calls a tool, which gives this answer, and checks that the client gets nothing of the key.
    #[track_caller]
    pub fn answered(&mut self, what: &str, status: u16, content_type: &str, pieces: &[&[u8]]) -> Seen {
        self.answer_with(status, content_type, pieces);
        // In headers that telemetry has a use for, too.
        let tracestate = format!("v={KEY}");
        let headers = [
            ("X-Request-ID", KEY),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("tracestate", tracestate.as_str()),
        ];
        let seen = self.send(&headers, tool_call(1, "t").to_string().as_bytes());
        if let Some(piece) = leaked(&seen.bytes, KEY) {
            panic!("{what}: the client read {piece:?} in {}", seen.body);
        }
        seen
    }

    /// Sends one message and checks that the upstream gets nothing of the key; gives what it got of it, and what the client did.
    #[track_caller]
    pub fn asked(&mut self, what: &str, headers: &[(&str, &str)], body: &[u8]) -> (Option<Received>, Seen) {
        let before = self.upstream.requests().len();
        let seen = self.send(headers, body);
        let mut requests = self.upstream.requests().split_off(before);
        for received in &requests {
            let all = [format!("{:?}", received.head).into_bytes(), received.body.clone()].concat();
            if let Some(piece) = leaked(&all, KEY) {
                panic!("{what}: the server read {piece:?} in {} and {received:?}", String::from_utf8_lossy(&received.body));
            }
        }
        assert!(requests.len() <= 1, "{what}: one message became {}", requests.len());
        (requests.pop(), seen)
    }

    /// Checks that nothing of `secrets` is in anything that operators can read, now that every exchange is accounted for. The last word of a test: the
    /// gateway has ended then, so that all of its log is there.
    #[track_caller]
    pub fn assert_no_trace(&mut self, secrets: &[&str]) {
        wait_until("an access line for each exchange", || (self.gateway.access_log().len() >= self.exchanges).then_some(()));
        wait_until("the derivation has seen the operations", || {
            let seen = self.gateway.metrics().metric("watchgate_plugin_calls_total", &[("plugin", "probe"), ("kind", "derivation")]);
            (seen > 0.0).then_some(())
        });
        let mut places = vec![
            ("the access log", fs::read(self.gateway.directory().join("access.log")).unwrap()),
            ("stdout", self.gateway.stdout().into_bytes()),
        ];
        for page in
            ["/metrics", "/metrics/custom", "/health", "/health/ready", "/api/plugins", "/api/alerts", "/api/logs", "/api/cardinality"]
        {
            places.push((page, self.gateway.admin_get(page).body));
        }
        places.push(("recent traces", recent_traces(&self.gateway)));
        places.push(("stderr", self.gateway.whole_log().into_bytes()));
        // The last of it was pushed while the gateway ended.
        for path in ["/v1/traces", "/v1/metrics", "/v1/logs"] {
            let requests = self.collector.requests();
            let bodies = requests.into_iter().filter(|request| request.head.target() == path);
            places.push((path, bodies.flat_map(|request| request.body).collect()));
        }
        for (place, bytes) in places {
            assert!(!bytes.is_empty() || place == "stdout", "{place} is empty");
            for secret in secrets {
                if let Some(piece) = leaked(&bytes, secret) {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let line = text.lines().find(|line| leaked(line.as_bytes(), secret).is_some()).unwrap_or_default();
                    panic!("{place} holds {piece:?}: {line}");
                }
            }
        }
    }
}
