//! Bounds on the use of a server and of the gateway: what is refused, how, and how it is counted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::HeaderName;
use watchgate_proxy::{AuthConfig, ClientAddresses, Limits, ProxyConfig, RateKey, RateLimit, ServerLimits, Timeouts};
use watchgate_tests::http1::request;
use watchgate_tests::{Connection, Gate, Reply, Scripted, wait_until};

use crate::admission::{KEY, key};
use crate::rig::{CALL, RESULT, Rig, check_fault, config, post, server};
use crate::tls_peers::{Authority, Files, trusting, tunnel};

pub fn answering() -> Scripted {
    Scripted::start(|exchange| exchange.json(200, RESULT))
}

/// Holds calls with `X-Hold` until the gate opens; `X-Stream` opens a stream that stays until the client leaves.
pub fn holding(release: &Gate) -> Scripted {
    let release = release.clone();
    Scripted::start(move |exchange| {
        if exchange.request.head.header("x-stream").is_some() {
            exchange.event_stream()?;
            exchange.chunk(": open\n\n")?;
            return exchange.client_left().map(drop);
        }
        if exchange.request.head.header("x-hold").is_some() {
            release.wait("the calls in between");
        }
        exchange.json(200, RESULT)
    })
}

pub fn limited(address: SocketAddr, limits: ServerLimits) -> ProxyConfig {
    let mut server = server(&[address]);
    server.limits = limits;
    config(vec![server])
}

/// The last word counted of a limit: in the family of all limits, and in its own where it has one.
#[track_caller]
pub fn check_counted(rig: &Rig, limit: &str, own: Option<&str>, expected: f64) {
    let metrics = rig.metrics();
    assert_eq!(metrics.metric("watchgate_limited_total", &[("server", "only"), ("limit", limit)]), expected);
    if let Some(own) = own {
        assert_eq!(metrics.metric(own, &[("server", "only")]), expected);
    }
}

#[track_caller]
fn check_saturated(reply: &Reply) {
    check_fault(reply, 503, -31005, "saturated");
    assert_eq!(reply.head.header("retry-after"), Some("1"));
}

#[test]
fn more_calls_at_once_than_the_server_may_have_are_refused() {
    let release = Gate::default();
    let upstream = holding(&release);
    let rig = Rig::new(limited(upstream.address(), ServerLimits { concurrency: Some(2), ..ServerLimits::default() }));
    let mut held = [rig.open(&[("X-Hold", "1")], CALL), rig.open(&[("X-Hold", "1")], CALL)];
    wait_until("both have come", || (upstream.requests().len() == 2).then_some(()));
    check_saturated(&rig.call());
    check_saturated(&rig.call());
    assert_eq!(upstream.requests().len(), 2);
    check_counted(&rig, "concurrency", Some("watchgate_concurrency_limited_total"), 2.0);
    release.open();
    for held in &mut held {
        assert_eq!(held.reply().unwrap().status(), 200);
    }
    assert_eq!(rig.call().status(), 200);
    check_counted(&rig, "concurrency", Some("watchgate_concurrency_limited_total"), 2.0);
}

#[test]
fn a_client_that_leaves_and_a_stream_give_their_place_back() {
    let release = Gate::default();
    let upstream = holding(&release);
    let rig = Rig::new(limited(upstream.address(), ServerLimits { concurrency: Some(1), ..ServerLimits::default() }));
    let leaving = rig.open(&[("X-Hold", "1")], CALL);
    wait_until("it has come", || (upstream.requests().len() == 1).then_some(()));
    check_saturated(&rig.call());
    drop(leaving);
    wait_until("the place is free", || (rig.call().status() == 200).then_some(()));
    let mut stream = rig.open(&[("X-Stream", "1")], LISTEN);
    stream.head().unwrap();
    assert_eq!(rig.call().status(), 200, "a stream that is one by its nature takes no place");
    let mut call = rig.open(&[("X-Stream", "1")], CALL);
    call.head().unwrap();
    check_saturated(&rig.call());
    release.open();
}

