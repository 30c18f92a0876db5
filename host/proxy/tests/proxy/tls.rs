//! TLS on both sides: versions by ALPN, client certificates, private authorities, certificates replaced while traffic goes on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use watchgate_proxy::{
    ClientIdentity, EndpointConfig, Forwarded, ListenerConfig, ProxyConfig, ServerConfig, ServerTls, Timeouts, UpstreamTls,
};
use watchgate_tests::{Connection, Scripted, wait_until};

use crate::http2_peers::{Client, Server, whole};
use crate::rig::{CALL, RESULT, Rig, check_fault, config, post, server};
use crate::tls_peers::{Authority, Files, Front, certificate, connect, end_of, shown, trusting, tunnel};

const BOTH: &[&str] = &["h2", "http/1.1"];
const LOCAL: &[&str] = &["localhost", "127.0.0.1"];

fn answering() -> Scripted {
    Scripted::start(|exchange| exchange.json(200, RESULT))
}

/// One call over HTTP/1.1 to an address; the error where the connection ends instead of an answer.
fn call(address: SocketAddr) -> anyhow::Result<u16> {
    let mut connection = Connection::open(address)?;
    connection.send(&post(&[], CALL))?;
    Ok(connection.reply()?.status())
}

#[test]
fn the_version_is_what_both_ends_speak() {
    let (authority, files, upstream) = (Authority::new("ours"), Files::new(), answering());
    let mut server = server(&[upstream.address()]);
    server.forwarded = Forwarded::XForwarded;
    let rig = Rig::new(config(vec![server]));
    let tls = files.listener(&authority.issue(LOCAL, 2040), None);
    let (both, only_http1) = (rig.listen(Some(tls.clone()), true), rig.listen(Some(tls), false));
    for (address, offered, expected) in
        [(both, BOTH, Some("h2")), (both, &["http/1.1"], Some("http/1.1")), (both, &[], None), (only_http1, BOTH, Some("http/1.1"))]
    {
        let trusts = trusting(&authority, None, offered);
        rig.runtime().block_on(async {
            let stream = connect(trusts.clone(), address).await.unwrap();
            let chosen = stream.get_ref().1.alpn_protocol().map(|version| String::from_utf8_lossy(version).into_owned());
            assert_eq!(chosen.as_deref(), expected, "{offered:?}");
            if expected == Some("h2") {
                assert_eq!(Client::on(stream, "localhost", "https").await.call(&[]).await.body, RESULT);
            }
        });
        if expected != Some("h2") {
            assert_eq!(call(tunnel(rig.runtime(), trusts, address)).unwrap(), 200);
        }
    }
    assert_eq!(upstream.requests().len(), 4);
    assert!(upstream.requests().iter().all(|request| request.head.header("x-forwarded-proto") == Some("https")));
}

#[test]
fn only_clients_with_a_certificate_of_ours_are_let_in() {
    let (authority, clients, strangers) = (Authority::new("ours"), Authority::new("clients"), Authority::new("strangers"));
    let (files, upstream) = (Files::new(), answering());
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let client_ca = files.write("clients.pem", &clients.pem());
    let address = rig.listen(Some(files.listener(&authority.issue(LOCAL, 2040), Some(&client_ca))), true);
    let (known, unknown) = (clients.issue(&["ann"], 2040), strangers.issue(&["eve"], 2040));
    for (identity, is_let_in) in [(Some(&known), true), (Some(&unknown), false), (None, false)] {
        let through = tunnel(rig.runtime(), trusting(&authority, identity, &[]), address);
        assert_eq!(call(through).ok(), is_let_in.then_some(200));
    }
    assert_eq!(upstream.requests().len(), 1);
    rig.wait_for("watchgate_connections_refused_total", &[("reason", "tls_handshake")], 2.0);
}

#[test]
fn who_makes_no_handshake_holds_nobody_up() {
    let (authority, files, upstream) = (Authority::new("ours"), Files::new(), answering());
    let timeouts = Timeouts { client_head: Duration::from_millis(300), ..Timeouts::default() };
    let rig = Rig::new(ProxyConfig { timeouts, ..config(vec![server(&[upstream.address()])]) });
    let address = rig.listen(Some(files.listener(&authority.issue(LOCAL, 2040), None)), true);
    let mut silent = Connection::open(address).unwrap();
    let mut cleartext = Connection::open(address).unwrap();
    cleartext.send(&post(&[], CALL)).unwrap();
    assert_eq!(call(tunnel(rig.runtime(), trusting(&authority, None, &[]), address)).unwrap(), 200);
    cleartext.wait_for_end().unwrap();
    silent.wait_for_end().unwrap();
    rig.wait_for("watchgate_connections_refused_total", &[("reason", "tls_handshake")], 2.0);
}

