//! A proxy in this process, in front of scripted servers, and clients of it.

use std::net::{SocketAddr, TcpListener as Reserved};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use watchgate_hooks::{HookSet, KeptFrom, LiveHooks, UpstreamCallError, UpstreamEndpoint, UpstreamEndpoints, UpstreamRequest};
use watchgate_proxy::{
    ClientAddresses, EndpointConfig, GuardConfig, Limits, ListenerConfig, Mount, Propagation, Proxy, ProxyConfig, ProxyControl,
    ServerConfig, ServerLimits, ServerTls, Timeouts,
};
use watchgate_telemetry::{AccessLogTarget, Telemetry, TelemetryConfig};
use watchgate_tests::http1::{MCP_POST, Reply, request};
use watchgate_tests::metrics::Metrics;
use watchgate_tests::{Connection, ScriptedSocket, wait_until};

/// A call that most tests send.
pub const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t"}}"#;

/// What most servers answer to it.
pub const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;

/// A server called `only` at these addresses, which gets every path.
pub fn server(addresses: &[SocketAddr]) -> ServerConfig {
    named("only", Mount::Root, addresses)
}

/// A server at these addresses. Its endpoints get their full share at once: how that begins is tested beside the balancer.
pub fn named(name: &str, mount: Mount, addresses: &[SocketAddr]) -> ServerConfig {
    let endpoints: Vec<EndpointConfig> = addresses.iter().map(|address| EndpointConfig::http(address.ip(), address.port())).collect();
    let mut server = ServerConfig::new(name, endpoints[0].clone(), "", mount);
    server.endpoints = endpoints;
    server.slow_start = Duration::ZERO;
    server
}

/// These servers and otherwise every default; no policy is expected.
pub fn config(servers: Vec<ServerConfig>) -> ProxyConfig {
    ProxyConfig {
        servers,
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        clients: ClientAddresses::default(),
        guard: GuardConfig::OPEN,
        auth: None,
        propagation: Propagation::default(),
        expects_policies: false,
        preserves_header_case: false,
    }
}

/// How a proxy is run, besides its configuration.
#[derive(Default)]
pub struct Conditions {
    /// Nothing is done beside traffic: no probes, no sweeping.
    pub without_housekeeping: bool,
    /// Where access lines go.
    pub access_log: Option<PathBuf>,
    /// What else is said of traffic.
    pub telemetry: TelemetryConfig,
}

/// A proxy before one server that nobody but its clients asks.
pub fn unprobed(server: ServerConfig) -> Rig {
    Rig::under(Conditions { without_housekeeping: true, ..Conditions::default() }, config(vec![server]))
}

