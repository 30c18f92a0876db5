//! Another configuration, other listeners, and the end: what goes on meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use watchgate_proxy::{AuthConfig, EndpointConfig, GuardConfig, Limits, Mount, ProxyConfig, ServerConfig, ServerLimits, UpstreamTls};
use watchgate_tests::http1::request;
use watchgate_tests::upstream::nobody;
use watchgate_tests::{Connection, Gate, Scripted, wait_until};

use crate::admission::{KEY, key};
use crate::rig::{CALL, Conditions, RESULT, Rig, config, named, post, server};

fn answering() -> Scripted {
    Scripted::start(|exchange| exchange.json(200, RESULT))
}

/// A server whose streams say `data: 1` at once and `data: 2` when the gate opens, and whose calls with `X-Hold` wait for it.
fn waiting(gate: &Gate) -> Scripted {
    let gate = gate.clone();
    Scripted::start(move |exchange| {
        if exchange.request.head.header("x-stream").is_some() {
            exchange.event_stream()?;
            exchange.chunk("data: 1\n\n")?;
            gate.wait("the reload");
            exchange.chunk("data: 2\n\n")?;
            return exchange.end();
        }
        if exchange.request.head.header("x-hold").is_some() {
            gate.wait("the reload");
        }
        exchange.json(200, RESULT)
    })
}

fn mounted(name: &str, address: SocketAddr) -> ServerConfig {
    named(name, Mount::Prefix, &[address])
}

fn ask(connection: &mut Connection, target: &str) -> u16 {
    connection.send(&request("POST", target, &[], CALL.as_bytes())).unwrap();
    connection.reply().unwrap().status()
}

fn open(rig: &Rig, target: &str, header: &str) -> Connection {
    let mut connection = rig.connect();
    connection.send(&request("POST", target, &[(header, "1")], CALL.as_bytes())).unwrap();
    connection
}

#[test]
fn servers_are_swapped_while_a_stream_stays_open_and_a_call_finishes() {
    let gate = Gate::default();
    let (old, new) = (waiting(&gate), answering());
    let rig = Rig::new(config(vec![mounted("old", old.address())]));
    let mut stream = open(&rig, "/old/mcp", "X-Stream");
    assert_eq!(stream.head().unwrap().status(), 200);
    assert_eq!(stream.body_until("\n\n").unwrap(), b"data: 1\n\n");
    let mut held = open(&rig, "/old/mcp", "X-Hold");
    wait_until("it has come", || (old.requests().len() == 2).then_some(()));
    let mut kept = rig.connect();
    assert_eq!((ask(&mut kept, "/old/mcp"), ask(&mut kept, "/new/mcp")), (200, 502));
    rig.apply(config(vec![mounted("new", new.address())]));
    assert_eq!((ask(&mut kept, "/old/mcp"), ask(&mut kept, "/new/mcp")), (502, 200), "on the connection from before");
    gate.open();
    assert_eq!(held.reply().unwrap().text(), RESULT);
    assert_eq!(stream.body().unwrap(), b"data: 2\n\n");
    assert_eq!((old.requests().len(), new.requests().len()), (3, 1));
}

#[test]
fn the_series_of_a_server_go_with_it_and_do_not_come_back_with_its_last_exchange() {
    let gate = Gate::default();
    let (old, new) = (waiting(&gate), answering());
    let rig = Rig::new(config(vec![mounted("old", old.address())]));
    let shows = |text: &str| rig.metrics().text().contains(text);
    let mut held = open(&rig, "/old/mcp", "X-Hold");
    wait_until("it has come", || (old.requests().len() == 1).then_some(()));
    assert!(shows("server=\"old\"") && shows(&old.address().to_string()));
    rig.apply(config(vec![mounted("new", new.address())]));
    assert!(!shows("server=\"old\"") && shows("server=\"new\""));
    gate.open();
    assert_eq!(held.reply().unwrap().status(), 200);
    drop(held);
    wait_until("its connection has ended", || (rig.metrics().metric("watchgate_connections_open", &[]) == 0.0).then_some(()));
    assert!(!shows("server=\"old\"") && !shows(&old.address().to_string()));
    rig.apply(config(vec![mounted("old", old.address())]));
    assert_eq!(ask(&mut rig.connect(), "/old/mcp"), 200);
    let metrics = rig.metrics();
    assert_eq!(metrics.metric("watchgate_http_requests_total", &[("server", "old")]), 1.0, "it begins anew");
}

