//! What a server is told of the host, the address and the scheme that its client used.

use std::net::SocketAddr;

use watchgate_proxy::{ClientAddresses, Forwarded, HostHeader, Mount, ProxyConfig};
use watchgate_tests::http1::{Head, request};
use watchgate_tests::{Reply, Scripted};

use crate::rig::{CALL, RESULT, Rig, config, named, server};

fn answering() -> Scripted {
    Scripted::start(|exchange| exchange.json(200, RESULT))
}

fn ask(rig: &Rig, target: &str, headers: &[(&str, &str)]) -> Reply {
    let mut connection = rig.connect();
    connection.send(&request("POST", target, headers, CALL.as_bytes())).unwrap();
    connection.reply().unwrap()
}

fn check_host(setting: HostHeader, target: &str, host: &str, expected: impl Fn(SocketAddr) -> String) {
    let upstream = answering();
    let mut server = server(&[upstream.address()]);
    server.host = setting.clone();
    let rig = Rig::new(config(vec![server]));
    assert_eq!(ask(&rig, target, &[("Host", host)]).status(), 200);
    let received = &upstream.requests()[0].head;
    let hosts: Vec<&str> = received.headers.iter().filter(|(name, _)| name == "host").map(|(_, value)| value.as_str()).collect();
    assert_eq!((hosts, received.target()), (vec![expected(upstream.address()).as_str()], "/mcp?q=1"), "{setting:?}");
}

#[test]
fn the_host_is_the_clients_the_endpoints_or_a_fixed_one() {
    let clients = |_| "mcp.example.com:8080".to_owned();
    for setting in [HostHeader::Auto, HostHeader::Preserve] {
        check_host(setting.clone(), "/mcp?q=1", "mcp.example.com:8080", clients);
        check_host(setting, "http://mcp.example.com:8080/mcp?q=1", "mcp.example.com:8080", clients);
    }
    check_host(HostHeader::Upstream, "/mcp?q=1", "mcp.example.com:8080", |address| address.to_string());
    check_host(HostHeader::Fixed("inside.test".into()), "/mcp?q=1", "mcp.example.com:8080", |_| "inside.test".into());
}

#[test]
fn a_request_without_a_host_gets_the_endpoints() {
    let upstream = answering();
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let mut connection = rig.connect();
    connection.send(format!("POST /mcp HTTP/1.0\r\nContent-Length: {}\r\n\r\n{CALL}", CALL.len()).as_bytes()).unwrap();
    assert_eq!(connection.reply().unwrap().status(), 200);
    assert_eq!(upstream.requests()[0].head.header("host"), Some(upstream.address().to_string().as_str()));
}

#[test]
fn each_endpoint_is_sent_its_own_authority_also_when_it_is_the_second_to_be_tried() {
    let upstream = answering();
    let mut server = server(&[watchgate_tests::upstream::nobody(), upstream.address()]);
    server.host = HostHeader::Upstream;
    let rig = Rig::new(config(vec![server]));
    for _ in 0..10 {
        assert_eq!(rig.call().status(), 200);
    }
    let authority = upstream.address().to_string();
    assert!(upstream.requests().iter().all(|request| request.head.header("host") == Some(&authority)));
}

#[test]
fn servers_are_found_by_host_or_by_prefix() {
    let upstreams = [answering(), answering(), answering()];
    let [weather, files, rest] = upstreams.each_ref().map(Scripted::address);
    let mut prefixed = named("files", Mount::Prefix, &[files]);
    prefixed.path = "/mcp".into();
    let servers =
        vec![named("weather", Mount::Hosts(vec!["weather.test".into()]), &[weather]), prefixed, named("rest", Mount::Root, &[rest])];
    let rig = Rig::new(config(servers));
    for (host, target) in
        [("weather.test:80", "/files/x"), ("WEATHER.test", "/"), ("x.test", "/files"), ("x.test", "/files/y"), ("y", "/mcp")]
    {
        assert_eq!(ask(&rig, target, &[("Host", host)]).status(), 200);
    }
    let targets = |upstream: &Scripted| upstream.requests().iter().map(|request| request.head.target().to_owned()).collect::<Vec<_>>();
    assert_eq!(upstreams.each_ref().map(targets), [vec!["/files/x", "/"], vec!["/mcp", "/mcp/y"], vec!["/mcp"]]);
}