#[test]
fn a_client_that_has_sent_more_than_it_asked_is_seen_to_leave() {
    let (authority, files) = (Authority::new("ours"), Files::new());
    let tls = files.listener(&authority.issue(&["localhost"], 2040), None);
    // Sent with the request, or while it is being answered.
    for (with, after) in
        [(&b"\r\n"[..], &b""[..]), (b"", b"\r\n"), (b"", &post(&[], CALL)), (&post(&[], CALL), b""), (b"", &[b'x'; 20_000])]
    {
        let upstream = Scripted::start(|exchange| exchange.client_left().map(drop));
        let rig = Rig::new(limited(upstream.address(), ServerLimits::default()));
        let through_tls = tunnel(rig.runtime(), trusting(&authority, None, &[]), rig.listen(Some(tls.clone()), false));
        for address in [rig.address, through_tls] {
            let quickest = (0..5).map(|_| time_to_notice(&rig, &upstream, address, with, after)).min().unwrap();
            assert!(quickest < Duration::from_millis(50), "noticed after {quickest:?}");
        }
    }
}

/// Asks, sends `with` at once and `after` when the server has the request, leaves, and says after how long nothing was left of it.
fn time_to_notice(rig: &Rig, upstream: &Scripted, address: SocketAddr, with: &[u8], after: &[u8]) -> Duration {
    let asked = upstream.requests().len();
    let mut leaving = Connection::open(address).unwrap();
    leaving.send(&[&post(&[], CALL), with].concat()).unwrap();
    wait_until("it has come", || (upstream.requests().len() == asked + 1).then_some(()));
    leaving.send(after).unwrap();
    assert_eq!(rig.metrics().metric("watchgate_http_requests_in_flight", &[]), 1.0);
    let left = Instant::now();
    drop(leaving);
    wait_until("the server is told", || (upstream.open() == 0).then_some(()));
    rig.wait_for("watchgate_connections_open", &[], 0.0);
    rig.wait_for("watchgate_http_requests_in_flight", &[], 0.0);
    left.elapsed()
}

/// Asks for a stream without end.
pub const LISTEN: &str = r#"{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{}}"#;

/// Requests one a thousand seconds, two at once.
pub fn rated(address: SocketAddr, by: RateKey) -> ProxyConfig {
    let rate = RateLimit { per_second: 0.001, burst: 2, by };
    limited(address, ServerLimits { rate: Some(rate), ..ServerLimits::default() })
}

/// Two pass, the third does not.
#[track_caller]
fn check_rate(rig: &Rig, headers: &[(&str, &str)]) {
    for _ in 0..2 {
        assert_eq!(rig.post_with(headers, CALL).status(), 200, "{headers:?}");
    }
    check_over_rate(rig, headers);
}

#[track_caller]
fn check_over_rate(rig: &Rig, headers: &[(&str, &str)]) {
    let reply = rig.post_with(headers, CALL);
    check_fault(&reply, 429, -31003, "rate_limited");
    let seconds: u32 = reply.head.header("retry-after").unwrap().parse().unwrap();
    assert!((900..=1000).contains(&seconds), "{seconds}");
}

