//! What servers say of their own paths leads through the gateway, and what browsers ask before they ask is answered.

use watchgate_proxy::{GuardConfig, Mount, ProxyConfig, ServerConfig};
use watchgate_tests::http1::request;
use watchgate_tests::raw::{Kind, RawConnection};
use watchgate_tests::{Reply, Scripted, ScriptedSocket};

use crate::admission::key;
use crate::rig::{CALL, RESULT, Rig, config, named};

fn mounted(upstream: &Scripted) -> Rig {
    Rig::new(config(vec![ServerConfig { path: "/mcp".into(), ..named("weather", Mount::Prefix, &[upstream.address()]) }]))
}

fn post(rig: &Rig, path: &str) -> Reply {
    let mut connection = rig.connect();
    connection.send(&request("POST", path, &[], CALL.as_bytes())).unwrap();
    connection.reply().unwrap()
}

/// As frameworks do where an application is mounted at a folder: the path without its slash is sent to the one with it.
#[test]
fn a_server_that_redirects_to_a_slash_can_be_used_below_a_mount() {
    let upstream = Scripted::start(|exchange| match exchange.request.head.target() {
        "/mcp/" => exchange.json(200, RESULT),
        _ => {
            let location = format!("http://{}/mcp/", exchange.request.head.header("host").unwrap());
            exchange.respond(307, &[("Location", &location), ("Set-Cookie", "a=1; Path=/mcp"), ("Set-Cookie", "b=2")], b"")
        }
    });
    let rig = mounted(&upstream);
    let reply = post(&rig, "/weather");
    assert_eq!((reply.status(), reply.head.header("location")), (307, Some("/weather/")));
    assert_eq!(reply.head.header("set-cookie"), Some("a=1; Path=/weather"));
    assert_eq!(post(&rig, "/weather/").text(), RESULT);
    // From now on nobody is sent about.
    assert_eq!(post(&rig, "/weather").text(), RESULT);
}

/// A server that answers the first request with these bytes and closes.
fn answering(answer: String) -> ScriptedSocket {
    ScriptedSocket::start(move |stream| {
        let Ok(mut connection) = RawConnection::try_from(stream) else { return };
        if let Ok(Some(_)) = connection.message(Kind::Request) {
            let _gone = connection.send(answer.as_bytes());
        }
    })
}

#[test]
fn a_transfer_coding_that_the_client_would_not_know_of_does_not_pass() {
    for coding in ["gzip", "gzip, chunked"] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: {coding}\r\nConnection: close\r\n\r\n0\r\n\r\n"
        );
        let upstream = answering(answer);
        let rig = Rig::new(config(vec![crate::rig::server(&[upstream.address()])]));
        let reply = rig.call();
        assert_eq!((reply.status(), reply.json().unwrap()["error"]["data"]["reason"].as_str()), (502, Some("broken_answer")), "{coding}");
    }
}

#[test]
fn what_came_of_a_first_event_passes_before_the_stream_is_cut() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let upstream = answering(format!("{head}10\r\nevent: endpoint\n\r\n"));
    let rig = Rig::new(config(vec![ServerConfig { path: "/sse".into(), ..named("weather", Mount::Prefix, &[upstream.address()]) }]));
    let mut client = rig.connect();
    client.send(&request("GET", "/weather", &[("Accept", "text/event-stream")], b"")).unwrap();
    assert_eq!(client.head().unwrap().status(), 200);
    assert_eq!(client.body_until("event: endpoint").unwrap(), b"event: endpoint\n");
    assert!(client.body().is_err(), "the cut is not hidden");
}

fn preflight(rig: &Rig, path: &str) -> Reply {
    let asked = [
        ("Origin", "http://localhost:6274"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type,mcp-protocol-version"),
    ];
    rig.ask("OPTIONS", path, &asked)
}

#[test]
fn pages_may_send_the_key_that_the_gate_wants() {
    let upstream = Scripted::start(|exchange| {
        let allowed = [("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Headers", "content-type, mcp-protocol-version")];
        exchange.respond(204, &allowed, b"")
    });
    let auth = watchgate_proxy::AuthConfig { keys: vec![key("ann", crate::admission::KEY)], jwt: None, pass_authorization: false };
    let servers = vec![named("weather", Mount::Root, &[upstream.address()])];
    let allowed = |config: ProxyConfig| {
        let reply = preflight(&Rig::new(ProxyConfig { guard: GuardConfig::loopback(), ..config }), "/mcp");
        reply.head.header("access-control-allow-headers").map(str::to_owned)
    };
    assert_eq!(allowed(config(servers.clone())).as_deref(), Some("content-type, mcp-protocol-version"));
    let with_gate = ProxyConfig { auth: Some(auth), ..config(servers) };
    assert_eq!(allowed(with_gate).as_deref(), Some("content-type, mcp-protocol-version, authorization"));
}
