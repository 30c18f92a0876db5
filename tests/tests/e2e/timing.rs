//! Promises that have a clock in them, and those about large and broken events, each measured beside a direct connection in the same run.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::plugins::stock;
use watchgate_tests::{Connection, DEADLINE, Exchange, Gateway, PluginFolder, Scripted, wait_until};

use crate::guarded::{KEY, MASK};
use crate::messages::{event, tool_call, tool_result};

/// Tries of which the median counts.
const TRIES: usize = 15;
/// A machine that is busy elsewhere spoils a round; a gateway that is too slow spoils them all.
const ROUNDS: usize = 5;

/// A server whose moments come out of a channel.
struct Timed {
    server: Scripted,
    moments: Receiver<Instant>,
}

impl Timed {
    /// `act` gets what notes a moment.
    fn start(act: impl Fn(&mut Exchange, &dyn Fn()) -> anyhow::Result<()> + Send + Sync + 'static) -> Self {
        let (noted, moments) = channel();
        let noted = Mutex::new(noted);
        let server = Scripted::start(move |exchange| {
            let noted = noted.lock().unwrap().clone();
            let note = || {
                // Fails when nobody waits any more.
                let _ = noted.send(Instant::now());
            };
            act(exchange, &note)
        });
        Self { server, moments }
    }

    fn moment(&self) -> Instant {
        self.moments.recv_timeout(DEADLINE).unwrap()
    }
}

fn ask(address: SocketAddr, method: &str) -> Connection {
    let mut client = Connection::open(address).unwrap();
    let body = if method == "GET" { String::new() } else { tool_call(1, "t").to_string() };
    client.send(&request(method, "/mcp", &MCP_POST, body.as_bytes())).unwrap();
    client
}

/// The median of what `measure` gives for this address, less that of the direct way, must stay below `bound` in one of some rounds.
#[track_caller]
fn check_added(what: &str, server: &Timed, bound: Duration, measure: impl Fn(SocketAddr) -> Duration) {
    let gateway = Gateway::before(&server.server.url());
    // The first exchange opens connections; it is nobody's usual case.
    measure(gateway.traffic);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (mut direct, mut through): (Vec<_>, Vec<_>) =
            (0..TRIES).map(|_| (measure(server.server.address()), measure(gateway.traffic))).unzip();
        direct.sort_unstable();
        through.sort_unstable();
        let (direct, through) = (direct[TRIES / 2], through[TRIES / 2]);
        rounds.push((direct, through));
        if through.saturating_sub(direct) < bound {
            eprintln!("{what}: {direct:?} directly, {through:?} through the gateway");
            return;
        }
    }
    panic!("{what}: more than {bound:?} was added in every round (direct, through): {rounds:?}");
}

/// How long it takes the server to see that the client has left.
fn check_cancellation(
    what: &str,
    method: &str,
    begin: impl Fn(&mut Exchange) -> anyhow::Result<()> + Send + Sync + 'static,
    has_head: bool,
) {
    let server = Timed::start(move |exchange, note| {
        begin(exchange)?;
        note();
        exchange.client_left()?;
        note();
        Ok(())
    });
    check_added(what, &server, Duration::from_millis(50), |address| {
        let mut client = ask(address, method);
        if has_head {
            client.head().unwrap();
        }
        server.moment();
        let left = Instant::now();
        drop(client);
        server.moment().saturating_duration_since(left)
    });
}

#[test]
fn a_cancelled_request_is_cancelled_upstream_within_50_ms() {
    check_cancellation("cancelled before the head", "POST", |_| Ok(()), false);
    check_cancellation("cancelled in a silent stream", "POST", Exchange::event_stream, true);
    check_cancellation(
        "cancelled in a stream with events",
        "POST",
        |exchange| exchange.event_stream().and_then(|()| exchange.chunk(event("{}"))),
        true,
    );
    check_cancellation("left a GET stream", "GET", Exchange::event_stream, true);
    check_cancellation(
        "cancelled in a document",
        "POST",
        |exchange| exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"),
        true,
    );
}

/// How long the first event takes from being written to being read, alone or in one piece with the head.
fn check_first_event(what: &str, method: &'static str, is_with_head: bool) {
    let server = Timed::start(move |exchange, note| {
        let first = event(&tool_result(&1.into(), "done"));
        let chunk = format!("{:x}\r\n{first}\r\n", first.len());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        if is_with_head {
            note();
            exchange.write(format!("{head}{chunk}").as_bytes())?;
        } else {
            exchange.write(head.as_bytes())?;
            note();
            exchange.write(chunk.as_bytes())?;
        }
        exchange.client_left().map(drop)
    });
    check_added(what, &server, Duration::from_millis(5), |address| {
        let mut client = ask(address, method);
        client.head().unwrap();
        client.body_until("\n\n").unwrap();
        let read = Instant::now();
        read.saturating_duration_since(server.moment())
    });
}

#[test]
fn the_first_event_is_delivered_within_5_ms() {
    check_first_event("first event after the head", "POST", false);
    check_first_event("first event with the head", "POST", true);
    check_first_event("first event of a GET stream", "GET", false);
}

