//! A gateway with everything configured that can be, and what stands around it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use watchgate_tests::plugins::{guest, stock};
use watchgate_tests::upstream::nobody;
use watchgate_tests::{Connection, Gate, Gateway, GatewayOptions, PluginFolder, Scripted, ScriptedSocket};

use super::server;
use crate::examples::JWKS;

/// The key of the client named `ci`.
pub const KEY: &str = "0123456789abcdef-of-the-contract";

/// Connections of clients that may be open at once.
pub const MOST_CONNECTIONS: usize = 64;

/// The gateway and its surroundings.
pub struct Scene {
    pub gateway: Gateway,
    /// Opened by a call of [`server::HELD`] once it is with the server.
    pub arrived: Gate,
    /// Lets that call go on.
    pub release: Gate,
    _folder: PluginFolder,
    /// Takes the alerts.
    pub receiver: Scripted,
    /// Takes what is pushed.
    pub collector: Scripted,
    /// One of the two endpoints of `replicas`: it answers whatever it is asked that it does not have it.
    pub replica: ScriptedSocket,
    certificates: TempDir,
    _upstream: Scripted,
}

impl Scene {
    pub fn start() -> Self {
        let (arrived, release) = (Gate::default(), Gate::default());
        let upstream = server::start(&arrived, &release);
        let replica = ScriptedSocket::start(|stream| {
            let Ok(mut connection) = Connection::new(stream) else { return };
            while let Ok(Some(_)) = connection.next_head() {
                if connection.body().is_err() || connection.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_err() {
                    return;
                }
            }
        });
        let receiver = Scripted::start(|exchange| exchange.respond(204, &[], b""));
        let collector = collector();
        let certificates = TempDir::new().unwrap();
        make_certificate(certificates.path());
        fs::write(certificates.path().join("jwks.json"), JWKS).unwrap();
        let folder = plugins(&receiver);
        let options = GatewayOptions {
            environment: [("CI_MCP_KEY", KEY), ("OTEL_TRACES_SAMPLER", "always_on")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            listeners_of_file: true,
            ..GatewayOptions::config(&config(&upstream, &replica, &collector, certificates.path()))
        };
        let gateway = Gateway::start(&["--plugins", folder.path()], options);
        Self { gateway, arrived, release, _folder: folder, receiver, replica, certificates, collector, _upstream: upstream }
    }

    /// Puts another certificate in the place of the one in use.
    pub fn renew_certificate(&self) {
        make_certificate(self.certificates.path());
    }
}

/// A collector that takes all metrics, and of the traces the first batch only.
fn collector() -> Scripted {
    let has_taken = AtomicBool::new(false);
    Scripted::start_for_the_gateway_too(move |exchange| {
        let is_refused = exchange.request.head.target() == "/v1/traces" && has_taken.swap(true, Ordering::SeqCst);
        let status = if is_refused { 400 } else { 200 };
        exchange.respond(status, &[("Content-Type", "application/x-protobuf")], b"")
    })
}

/// A certificate and its key, each put in its place at once.
fn make_certificate(folder: &Path) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 10 -subj /CN=localhost \
                  -keyout new.key -out new.pem && mv new.key server.key && mv new.pem server.pem";
    let made = Command::new("sh").args(["-e", "-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Every stock plugin, and probes that fail in the ways that have a metric.
fn plugins(receiver: &Scripted) -> PluginFolder {
    let folder = PluginFolder::new();
    folder.add("redact-secrets", &stock("redact-secrets"), "[config]\nprivate_key = \"deny\"\n");
    folder.add("tool-sizes", &stock("tool-sizes"), "");
    let expected = "interval = \"1s\"\n[config]\nserver = \"weather\"\ntools = [\"forecast\"]\n[grants]\nmcp_client = [\"weather\"]\n";
    folder.add("expected-tools", &stock("expected-tools"), expected);
    let webhook = format!("[config]\nurl = \"{}/\"\n[grants]\nhttp = [\"{}\"]\n", receiver.url(), receiver.address());
    folder.add("alert-webhook", &stock("alert-webhook"), &webhook);
    for (name, settings) in [
        ("trapping", "kinds = [\"redaction\"]\n[config]\nredact = \"trap\"\nwhen = \"zap\"\n"),
        ("talkative", "kinds = [\"redaction\"]\n[config]\nredact = \"huge-log\"\nwhen = \"gossip\"\n"),
        ("hushing", "kinds = [\"redaction\"]\n[config]\nredact = \"deny\"\nwhen = \"hush\"\nsurfaces = [\"telemetry\"]\n"),
        ("observing", "kinds = [\"derivation\"]\n[config]\nkeep_text = true\nobserve = \"series-flood\"\nwhen = \"flood\"\n"),
        ("miscounting", "kinds = [\"derivation\"]\n[config]\nobserve = \"bad-values\"\nwhen = \"forecast\"\n"),
    ] {
        folder.add(name, &guest("probe"), settings);
    }
    folder.write("broken.wasm", b"no component");
    folder
}

fn config(upstream: &Scripted, replica: &ScriptedSocket, collector: &Scripted, certificates: &Path) -> String {
    let (url, nowhere) = (format!("{}/mcp", upstream.url()), format!("http://{}/mcp", nobody()));
    let (replica, collector, certificates) = (replica.address(), collector.url(), certificates.display());
    format!(
        r#"
        [[listeners]]
        address = "127.0.0.1:0"
        [[listeners]]
        address = "127.0.0.2:0"
        tls = {{ certificate = "{certificates}/server.pem", key = "{certificates}/server.key" }}

        [proxy]
        max_connections = {MOST_CONNECTIONS}
        [servers.weather]
        url = "{url}"
        [servers.gone]
        url = "{nowhere}"
        breaker = {{ enabled = false }}
        retry = {{ max = 0 }}
        [servers.limited]
        url = "{url}"
        rate = {{ per_second = 0.001, burst = 1 }}
        [servers.narrow]
        url = "{url}"
        max_concurrency = 1
        max_streams_per_client = 1
        [servers.replicas]
        urls = ["http://{replica}/mcp", "{url}"]
        slow_start = "0s"
        breaker = {{ connect_failures = 1, open = "1ms" }}
        ejection = {{ consecutive_failures = 1, base = "1ms" }}

        [[auth.keys]]
        name = "ci"
        key = {{ env = "CI_MCP_KEY" }}
        [auth.jwt]
        jwks_file = "{certificates}/jwks.json"
        issuers = ["https://issuer.example"]
        audiences = ["contract"]
        [logs]
        format = "json"
        slow_call_threshold = "1ms"
        capture = "all"
        [traces]
        exporter = "otlp-http"
        endpoint = "{collector}"
        interval = "10ms"
        slow = "1ms"
        meta = "rewrite"
        [metrics.otlp]
        protocol = "http"
        endpoint = "{collector}"
        interval = "200ms"
        [health]
        probe_interval = "1s"
        [alerts]
        evaluation_interval = "100ms"
        [[alerts.rule]]
        name = "running"
        metric = "watchgate_build_info"
        op = ">"
        threshold = 0
        severity = "critical"
        "#
    )
}

/// Reads what the gateway has said of itself, one object a line.
pub fn own_log(gateway: &Gateway) -> Vec<serde_json::Value> {
    let text = gateway.stderr();
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