/// A server that answers over and over on each connection, with `headers` too, each with its line end, and can go away.
pub fn leaving(headers: &'static str) -> ScriptedSocket {
    ScriptedSocket::start(move |stream| {
        let Ok(mut connection) = Connection::new(stream) else { return };
        while let Ok(Some(_)) = connection.next_head() {
            let length = RESULT.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n");
            if connection.body().is_err() || connection.send(format!("{head}{RESULT}").as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A running proxy with one cleartext listener; dropping it ends it.
pub struct Rig {
    pub address: SocketAddr,
    pub live: Arc<LiveHooks>,
    pub telemetry: Arc<Telemetry>,
    pub control: Arc<ProxyControl>,
    endpoints: Arc<dyn UpstreamEndpoints>,
    proxy: Option<Proxy>,
    runtime: Option<Runtime>,
}

impl Rig {
    /// With this configuration.
    pub fn new(config: ProxyConfig) -> Self {
        Self::under(Conditions::default(), config)
    }

    /// In front of one server, with the policy of `policy.rs` live.
    pub fn before(url: &str) -> Self {
        let rig = Self::bare(url);
        rig.go_live();
        rig
    }

    /// In front of one server, with policies expected and none live, and a cap of 64 KiB on messages.
    pub fn bare(url: &str) -> Self {
        let mut server = server(&[url.strip_prefix("http://").unwrap().parse().unwrap()]);
        server.limits = ServerLimits { message: 64 << 10, ..ServerLimits::default() };
        Self::new(ProxyConfig { expects_policies: true, ..config(vec![server]) })
    }

    /// With this configuration, under these conditions.
    pub fn under(conditions: Conditions, config: ProxyConfig) -> Self {
        let telemetry = Telemetry::new(TelemetryConfig {
            access_log: conditions.access_log.map_or(AccessLogTarget::Off, AccessLogTarget::File),
            servers: config.servers.iter().map(|server| server.name.clone()).collect(),
            ..conditions.telemetry
        })
        .unwrap();
        let live = Arc::new(LiveHooks::new(HookSet::empty()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let inside = runtime.enter();
        let proxy = Proxy::new(config, live.clone(), telemetry.clone()).unwrap();
        if !conditions.without_housekeeping {
            proxy.start_housekeeping();
        }
        drop(inside);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (control, endpoints) = (proxy.control(), proxy.upstream_endpoints());
        let mut rig = Self { address: nowhere, live, telemetry, control, endpoints, proxy: Some(proxy), runtime: Some(runtime) };
        rig.address = rig.listen(None, true);
        rig
    }

    /// Opens another listener.
    pub fn listen(&self, tls: Option<ServerTls>, http2: bool) -> SocketAddr {
        let socket = Reserved::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        socket.set_nonblocking(true).unwrap();
        let _inside = self.runtime().enter();
        let settings = ListenerConfig { address: address.to_string(), tls, http2 };
        self.control.listen(self.control.prepare_listener(&settings).unwrap(), TcpListener::from_std(socket).unwrap());
        address
    }

    /// Puts another configuration into force.
    pub fn apply(&self, config: ProxyConfig) {
        let _inside = self.runtime().enter();
        self.control.apply(self.control.prepare(config).unwrap());
    }

    /// Where the proxy's tasks run; clients that are asynchronous run there too.
    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// Begins to drain; the handle ends when that is over.
    pub fn drain(&mut self) -> JoinHandle<()> {
        let proxy = self.proxy.take().unwrap();
        self.runtime().spawn(proxy.drain())
    }

    /// One POST of [`CALL`].
    pub fn call(&self) -> Reply {
        self.post(CALL)
    }

    /// One POST.
    pub fn post(&self, body: &str) -> Reply {
        self.post_with(&[], body)
    }

    /// One POST with more headers.
    pub fn post_with(&self, headers: &[(&str, &str)], body: &str) -> Reply {
        self.open(headers, body).reply().unwrap()
    }

    /// A POST whose answer is read by the caller.
    pub fn open(&self, headers: &[(&str, &str)], body: &str) -> Connection {
        let mut connection = self.connect();
        connection.send(&post(headers, body)).unwrap();
        connection
    }

    /// One request of any method, without a body.
    pub fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Reply {
        let mut connection = self.connect();
        connection.send(&request(method, target, headers, b"")).unwrap();
        connection.reply().unwrap()
    }

    /// A connection on which nothing was asked yet.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address).unwrap()
    }

    /// What a scrape shows now.
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&self.telemetry.render_prometheus())
    }

    /// Asks every endpoint of a server what it is, as who watches health does, and tells what that found: the HTTP status or why there is none, and
    /// what keeps clients from it.
    pub fn probe(&self, server: &str) -> Vec<(Result<u16, UpstreamCallError>, KeptFrom)> {
        let probe = async |endpoint: Arc<dyn UpstreamEndpoint>| {
            let body = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#.into();
            let request = UpstreamRequest { method: "POST", headers: Vec::new(), body, awaited_id: Some("1".to_owned()) };
            let answer = endpoint.send(server, request, Duration::from_secs(1)).await.map(|response| response.status);
            endpoint.note_probe(answer.is_ok());
            (answer, endpoint.kept_from())
        };
        let endpoints = self.endpoints.endpoints(server);
        endpoints.into_iter().map(|endpoint| self.runtime().block_on(probe(endpoint))).collect()
    }

    /// Waits until a metric has this value; 0 is also one that is not shown.
    #[track_caller]
    pub fn wait_for(&self, name: &str, labels: &[(&str, &str)], expected: f64) {
        let mut last = f64::NAN;
        let look = || {
            last = self.metrics().metric(name, labels);
            (last == expected).then_some(())
        };
        let found = watchgate_tests::wait::wait_for(watchgate_tests::DEADLINE, look);
        assert!(found.is_some(), "{name}{labels:?} is {last}, not {expected}");
    }
}

/// The bytes of a POST.
pub fn post(headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: Vec<(&str, &str)> = MCP_POST.iter().copied().chain(headers.iter().copied()).collect();
    request("POST", "/mcp", &headers, body.as_bytes())
}

/// Waits until a drain is over.
#[track_caller]
pub fn wait_for_drain(draining: &JoinHandle<()>) {
    wait_until("the proxy has drained", || draining.is_finished().then_some(()));
}

/// An answer of the gateway's own: its status, and the JSON-RPC error in it for the id of [`CALL`].
#[track_caller]
pub fn check_fault(reply: &Reply, status: u16, code: i64, reason: &str) {
    let body = reply.json().unwrap();
    let said = (reply.status(), body["error"]["code"].as_i64(), body["error"]["data"]["reason"].as_str());
    assert_eq!(said, (status, Some(code), Some(reason)), "{}", reply.text());
    assert_eq!(body["id"], 7, "{body}");
    assert_eq!(body["error"]["data"]["source"], "watchgate");
    assert!(body["error"]["data"]["error_id"].is_string());
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