#[test]
fn a_certificate_is_replaced_while_calls_go_on() {
    let (authority, files, upstream) = (Authority::new("ours"), Files::new(), answering());
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let (old, new) = (authority.issue(LOCAL, 2040), authority.issue(LOCAL, 2041));
    let address = rig.listen(Some(files.listener(&old, None)), true);
    let name = format!("listener {address}");
    let ends = || rig.metrics().metric("watchgate_tls_cert_not_after_seconds", &[("name", &name)]);
    let reloads = |result| rig.metrics().metric("watchgate_tls_reloads_total", &[("name", &name), ("result", result)]);
    wait_until("the end of the first is shown", || (ends() == end_of(2040)).then_some(()));
    let trusts = trusting(&authority, None, &[]);
    let through = tunnel(rig.runtime(), trusts.clone(), address);
    let shows = || rig.runtime().block_on(async { shown(&connect(trusts.clone(), address).await.unwrap()) });
    let (is_over, mut kept) = (AtomicBool::new(false), Connection::open(through).unwrap());
    std::thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut calls = 0;
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(call(through).unwrap(), 200);
                kept.send(&post(&[], CALL)).unwrap();
                assert_eq!(kept.reply().unwrap().status(), 200, "the connection from before goes on");
                calls += 1;
            }
            calls
        });
        assert_eq!(shows(), certificate(&old.certificate));
        files.listener(&new, None);
        wait_until("the new certificate is shown", || (shows() == certificate(&new.certificate)).then_some(()));
        wait_until("its end is shown", || (ends() == end_of(2041) && reloads("replaced") >= 1.0).then_some(()));
        files.write("listener.key", "no key");
        wait_until("what is no good is counted", || (reloads("failed") >= 1.0).then_some(()));
        assert_eq!(shows(), certificate(&new.certificate));
        is_over.store(true, Ordering::SeqCst);
        assert!(calls.join().unwrap() > 0);
    });
    assert_eq!(ends(), end_of(2041));
}

#[test]
fn a_listener_can_be_given_tls_and_be_relieved_of_it() {
    let (authority, files, upstream) = (Authority::new("ours"), Files::new(), answering());
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let through = tunnel(rig.runtime(), trusting(&authority, None, &[]), rig.address);
    let mut kept = rig.open(&[], CALL);
    assert_eq!(kept.reply().unwrap().status(), 200);
    assert!(call(through).is_err());
    let mut settings = ListenerConfig { address: rig.address.to_string(), tls: None, http2: true };
    settings.tls = Some(files.listener(&authority.issue(LOCAL, 2040), None));
    rig.control.change_listener(rig.control.prepare_listener(&settings).unwrap());
    assert_eq!(call(through).unwrap(), 200);
    assert!(call(rig.address).is_err());
    kept.send(&post(&[], CALL)).unwrap();
    assert_eq!(kept.reply().unwrap().status(), 200, "the connection from before goes on as it was");
    settings.tls = None;
    rig.control.change_listener(rig.control.prepare_listener(&settings).unwrap());
    assert_eq!(call(rig.address).unwrap(), 200);
}

#[test]
fn files_that_are_no_good_are_named() {
    let (authority, files) = (Authority::new("ours"), Files::new());
    let rig = Rig::new(config(vec![server(&[answering().address()])]));
    let (pair, other) = (authority.issue(LOCAL, 2040), authority.issue(LOCAL, 2040));
    let (certificate, _) = files.write_pair("one", &pair);
    let (_, key) = files.write_pair("other", &other);
    let refused = |tls: ServerTls| {
        let settings = ListenerConfig { address: "127.0.0.1:1".into(), tls: Some(tls), http2: true };
        rig.control.prepare_listener(&settings).err().unwrap().to_string()
    };
    let missing = certificate.with_file_name("missing.pem");
    let said = refused(ServerTls { certificate: missing, key: key.clone(), client_ca: None });
    assert!(said.contains("missing.pem"), "{said}");
    let said = refused(ServerTls { certificate, key: key.clone(), client_ca: None });
    assert!(said.contains("other.key"), "{said}");
    let mut secured = secure(server(&[answering().address()]), UpstreamTls::default());
    secured.tls.ca = Some(key);
    let said = rig.control.prepare(config(vec![secured])).err().unwrap().to_string();
    assert!(said.contains("other.key"), "{said}");
}

/// The same server, asked for by `https`.
fn secure(mut server: ServerConfig, tls: UpstreamTls) -> ServerConfig {
    for endpoint in &mut server.endpoints {
        endpoint.tls = true;
    }
    server.tls = tls;
    server.breaker.enabled = false;
    server
}

fn trusted(ca: PathBuf) -> UpstreamTls {
    UpstreamTls { ca: Some(ca), ..UpstreamTls::default() }
}

