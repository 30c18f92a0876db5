//! A proxy in this process, with policies written by hand, in front of a scripted server.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use watchgate_hooks::{
    BoxFuture, ChainedPolicy, Edit, FailureReason, HookFailure, HookSet, Interest, LiveHooks, Message, RedactionChain, RedactionPolicy,
    Reply, Verdict,
};
use watchgate_proxy::{
    ClientAddresses, EndpointConfig, GuardConfig, Limits, ListenerConfig, Mount, Proxy, ProxyConfig, ServerConfig, ServerLimits, Timeouts,
};
use watchgate_telemetry::{AccessLogTarget, Telemetry, TelemetryConfig};
use watchgate_tests::Connection;
use watchgate_tests::http1::{MCP_POST, Reply as HttpReply, request};

type Judge = Box<dyn Fn(&Message) -> Result<Reply, HookFailure> + Send + Sync>;

/// A policy that is a closure.
struct Policy {
    interest: Interest,
    judge: Judge,
}

impl RedactionPolicy for Policy {
    fn name(&self) -> &str {
        "hand"
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn redact(&self, message: Message) -> BoxFuture<'_, Result<Reply, HookFailure>> {
        let reply = (self.judge)(&message);
        Box::pin(async move { reply })
    }
}

/// Denies messages whose body holds `DENY`, fails on `FAIL`, and writes `***` over each `SECRET` by replacing the body.
pub fn judge(message: &Message) -> Result<Reply, HookFailure> {
    let text = String::from_utf8_lossy(&message.body).into_owned();
    if text.contains("FAIL") {
        return Err(HookFailure::new(FailureReason::Trap, "as asked"));
    }
    if text.contains("DENY") {
        return Ok(Reply { verdict: Verdict::Deny("as asked".into()), edits: Vec::new() });
    }
    let edits = if text.contains("SECRET") { vec![Edit::SetBody(text.replace("SECRET", "***").into())] } else { Vec::new() };
    Ok(Reply { verdict: Verdict::Pass, edits })
}

/// A running proxy; dropping it ends it.
pub struct Rig {
    pub address: SocketAddr,
    pub live: Arc<LiveHooks>,
    pub telemetry: Arc<Telemetry>,
    end: Option<oneshot::Sender<()>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Rig {
    /// In front of one server, with [`judge`] live.
    pub fn before(url: &str) -> Self {
        let rig = Self::bare(url);
        rig.go_live();
        rig
    }

    /// In front of one server, without policies, with a cap of 64 KiB on messages.
    pub fn bare(url: &str) -> Self {
        let authority = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        let (host, port) = authority.rsplit_once(':').unwrap();
        let endpoint = EndpointConfig { host: host.into(), port: port.parse().unwrap(), authority: authority.clone(), tls: false };
        let mut server = ServerConfig::new("only", endpoint, "", Mount::Root);
        server.limits = ServerLimits { message: 64 << 10, ..ServerLimits::default() };
        let telemetry = Telemetry::new(TelemetryConfig {
            access_log: AccessLogTarget::Off,
            operation_buckets: Vec::new(),
            servers: vec!["only".into()],
        })
        .unwrap();
        let live = Arc::new(LiveHooks::new(HookSet::empty()));
        let config = ProxyConfig {
            servers: vec![server],
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            clients: ClientAddresses::default(),
            guard: GuardConfig::OPEN,
            auth: None,
            expects_policies: true,
        };
        let proxy = Proxy::new(config, live.clone(), telemetry.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let control = proxy.control();
        let settings = ListenerConfig { address: address.to_string(), tls: None, http2: true };
        let inside = runtime.enter();
        control.listen(control.prepare_listener(&settings).unwrap(), listener);
        proxy.start_housekeeping();
        drop(inside);
        runtime.spawn(async move {
            let _ = ended.await;
            proxy.drain().await;
        });
        Self { address, live, telemetry, end: Some(end), runtime: Some(runtime) }
    }

    /// Makes [`judge`] live.
    pub fn go_live(&self) {
        let policy = Arc::new(Policy { interest: Interest::default(), judge: Box::new(judge) });
        let chained = ChainedPolicy { policy, order: 0, handles: self.telemetry.plugin("hand") };
        self.live.swap(HookSet { redaction: RedactionChain::new(vec![chained]), ..HookSet::empty() });
    }

    /// One POST.
    pub fn post(&self, body: &str) -> HttpReply {
        self.post_with(&[], body)
    }

    /// One POST with more headers.
    pub fn post_with(&self, headers: &[(&str, &str)], body: &str) -> HttpReply {
        let mut connection = self.open(headers, body);
        connection.reply().unwrap()
    }

    /// A POST whose answer is read by the caller.
    pub fn open(&self, headers: &[(&str, &str)], body: &str) -> Connection {
        let mut connection = Connection::open(self.address).unwrap();
        let headers: Vec<(&str, &str)> = MCP_POST.iter().copied().chain(headers.iter().copied()).collect();
        connection.send(&request("POST", "/mcp", &headers, body.as_bytes())).unwrap();
        connection
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