#[test]
fn endpoints_come_and_go_and_the_ones_that_stay_keep_what_they_have() {
    let upstreams = [answering(), answering(), answering()];
    let [first, second, third] = upstreams.each_ref().map(Scripted::address);
    let rig = Rig::new(config(vec![server(&[first, second])]));
    let counts = || upstreams.each_ref().map(|upstream| upstream.requests().len());
    let call_often = || (0..40).for_each(|_| assert_eq!(rig.call().status(), 200));
    call_often();
    assert_eq!(counts()[2], 0);
    rig.apply(config(vec![server(&[second, third])]));
    let before = counts();
    call_often();
    let after = counts();
    assert!(after[0] == before[0] && after[1] > before[1] && after[2] > before[2], "{before:?} {after:?}");
    let shown = |endpoint: SocketAddr| rig.metrics().find("watchgate_endpoint_requests_total", &[("endpoint", &endpoint.to_string())]);
    assert_eq!(shown(first), None);
    assert_eq!(shown(second), Some(after[1] as f64), "counted on");
}

#[test]
fn an_endpoint_that_is_passed_over_is_so_under_the_next_configuration_too() {
    let alive = answering();
    let dead = nobody();
    let mut settings = server(&[alive.address(), dead]);
    settings.ejection.base = Duration::from_secs(600);
    settings.breaker.enabled = false;
    let rig = Rig::under(Conditions { without_housekeeping: true, ..Conditions::default() }, config(vec![settings.clone()]));
    let endpoint = dead.to_string();
    let shown = |name: &str| rig.metrics().metric(name, &[("endpoint", &endpoint)]);
    wait_until("it is found out", || {
        assert_eq!(rig.call().status(), 200);
        (shown("watchgate_endpoint_ejected") == 1.0).then_some(())
    });
    settings.timeouts.head = Duration::from_secs(77);
    rig.apply(config(vec![settings]));
    (0..20).for_each(|_| assert_eq!(rig.call().status(), 200));
    let numbers = ["watchgate_endpoint_ejected", "watchgate_endpoint_ejections_total"].map(shown);
    let failed = rig.metrics().metric("watchgate_endpoint_requests_total", &[("endpoint", &endpoint), ("result", "connect_failed")]);
    assert_eq!((numbers, failed), ([1.0, 1.0], 5.0));
}

#[test]
fn a_server_that_did_not_change_keeps_its_connections() {
    let (same, other) = (answering(), answering());
    let rig = Rig::new(config(vec![mounted("same", same.address()), mounted("other", other.address())]));
    let mut client = rig.connect();
    for round in 0..5 {
        assert_eq!((ask(&mut client, "/same/mcp"), ask(&mut client, "/other/mcp")), (200, 200));
        let mut changed = mounted("other", other.address());
        changed.timeouts.head = Duration::from_secs(60 + round);
        rig.apply(config(vec![mounted("same", same.address()), changed]));
    }
    assert_eq!((same.connections(), other.connections()), (1, 5));
}

#[test]
fn what_cannot_be_used_changes_nothing() {
    let upstream = answering();
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let address = upstream.address();
    let bad_authority = EndpointConfig { authority: "a\nb".into(), host: "a".into(), port: 1, tls: false };
    let bad_tls = EndpointConfig { tls: true, ..EndpointConfig::http(address.ip(), address.port()) };
    for endpoint in [bad_authority, bad_tls] {
        let mut wrong = mounted("wrong", address);
        wrong.endpoints = vec![endpoint];
        wrong.tls = UpstreamTls { ca: Some("/no/such/file.pem".into()), ..UpstreamTls::default() };
        assert!(rig.control.prepare(config(vec![wrong])).is_err());
    }
    assert_eq!(rig.call().text(), RESULT);
    assert!(!rig.metrics().text().contains("server=\"wrong\""), "nothing is left of what was not applied");
}