#[test]
fn the_head_of_a_silent_stream_is_delivered_within_5_ms() {
    for method in ["POST", "GET"] {
        let server = Timed::start(|exchange, note| {
            note();
            exchange.event_stream()?;
            exchange.client_left().map(drop)
        });
        check_added(&format!("head of a silent stream, {method}"), &server, Duration::from_millis(5), |address| {
            let head = ask(address, method).head().map(|head| head.status());
            let read = Instant::now();
            assert_eq!(head.unwrap(), 200);
            read.saturating_duration_since(server.moment())
        });
    }
}

/// By default a plugin has less memory than four times an event of 5 MB, and on a busy machine hardly the time to read it: then such events are denied.
const ROOMY: &str = "[limits]\nmemory = \"256MiB\"\ncpu = \"10s\"\nwall = \"20s\"\n";

/// A gateway without plugins, or with the stock redaction plugin.
fn gateways(server: &Scripted) -> [(&'static str, Gateway, PluginFolder); 2] {
    let start = |folder: PluginFolder| {
        let gateway = Gateway::start(&["--upstream", &server.url(), "--plugins", folder.path()], Default::default());
        (gateway, folder)
    };
    let (plain, empty) = start(PluginFolder::new());
    let (guarded, folder) = start(PluginFolder::with("redact-secrets", &stock("redact-secrets"), ROOMY));
    guarded.wait_for_generation("redact-secrets", 1);
    [("without plugins", plain, empty), ("with a redaction plugin", guarded, folder)]
}

/// An event with a result of about 5 MB in one line.
fn large_event() -> String {
    let words = "the quick brown fox jumps over \\\"the\\\" lazy dog, again and again; ";
    format!("id: 7\nevent: message\ndata: {}\n\n", tool_result(&1.into(), &words.repeat((5 << 20) / words.len() + 1)))
}

#[test]
fn an_event_of_5_mb_passes_whole() {
    let server = Scripted::start(|exchange| {
        exchange.event_stream()?;
        large_event().as_bytes().chunks(60_000).try_for_each(|piece| exchange.chunk(piece))?;
        exchange.end()
    });
    let expected = large_event();
    for (what, gateway, _folder) in gateways(&server) {
        let reply = ask(gateway.traffic, "POST").reply().unwrap();
        assert_eq!(reply.status(), 200, "{what}");
        assert!(reply.body == expected.as_bytes(), "{what}: {} bytes of {}", reply.body.len(), expected.len());
        let line = wait_until("an access line", || gateway.access_log().pop());
        assert_eq!(line["outcome"], "ok", "{what}: {line}");
    }
}

#[test]
fn a_secret_in_an_event_of_5_mb_is_masked_and_nothing_else_changes() {
    let event = large_event();
    let (before, after) = event.split_at(3 << 20);
    let [secret, masked] = [KEY, MASK].map(|word| format!("{before} {word} {after}"));
    let server = Scripted::start(move |exchange| {
        exchange.event_stream()?;
        secret.as_bytes().chunks(60_000).try_for_each(|piece| exchange.chunk(piece))?;
        exchange.end()
    });
    let [_, (_, gateway, _folder)] = gateways(&server);
    let reply = ask(gateway.traffic, "POST").reply().unwrap();
    assert!(reply.body == masked.as_bytes(), "{} bytes of {}: {:.300}", reply.body.len(), masked.len(), reply.text());
}

const WHOLE: &str = "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
const HALF: &str = "id: 2\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"resu";

/// The client must see a cut, and every event before it.
fn check_cut(what: &str, cut: impl Fn(&mut Exchange) -> anyhow::Result<()> + Send + Sync + 'static) {
    let server = Scripted::start(cut);
    let mut direct = ask(server.address(), "POST");
    direct.head().unwrap();
    direct.body().expect_err("directly it is a cut");
    for (with, gateway, _folder) in gateways(&server) {
        let mut client = ask(gateway.traffic, "POST");
        assert_eq!(client.head().unwrap().status(), 200, "{what}, {with}");
        client.body_until(WHOLE).unwrap();
        assert!(client.body().is_err(), "{what}, {with}: half an event looks like a regular end");
        let line = wait_until("an access line", || gateway.access_log().pop());
        assert_eq!(line["outcome"], "aborted", "{what}, {with}: {line}");
    }
}

#[test]
fn a_stream_cut_in_mid_event_is_cut_for_the_client() {
    fn half(exchange: &mut Exchange) -> anyhow::Result<()> {
        exchange.event_stream()?;
        exchange.chunk(WHOLE)?;
        exchange.chunk(HALF)
    }
    check_cut("closed between chunks", |exchange| half(exchange).map(|()| exchange.close()));
    check_cut("reset between chunks", |exchange| half(exchange).map(|()| exchange.reset()));
    check_cut("closed in a chunk", |exchange| {
        exchange.event_stream()?;
        exchange.chunk(WHOLE)?;
        exchange.write(format!("100\r\n{HALF}").as_bytes())?;
        exchange.close();
        Ok(())
    });
    check_cut("closed before its length", |exchange| {
        exchange
            .write(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 5000\r\n\r\n{WHOLE}{HALF}").as_bytes())?;
        exchange.close();
        Ok(())
    });
}