#[test]
fn requests_of_one_address_are_limited() {
    let upstream = answering();
    let rig = Rig::new(rated(upstream.address(), RateKey::Address));
    check_rate(&rig, &[]);
    check_over_rate(&rig, &[("X-Forwarded-For", "192.0.2.9")]);
    check_counted(&rig, "rate", Some("watchgate_rate_limited_total"), 2.0);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn behind_a_trusted_proxy_the_address_is_the_one_it_saw() {
    let upstream = answering();
    let clients = ClientAddresses { trusted_hops: 1 };
    let rig = Rig::new(ProxyConfig { clients, ..rated(upstream.address(), RateKey::Address) });
    check_rate(&rig, &[("X-Forwarded-For", "192.0.2.1")]);
    check_rate(&rig, &[("X-Forwarded-For", "192.0.2.1, 192.0.2.2")]);
    check_over_rate(&rig, &[("X-Forwarded-For", "192.0.2.3, 192.0.2.2")]);
}

#[test]
fn requests_with_one_value_of_a_header_are_limited() {
    let upstream = answering();
    let rig = Rig::new(rated(upstream.address(), RateKey::Header(HeaderName::from_static("x-tenant"))));
    check_rate(&rig, &[("X-Tenant", "a")]);
    check_rate(&rig, &[("X-Tenant", "b")]);
    // Without it the address counts.
    check_rate(&rig, &[]);
}

#[test]
fn requests_of_one_session_are_limited() {
    // As servers with sessions do, it names the session in each answer.
    let upstream = Scripted::start(|exchange| {
        let session = exchange.request.head.header("mcp-session-id").unwrap_or("new").to_owned();
        exchange.respond(200, &[("Content-Type", "application/json"), ("Mcp-Session-Id", &session)], RESULT.as_bytes())
    });
    let rig = Rig::new(rated(upstream.address(), RateKey::Session));
    // An id that the server has not answered to yet counts by the client's address: anybody can make up another.
    for session in ["one", "two"] {
        assert_eq!(rig.post_with(&[("Mcp-Session-Id", session)], CALL).status(), 200);
    }
    check_rate(&rig, &[("Mcp-Session-Id", "one")]);
    check_rate(&rig, &[("Mcp-Session-Id", "two")]);
    check_over_rate(&rig, &[("Mcp-Session-Id", "three")]);
    check_over_rate(&rig, &[]);
}

#[test]
fn requests_of_one_client_are_limited_whatever_key_it_shows() {
    let upstream = answering();
    let auth = AuthConfig { keys: vec![key("ann", KEY), key("ann", "another"), key("bob", "third")], jwt: None, pass_authorization: false };
    let rig = Rig::new(ProxyConfig { auth: Some(auth), ..rated(upstream.address(), RateKey::Client) });
    let with = |key: &str| rig.post_with(&[("Authorization", &format!("Bearer {key}"))], CALL);
    assert_eq!(with(KEY).status(), 200);
    assert_eq!(with("another").status(), 200);
    check_fault(&with(KEY), 429, -31003, "rate_limited");
    assert_eq!(with("third").status(), 200);
}

#[test]
fn tokens_come_back_in_time() {
    let upstream = answering();
    let rate = RateLimit { per_second: 10.0, burst: 1, by: RateKey::Address };
    let rig = Rig::new(limited(upstream.address(), ServerLimits { rate: Some(rate), ..ServerLimits::default() }));
    assert_eq!(rig.call().status(), 200);
    let refused = wait_until("one comes too early", || Some(rig.call()).filter(|reply| reply.status() != 200));
    check_fault(&refused, 429, -31003, "rate_limited");
    assert_eq!(refused.head.header("retry-after"), Some("1"));
    wait_until("a token has come", || (rig.call().status() == 200).then_some(()));
}

#[test]
fn more_streams_of_one_client_than_it_may_have_are_refused() {
    let upstream = holding(&Gate::default());
    let limits = ServerLimits { streams_per_client: Some(2), ..ServerLimits::default() };
    let rig = Rig::new(ProxyConfig { clients: ClientAddresses { trusted_hops: 1 }, ..limited(upstream.address(), limits) });
    let open = |client: &str| rig.open(&[("X-Stream", "1"), ("X-Forwarded-For", client)], LISTEN);
    let mut first = open("192.0.2.1");
    let mut second = open("192.0.2.1");
    assert_eq!((first.head().unwrap().status(), second.head().unwrap().status()), (200, 200));
    let refused = open("192.0.2.1").reply().unwrap();
    check_fault(&refused, 429, -31003, "too_many_streams");
    assert_eq!(refused.head.header("retry-after"), Some("5"));
    check_counted(&rig, "streams", Some("watchgate_streams_limited_total"), 1.0);
    assert_eq!(upstream.requests().len(), 2, "what is refused never runs");
    assert_eq!(rig.post_with(&[("X-Forwarded-For", "192.0.2.1")], CALL).status(), 200, "what is no stream is not counted");
    let mut other = open("192.0.2.2");
    assert_eq!(other.head().unwrap().status(), 200);
    drop(first);
    wait_until("the place is free", || (open("192.0.2.1").head().unwrap().status() == 200).then_some(()));
}

#[test]
fn a_body_over_the_cap_is_refused_however_it_says_its_length() {
    let upstream = answering();
    let rig = Rig::new(limited(upstream.address(), ServerLimits { message: 1000, ..ServerLimits::default() }));
    let fits = format!("{CALL:1000}");
    assert_eq!(rig.post(&fits).status(), 200);
    let over = format!("{CALL:1001}");
    let mut chunked = rig.connect();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    chunked.send(format!("{head}3e9\r\n{over}\r\n0\r\n\r\n").as_bytes()).unwrap();
    for reply in [rig.post(&over), chunked.reply().unwrap()] {
        let error = reply.json().unwrap()["error"].clone();
        assert_eq!((reply.status(), error["code"].as_i64()), (413, Some(-31002)));
        assert_eq!(error["data"]["reason"], "request_too_large");
        assert_eq!(reply.head.header("connection"), Some("close"));
    }
    check_counted(&rig, "request_size", None, 2.0);
    assert_eq!(upstream.requests().len(), 1);
}

/// A client that waits to be told before it sends its body.
#[track_caller]
fn check_not_told_to_send(config: ProxyConfig, expected: u16) {
    let rig = Rig::new(config);
    let mut client = rig.connect();
    client.send(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().status(), expected);
}

#[test]
fn who_asks_before_sending_is_told_to_only_where_the_body_is_wanted() {
    let upstream = answering();
    check_not_told_to_send(limited(upstream.address(), ServerLimits { message: 1000, ..ServerLimits::default() }), 413);
    let auth = AuthConfig { keys: vec![key("ann", KEY)], jwt: None, pass_authorization: false };
    check_not_told_to_send(ProxyConfig { auth: Some(auth), ..config(vec![server(&[upstream.address()])]) }, 401);
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let mut client = rig.connect();
    let head = format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", CALL.len());
    client.send(head.as_bytes()).unwrap();
    assert_eq!(client.head().unwrap().status(), 100);
    client.send(CALL.as_bytes()).unwrap();
    assert_eq!(client.reply().unwrap().text(), RESULT);
    assert_eq!(upstream.requests()[0].head.header("expect"), None);
}

#[test]
fn heads_with_too_many_fields_or_bytes_are_refused() {
    let upstream = answering();
    let limits = Limits { headers: 20, header_bytes: 8192, ..Limits::default() };
    let rig = Rig::new(ProxyConfig { limits, ..config(vec![server(&[upstream.address()])]) });
    let names: Vec<String> = (0..30).map(|number| format!("X-{number}")).collect();
    let few: Vec<(&str, &str)> = names[..10].iter().map(|name| (name.as_str(), "v")).collect();
    assert_eq!(rig.post_with(&few, CALL).status(), 200);
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    assert_eq!(rig.post_with(&many, CALL).status(), 431);
    let large = "v".repeat(9000);
    assert_eq!(rig.post_with(&[("X-Large", &large)], CALL).status(), 431);
    rig.wait_for("watchgate_connections_refused_total", &[("reason", "head_too_large")], 2.0);
    rig.wait_for("watchgate_limited_total", &[("server", "_other"), ("limit", "request_headers")], 2.0);
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_head_that_does_not_come_in_time_ends_its_connection() {
    let upstream = answering();
    let timeouts = Timeouts { client_head: Duration::from_millis(200), ..Timeouts::default() };
    let rig = Rig::new(ProxyConfig { timeouts, ..config(vec![server(&[upstream.address()])]) });
    let mut silent = rig.connect();
    let mut slow = rig.connect();
    slow.send(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    silent.wait_for_end().unwrap();
    slow.wait_for_end().unwrap();
    rig.wait_for("watchgate_connections_refused_total", &[("reason", "slow_head")], 2.0);
    // One that has asked, and asks nothing more, is only over.
    let mut used = rig.connect();
    used.send(&post(&[], CALL)).unwrap();
    assert_eq!(used.reply().unwrap().status(), 200);
    used.wait_for_end().unwrap();
    rig.wait_for("watchgate_connections_open", &[], 0.0);
    rig.wait_for("watchgate_connections_refused_total", &[("reason", "slow_head")], 2.0);
}

#[test]
fn half_a_head_ends_with_the_time_for_it_also_while_the_proxy_drains() {
    let upstream = answering();
    let timeouts = Timeouts { client_head: Duration::from_millis(300), drain: Duration::from_secs(600), ..Timeouts::default() };
    let mut rig = Rig::new(ProxyConfig { timeouts, ..config(vec![server(&[upstream.address()])]) });
    // Before it has asked once, it is not idle.
    let mut half = rig.connect();
    half.send(b"POST /mcp HTTP/1.1\r\nHost:").unwrap();
    rig.wait_for("watchgate_connections_open", &[], 1.0);
    let draining = rig.drain();
    half.wait_for_end().unwrap();
    crate::rig::wait_for_drain(&draining);
}

#[test]
fn a_body_that_does_not_come_in_time_is_answered() {
    let upstream = answering();
    let timeouts = Timeouts { client_body: Duration::from_millis(200), ..Timeouts::default() };
    let rig = Rig::new(ProxyConfig { timeouts, ..config(vec![server(&[upstream.address()])]) });
    let mut slow = rig.connect();
    slow.send(&request("POST", "/mcp", &[("Content-Length", "100")], b"{")).unwrap();
    let reply = slow.reply().unwrap();
    assert_eq!((reply.status(), reply.json().unwrap()["error"]["code"].as_i64()), (408, Some(-31006)));
    assert_eq!(reply.head.header("connection"), Some("close"), "what follows cannot be found");
    assert!(upstream.requests().is_empty());
}