/// What of a client's claims and the gateway's own words reaches the server: names and values in the order of the wire.
#[track_caller]
fn check_forwarded(forwarded: Forwarded, trusted_hops: u8, claims: &[(&str, &str)], expected: &[(&str, &str)]) {
    let upstream = answering();
    let mut server = named("files", Mount::Prefix, &[upstream.address()]);
    server.forwarded = forwarded;
    let rig = Rig::new(ProxyConfig { clients: ClientAddresses { trusted_hops }, ..config(vec![server]) });
    let headers: Vec<(&str, &str)> = [("Host", "gw.test:8080")].iter().chain(claims).copied().collect();
    assert_eq!(ask(&rig, "/files/mcp", &headers).status(), 200);
    let received = &upstream.requests()[0].head;
    assert_eq!(said(received), expected, "{forwarded:?} {trusted_hops} {claims:?}");
    assert_eq!(received.header("host"), Some("gw.test:8080"));
}

fn said(head: &Head) -> Vec<(&str, &str)> {
    let speaks = |name: &str| name.starts_with("x-forwarded") || name == "forwarded" || name == "x-real-ip";
    head.headers.iter().filter(|(name, _)| speaks(name)).map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn off_leaves_everything_as_the_client_said_it() {
    check_forwarded(Forwarded::Off, 0, &[], &[]);
    let claims = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.2")];
    check_forwarded(Forwarded::Off, 0, &claims, &[claims[0], claims[2], claims[1]]);
}

#[test]
fn what_a_stranger_claims_is_replaced() {
    let own = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "gw.test:8080"),
        ("x-forwarded-prefix", "/files"),
    ];
    check_forwarded(Forwarded::XForwarded, 0, &[], &own);
    let claims = [("x-forwarded-for", "192.0.2.1"), ("x-real-ip", "192.0.2.1"), ("forwarded", "for=192.0.2.1"), ("x-forwarded-port", "1")];
    check_forwarded(Forwarded::XForwarded, 0, &claims, &own);
    let standard = ("forwarded", "for=127.0.0.1;host=\"gw.test:8080\";proto=http");
    check_forwarded(Forwarded::Forwarded, 0, &claims, &[standard]);
    check_forwarded(Forwarded::Both, 0, &[], &[own[0], own[1], own[2], own[3], standard]);
}

#[test]
fn what_a_trusted_proxy_said_is_added_to() {
    let claims = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "public.test")];
    let expected = [
        ("x-forwarded-for", "192.0.2.1, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.test"),
        ("x-forwarded-prefix", "/files"),
    ];
    check_forwarded(Forwarded::XForwarded, 1, &claims, &expected);
    let expected = ("forwarded", "for=192.0.2.1, for=127.0.0.1;host=\"gw.test:8080\";proto=http");
    check_forwarded(Forwarded::Forwarded, 1, &[("forwarded", "for=192.0.2.1")], &[expected]);
}

#[test]
fn access_lines_name_the_client_behind_a_trusted_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let upstream = answering();
    let conditions = crate::rig::Conditions { access_log: Some(log.clone()), ..Default::default() };
    let clients = ClientAddresses { trusted_hops: 1 };
    let rig = Rig::under(conditions, ProxyConfig { clients, ..config(vec![server(&[upstream.address()])]) });
    rig.post_with(&[("X-Forwarded-For", "198.51.100.7, 192.0.2.44")], CALL);
    let written =
        watchgate_tests::wait_until("the line is written", || std::fs::read_to_string(&log).ok().filter(|log| log.contains('\n')));
    assert!(written.contains("192.0.2.44") && !written.contains("198.51.100.7"), "{written}");
}