#[test]
fn a_server_is_trusted_by_its_authority_and_its_name() {
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let (files, upstream) = (Files::new(), answering());
    let (ca, other_ca) = (files.write("ca.pem", &ours.pem()), files.write("other.pem", &others.pem()));
    let front = Front::start(upstream.address(), &ours.issue(LOCAL, 2040), None, &[]);
    let named = Front::start(upstream.address(), &ours.issue(&["inside.test"], 2040), None, &[]);
    let with = |front: &Front, tls| Rig::new(config(vec![secure(server(&[front.address]), tls)]));
    assert_eq!(with(&front, trusted(ca.clone())).call().text(), RESULT);
    check_fault(&with(&front, trusted(other_ca)).call(), 502, -31004, "unreachable");
    check_fault(&with(&front, UpstreamTls::default()).call(), 502, -31004, "unreachable");
    check_fault(&with(&named, trusted(ca.clone())).call(), 502, -31004, "unreachable");
    let by_name = UpstreamTls { server_name: Some("inside.test".into()), ..trusted(ca) };
    assert_eq!(with(&named, by_name).call().text(), RESULT);
    assert_eq!(named.seen().last().unwrap().name.as_deref(), Some("inside.test"));
    // The Host that its site is chosen by, not the client's.
    let hosts: Vec<_> = upstream.requests().iter().map(|request| request.head.header("host").unwrap().to_owned()).collect();
    assert_eq!(hosts, [front.address.to_string(), named.address.to_string()]);
    // Cleartext at an https address, and the other way round.
    let mut waits_for_requests = secure(server(&[upstream.address()]), UpstreamTls::default());
    waits_for_requests.timeouts.connect = Duration::from_millis(300);
    check_fault(&Rig::new(config(vec![waits_for_requests])).call(), 504, -31006, "connect_timeout");
    let mut unsecured = server(&[front.address]);
    unsecured.endpoints = vec![EndpointConfig::http(front.address.ip(), front.address.port())];
    assert_eq!(Rig::new(config(vec![unsecured])).call().status(), 502);
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_it() {
    let (ours, clients) = (Authority::new("ours"), Authority::new("clients"));
    let (files, upstream) = (Files::new(), answering());
    let ca = files.write("ca.pem", &ours.pem());
    let front = Front::start(upstream.address(), &ours.issue(LOCAL, 2040), Some(&clients), &[]);
    let without = Rig::new(config(vec![secure(server(&[front.address]), trusted(ca.clone()))]));
    assert_eq!(without.call().status(), 502);
    let pair = clients.issue(&["gateway"], 2040);
    let (shown, key) = files.write_pair("client", &pair);
    let tls = UpstreamTls { client: Some(ClientIdentity { certificate: shown, key }), ..trusted(ca) };
    let rig = Rig::new(config(vec![secure(server(&[front.address]), tls)]));
    assert_eq!(rig.call().text(), RESULT);
    assert_eq!(front.seen().last().unwrap().client, Some(certificate(&pair.certificate)));
    rig.wait_for("watchgate_tls_cert_not_after_seconds", &[("name", "server only")], end_of(2040));
    let renewed = clients.issue(&["gateway"], 2041);
    files.write_pair("client", &renewed);
    rig.wait_for("watchgate_tls_cert_not_after_seconds", &[("name", "server only")], end_of(2041));
    assert_eq!(rig.call().text(), RESULT);
}

#[test]
fn a_changed_authority_of_a_server_is_read_again() {
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let (files, upstream) = (Files::new(), answering());
    let ca = files.write("ca.pem", &before.pem());
    let front = Front::start(upstream.address(), &before.issue(LOCAL, 2040), None, &[]);
    let mut settings = secure(server(&[front.address]), trusted(ca));
    // Each call opens a connection.
    settings.limits.idle_connections = 0;
    let rig = Rig::new(config(vec![settings]));
    assert_eq!(rig.call().text(), RESULT);
    front.show(&after.issue(LOCAL, 2040));
    check_fault(&rig.call(), 502, -31004, "unreachable");
    files.write("ca.pem", &after.pem());
    wait_until("the new authority is trusted", || (rig.call().status() == 200).then_some(()));
    rig.wait_for("watchgate_tls_reloads_total", &[("name", "server only"), ("result", "replaced")], 1.0);
    files.write("ca.pem", "no certificate");
    rig.wait_for("watchgate_tls_reloads_total", &[("name", "server only"), ("result", "failed")], 1.0);
    assert_eq!(rig.call().text(), RESULT, "the one before stays");
}

#[test]
fn servers_speak_http2_where_it_is_wanted_and_offered() {
    let (authority, files) = (Authority::new("ours"), Files::new());
    let ca = files.write("ca.pem", &authority.pem());
    let pair = authority.issue(LOCAL, 2040);
    let (http1, http2) = (answering(), Server::start(100, |_| async { http::Response::new(whole(RESULT)) }));
    for (wanted, offered, expected) in
        [(true, BOTH, Some("h2")), (true, &["http/1.1"], Some("http/1.1")), (true, &[], None), (false, BOTH, Some("http/1.1"))]
    {
        let to = if expected == Some("h2") { http2.address() } else { http1.address() };
        let front = Front::start(to, &pair, None, offered);
        let mut settings = secure(server(&[front.address]), trusted(ca.clone()));
        settings.http2 = wanted;
        let rig = Rig::new(config(vec![settings]));
        for _ in 0..3 {
            assert_eq!(rig.call().text(), RESULT);
        }
        let seen = front.seen();
        assert_eq!((seen.len(), seen[0].version.as_deref()), (1, expected), "wanted: {wanted}, offered: {offered:?}");
    }
}