#[test]
fn the_guard_the_gate_and_the_limits_are_those_of_now() {
    let upstream = answering();
    let open = config(vec![server(&[upstream.address()])]);
    let rig = Rig::new(open.clone());
    let mut kept = rig.connect();
    let mut status = |headers: &[(&str, &str)], body: &str| {
        kept.send(&post(headers, body)).unwrap();
        kept.reply().unwrap().status()
    };
    assert_eq!(status(&[], CALL), 200);
    let auth = AuthConfig { keys: vec![key("ann", KEY)], jwt: None, pass_authorization: false };
    rig.apply(ProxyConfig { auth: Some(auth), ..open.clone() });
    assert_eq!(status(&[], CALL), 401);
    assert_eq!(status(&[("Authorization", &format!("Bearer {KEY}"))], CALL), 200);
    rig.apply(ProxyConfig { guard: GuardConfig::loopback(), ..open.clone() });
    assert_eq!(status(&[("Origin", "http://evil.test")], CALL), 403);
    assert_eq!(status(&[], CALL), 200);
    rig.apply(open);
    assert_eq!(status(&[("Origin", "http://evil.test")], CALL), 200);
    let mut tight = server(&[upstream.address()]);
    tight.limits = ServerLimits { message: 10, ..ServerLimits::default() };
    rig.apply(config(vec![tight]));
    assert_eq!(status(&[], CALL), 413);
}

#[test]
fn fewer_and_more_connections_may_be_open() {
    let upstream = answering();
    let with =
        |connections| ProxyConfig { limits: Limits { connections, ..Limits::default() }, ..config(vec![server(&[upstream.address()])]) };
    let rig = Rig::new(with(2));
    let mut first = rig.connect();
    let mut second = rig.connect();
    assert_eq!((ask(&mut first, "/mcp"), ask(&mut second, "/mcp")), (200, 200));
    rig.apply(with(1));
    assert_eq!((ask(&mut first, "/mcp"), ask(&mut second, "/mcp")), (200, 200), "those that are open stay");
    drop(first);
    rig.wait_for("watchgate_connections_open", &[], 1.0);
    let mut third = rig.open(&[], CALL);
    assert_eq!(ask(&mut second, "/mcp"), 200);
    assert_eq!(upstream.requests().len(), 5, "nobody follows the first");
    rig.apply(with(3));
    assert_eq!(third.reply().unwrap().status(), 200);
    assert_eq!(rig.call().status(), 200);
}

#[test]
fn a_listener_that_is_added_takes_clients_and_one_that_is_closed_takes_none() {
    let gate = Gate::default();
    let upstream = waiting(&gate);
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let added = rig.listen(None, true);
    let send = |headers: &[(&str, &str)]| {
        let mut connection = Connection::open(added).unwrap();
        connection.send(&post(headers, CALL)).unwrap();
        connection
    };
    let mut idle = send(&[]);
    assert_eq!(idle.reply().unwrap().status(), 200);
    let (mut held, mut stream) = (send(&[("X-Hold", "1")]), send(&[("X-Stream", "1")]));
    assert_eq!(stream.head().unwrap().status(), 200);
    wait_until("both have come", || (upstream.requests().len() == 3).then_some(()));
    let mut unused = Connection::open(added).unwrap();
    rig.control.close_listener(&added.to_string());
    idle.wait_for_end().unwrap();
    unused.wait_for_end().unwrap();
    wait_until("nobody is accepted", || Connection::open(added).is_err().then_some(()));
    assert_eq!(rig.call().status(), 200, "the other listener goes on");
    gate.open();
    let reply = held.reply().unwrap();
    assert_eq!((reply.text().as_str(), reply.head.header("connection")), (RESULT, Some("close")));
    held.wait_for_end().unwrap();
    assert_eq!(stream.body().unwrap(), b"data: 1\n\ndata: 2\n\n");
    stream.wait_for_end().unwrap();
}

#[test]
fn a_listener_can_be_closed_and_opened_at_the_same_address() {
    let upstream = answering();
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let mut kept = rig.open(&[], CALL);
    kept.reply().unwrap();
    rig.control.close_listener(&rig.address.to_string());
    kept.wait_for_end().unwrap();
    drop(kept);
    let settings = watchgate_proxy::ListenerConfig { address: rig.address.to_string(), tls: None, http2: true };
    rig.runtime().block_on(async {
        // The socket of before closes when its task has heard of it.
        let socket = loop {
            match tokio::net::TcpListener::bind(rig.address).await {
                Ok(socket) => break socket,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        rig.control.listen(rig.control.prepare_listener(&settings).unwrap(), socket);
    });
    assert_eq!(rig.call().text(), RESULT);
}
