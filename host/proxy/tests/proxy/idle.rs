//! What may be silent for how long. The clock of the proxy stands still and is moved by hand, so minutes pass at once; sockets and servers are real.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Sender as Reply, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use watchgate_hooks::{HookSet, LiveHooks};
use watchgate_proxy::{ListenerConfig, Proxy, ProxyConfig};
use watchgate_telemetry::{Telemetry, TelemetryConfig};
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::{Connection, DEADLINE, Exchange, Gate, Scripted, wait_until};

use crate::policy::hook_set;
use crate::rig::{CALL, RESULT, config, post, server};

const MINUTE: Duration = Duration::from_secs(60);

/// A proxy whose clock is moved by hand; dropping it ends it.
struct Still {
    address: SocketAddr,
    moves: Option<UnboundedSender<(Duration, Reply<()>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Still {
    fn before(upstream: &Scripted, has_policy: bool) -> Self {
        let config = ProxyConfig { expects_policies: has_policy, ..config(vec![server(&[upstream.address()])]) };
        let (moves, moved) = unbounded_channel();
        let (started, start) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                // A paused clock runs ahead whenever nobody has work, waits for sockets included, but not while a blocking task is running.
                let (release, held) = channel::<()>();
                tokio::task::spawn_blocking(move || held.recv());
                let proxy = open(config, has_policy).await;
                started.send(proxy.1).unwrap();
                move_clock(moved).await;
                drop(release);
            });
            runtime.shutdown_background();
        });
        Self { address: start.recv_timeout(DEADLINE).unwrap(), moves: Some(moves), thread: Some(thread) }
    }

    /// Lets time pass, a minute at once and the rest.
    fn pass(&self, mut duration: Duration) {
        while !duration.is_zero() {
            let step = duration.min(MINUTE);
            let (done, is_done) = channel();
            self.moves.as_ref().unwrap().send((step, done)).unwrap();
            is_done.recv_timeout(DEADLINE).unwrap();
            duration -= step;
        }
    }

    fn open(&self, bytes: &[u8]) -> Connection {
        let mut client = Connection::open(self.address).unwrap();
        client.send(bytes).unwrap();
        client
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        drop(self.moves.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn open(config: ProxyConfig, has_policy: bool) -> (Proxy, SocketAddr) {
    let telemetry = Telemetry::new(TelemetryConfig { servers: vec!["only".into()], ..TelemetryConfig::default() }).unwrap();
    let hooks = if has_policy { hook_set(&telemetry) } else { HookSet::empty() };
    let proxy = Proxy::new(config, Arc::new(LiveHooks::new(hooks)), telemetry).unwrap();
    proxy.start_housekeeping();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = ListenerConfig { address: address.to_string(), tls: None, http2: true };
    proxy.control().listen(proxy.control().prepare_listener(&settings).unwrap(), listener);
    (proxy, address)
}

async fn move_clock(mut moved: UnboundedReceiver<(Duration, Reply<()>)>) {
    while let Some((step, done)) = moved.recv().await {
        tokio::time::advance(step).await;
        // Fails when the test has failed.
        let _ = done.send(());
    }
}

fn get() -> Vec<u8> {
    request("GET", "/mcp", &[("Accept", "text/event-stream")], b"")
}

fn listen() -> Vec<u8> {
    let body = br#"{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}"#;
    request("POST", "/mcp", &[MCP_POST[0], MCP_POST[1], ("MCP-Protocol-Version", "2026-07-28")], body)
}

/// A server that streams: one event each time a gate opens.
fn streaming(gates: &[Gate]) -> Scripted {
    let gates = gates.to_vec();
    Scripted::start(move |exchange| {
        exchange.event_stream()?;
        for (number, gate) in gates.iter().enumerate() {
            gate.wait("time has passed");
            exchange.chunk(event(number))?;
        }
        exchange.client_left().map(drop)
    })
}

fn event(number: usize) -> String {
    format!("data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\",\"params\":{{\"n\":{number}}}}}\n\n")
}

#[track_caller]
fn check_lives(request: &[u8], has_policy: bool) {
    let gates = [Gate::default(), Gate::default(), Gate::default()];
    let upstream = streaming(&gates);
    let proxy = Still::before(&upstream, has_policy);
    let mut client = proxy.open(request);
    assert_eq!(client.head().unwrap().status(), 200);
    for ((number, gate), minutes) in gates.iter().enumerate().zip([5, 30, 59]) {
        proxy.pass(minutes * MINUTE);
        gate.open();
        let passed = client.body_until("\n\n").unwrap();
        assert_eq!(String::from_utf8(passed).unwrap(), event(number), "after {minutes} silent minutes");
    }
}

#[test]
fn a_stream_may_be_silent_for_almost_an_hour_again_and_again() {
    for has_policy in [false, true] {
        check_lives(&get(), has_policy);
        check_lives(&listen(), has_policy);
    }
}

#[test]
fn a_stream_that_is_silent_for_over_an_hour_is_cut() {
    for has_policy in [false, true] {
        let upstream = streaming(&[]);
        let proxy = Still::before(&upstream, has_policy);
        let mut client = proxy.open(&get());
        assert_eq!(client.head().unwrap().status(), 200);
        proxy.pass(61 * MINUTE);
        client.body().expect_err("a stream that is given up must not look finished");
    }
}

/// Asks, lets time pass before the server does what `act` says, and gives what the client gets.
fn after(silence: Duration, act: impl Fn(&mut Exchange) -> anyhow::Result<()> + Send + Sync + 'static) -> (u16, bool) {
    let (arrived, goes_on) = (Gate::default(), Gate::default());
    let upstream = Scripted::start({
        let (arrived, goes_on) = (arrived.clone(), goes_on.clone());
        move |exchange| {
            arrived.open();
            goes_on.wait("time has passed");
            act(exchange)
        }
    });
    let proxy = Still::before(&upstream, false);
    let mut client = proxy.open(&post(&[], CALL));
    arrived.wait("the request is upstream");
    proxy.pass(silence);
    goes_on.open();
    let head = client.head().unwrap();
    (head.status(), client.body().is_ok_and(|body| body == RESULT.as_bytes()))
}

#[test]
fn a_tool_may_think_for_almost_five_minutes() {
    assert_eq!(after(5 * MINUTE - Duration::from_secs(1), |exchange| exchange.json(200, RESULT)), (200, true));
    assert_eq!(after(5 * MINUTE + Duration::from_secs(1), |exchange| exchange.json(200, RESULT)), (504, false));
}

#[test]
fn a_document_may_pause_for_almost_five_minutes() {
    let check = |silence: Duration, is_whole: bool| {
        let goes_on = Gate::default();
        let upstream = Scripted::start({
            let goes_on = goes_on.clone();
            move |exchange| {
                exchange.chunked(200, &[("Content-Type", "application/json")])?;
                exchange.chunk(&RESULT[..10])?;
                goes_on.wait("time has passed");
                exchange.chunk(&RESULT[10..])?;
                exchange.end()
            }
        });
        let proxy = Still::before(&upstream, false);
        let mut client = proxy.open(&post(&[], CALL));
        client.head().unwrap();
        client.body_until(&RESULT[..10]).unwrap();
        proxy.pass(silence);
        goes_on.open();
        assert_eq!(client.body().is_ok(), is_whole, "{silence:?}");
    };
    check(5 * MINUTE - Duration::from_secs(1), true);
    check(5 * MINUTE + Duration::from_secs(1), false);
}

#[test]
fn a_body_of_which_a_byte_comes_now_and_then_is_given_up_as_one_of_which_nothing_comes() {
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let still = Still::before(&upstream, false);
    let mut slow = TcpStream::connect(still.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    slow.write_all(&request("POST", "/mcp", &[("Content-Length", "1000")], b"{")).unwrap();
    wait_until("it is given up", || {
        still.pass(MINUTE);
        slow.write_all(b" ").ok()?;
        slow.peek(&mut [0]).ok()
    });
    let reply = Connection::new(slow).unwrap().reply().unwrap();
    assert_eq!((reply.status(), &reply.json().unwrap()["error"]["data"]["reason"]), (408, &"slow_body".into()));
    assert!(upstream.requests().is_empty());
}

const MIB: usize = 1 << 20;

#[test]
fn an_answer_may_be_taken_slowly_and_then_something_else_be_asked() {
    // Gathered for a policy, so that for the proxy its exchange is over when the first byte is written.
    let upstream = Scripted::start(|exchange| exchange.respond(200, &[("Content-Type", "text/plain")], "x".repeat(15 * MIB).as_bytes()));
    let proxy = Still::before(&upstream, true);
    let mut client = proxy.open(&post(&[], CALL));
    for _ in 0..2 {
        assert_eq!(client.head().unwrap().status(), 200);
        let (mut taken, mut pauses) = (0, 0);
        while let Some(piece) = client.body_piece().unwrap() {
            taken += piece.len();
            // Much longer in all than a connection may be idle, and while much of the answer has still to be written.
            if taken > MIB / 2 * pauses && pauses < 12 {
                pauses += 1;
                proxy.pass(MINUTE / 4);
            }
        }
        assert_eq!((taken, pauses), (15 * MIB, 12));
        client.send(&post(&[], CALL)).unwrap();
    }
}

#[test]
fn a_client_may_keep_its_connection_for_a_little_over_a_minute() {
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let proxy = Still::before(&upstream, false);
    let mut client = proxy.open(&post(&[], CALL));
    assert_eq!(client.reply().unwrap().status(), 200);
    // The clock goes on in steps of less than a quarter.
    for _ in 0..7 {
        proxy.pass(MINUTE / 6);
    }
    client.send(&post(&[], CALL)).unwrap();
    assert_eq!(client.reply().unwrap().status(), 200);
    // More of them than it takes: the proxy may not have seen each.
    for _ in 0..30 {
        proxy.pass(MINUTE / 6);
    }
    client.wait_for_end().unwrap();
}
