//! Legacy sessions: found again behind several endpoints by the tag of their id, followed, and ended.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use watchgate_proxy::{Limits, ProxyConfig, Timeouts};
use watchgate_tests::{Connection, Exchange, Reply, Scripted, ScriptedSocket};

use crate::rig::{Conditions, RESULT, Rig, check_fault, config, post, server};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
const UNKNOWN: &str = r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#;

/// A server with sessions of its own, whose ids begin with its name.
struct Legacy {
    upstream: Scripted,
}

impl Legacy {
    fn new(name: &'static str) -> Self {
        let sessions: Arc<Mutex<HashSet<String>>> = Arc::default();
        Self { upstream: Scripted::start(move |exchange| answer(exchange, name, &mut sessions.lock().unwrap())) }
    }

    fn address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// The ids of the requests, as they came.
    fn seen(&self) -> Vec<String> {
        self.upstream.requests().iter().filter_map(|request| request.head.header("mcp-session-id").map(str::to_owned)).collect()
    }
}

fn answer(exchange: &mut Exchange, name: &str, sessions: &mut HashSet<String>) -> anyhow::Result<()> {
    let Some(session) = exchange.request.head.header("mcp-session-id").map(str::to_owned) else {
        let session = format!("{name}-{}", sessions.len());
        sessions.insert(session.clone());
        return exchange.respond(200, &[("Content-Type", "application/json"), ("Mcp-Session-Id", &session)], RESULT.as_bytes());
    };
    match exchange.request.head.method() {
        _ if !sessions.contains(&session) => exchange.json(404, UNKNOWN),
        "DELETE" => {
            sessions.remove(&session);
            exchange.respond(204, &[], b"")
        }
        "GET" => {
            exchange.event_stream()?;
            exchange.chunk("data: hello\n\n")?;
            exchange.end()
        }
        // Some servers say the id again.
        _ => exchange.respond(200, &[("Content-Type", "application/json"), ("Mcp-Session-Id", &session)], RESULT.as_bytes()),
    }
}

fn rig(servers: &[&Legacy]) -> Rig {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.address()).collect();
    Rig::new(config(vec![server(&addresses)]))
}

fn initialize(rig: &Rig) -> String {
    let reply = rig.post(INITIALIZE);
    assert_eq!(reply.status(), 200);
    reply.head.header("mcp-session-id").unwrap().to_owned()
}

fn ping(rig: &Rig, session: &str) -> Reply {
    rig.post_with(&[("Mcp-Session-Id", session)], PING)
}

fn active(rig: &Rig) -> f64 {
    rig.metrics().metric("watchgate_sessions_active", &[("server", "only")])
}

fn ended(rig: &Rig) -> f64 {
    rig.metrics().metric("mcp_server_session_duration_seconds_count", &[("server", "only")])
}

#[track_caller]
fn check_counted(rig: &Rig, expected_active: f64, expected_ended: f64) {
    assert_eq!((active(rig), ended(rig)), (expected_active, expected_ended));
}

/// Cuts the tag off an id that has one.
fn untagged(session: &str) -> &str {
    let (id, tag) = session.rsplit_once('~').unwrap();
    assert!(tag.len() == 6 && tag.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)), "{session}");
    id
}

#[test]
fn a_session_stays_with_its_endpoint_and_the_endpoint_sees_its_own_id() {
    let servers = [Legacy::new("a"), Legacy::new("b"), Legacy::new("c")];
    let rig = rig(&servers.each_ref());
    let sessions: Vec<String> = (0..30).map(|_| initialize(&rig)).collect();
    for session in &sessions {
        for reply in [ping(&rig, session), ping(&rig, session)] {
            assert_eq!((reply.status(), reply.head.header("mcp-session-id")), (200, Some(session.as_str())));
        }
        let stream = rig.ask("GET", "/mcp", &[("Mcp-Session-Id", session)]);
        assert_eq!((stream.status(), stream.text().as_str()), (200, "data: hello\n\n"));
    }
    for server in &servers {
        let name = server.seen().first().map(|seen| seen[..1].to_owned()).unwrap();
        assert!(server.seen().iter().all(|seen| seen.starts_with(&name) && !seen.contains('~')), "{:?}", server.seen());
        assert!(sessions.iter().any(|session| untagged(session).starts_with(&name)), "{name} got none of thirty");
    }
    check_counted(&rig, 30.0, 0.0);
}

#[test]
fn replicas_of_the_gateway_find_each_others_sessions_whatever_the_order_of_the_endpoints() {
    let servers = [Legacy::new("a"), Legacy::new("b"), Legacy::new("c")];
    let [a, b, c] = servers.each_ref();
    let replicas = [rig(&[a, b, c]), rig(&[c, a, b])];
    for (opened_by, asked) in [(0, 1), (1, 0)] {
        for _ in 0..10 {
            let session = initialize(&replicas[opened_by]);
            for _ in 0..3 {
                assert_eq!(ping(&replicas[asked], &session).status(), 200, "{session}");
            }
        }
    }
    // A replica follows what it hears of, whoever opened it.
    check_counted(&replicas[0], 20.0, 0.0);
    check_counted(&replicas[1], 20.0, 0.0);
}

#[test]
fn the_only_endpoint_of_a_server_has_its_ids_left_alone() {
    let server = Legacy::new("a");
    let rig = rig(&[&server]);
    assert_eq!(initialize(&rig), "a-0");
    assert_eq!(ping(&rig, "a-0").head.header("mcp-session-id"), Some("a-0"));
    let odd = "a-0~mzxw6y";
    assert_eq!(ping(&rig, odd).status(), 404);
    assert_eq!(server.seen(), ["a-0", odd]);
}

#[test]
fn a_tag_of_no_endpoint_gets_the_servers_own_404() {
    let servers = [Legacy::new("a"), Legacy::new("b")];
    let rig = rig(&servers.each_ref());
    let session = initialize(&rig);
    let id = untagged(&session).to_owned();
    for forged in [format!("{id}~aaaaaa"), format!("{id}~"), format!("{session}~"), "~".into(), id] {
        let before: usize = servers.iter().map(|server| server.seen().len()).sum();
        let reply = ping(&rig, &forged);
        let seen: Vec<String> = servers.iter().flat_map(Legacy::seen).collect();
        assert_eq!(seen.len(), before + 1);
        assert!(seen.contains(&forged), "{forged} reaches a server as it was sent: {seen:?}");
        if reply.status() != 200 {
            assert_eq!((reply.status(), reply.text().as_str()), (404, UNKNOWN));
        } else {
            assert!(!forged.contains('~'), "an id without a tag may reach the right one by chance");
        }
    }
    assert_eq!(ping(&rig, &session).status(), 200);
}

#[test]
fn a_tag_with_an_id_that_its_endpoint_does_not_know_gets_that_endpoints_404() {
    let servers = [Legacy::new("a"), Legacy::new("b")];
    let rig = rig(&servers.each_ref());
    let session = initialize(&rig);
    let (owner, tag) = (&session[..1], session.rsplit_once('~').unwrap().1);
    for _ in 0..5 {
        let reply = ping(&rig, &format!("unknown~{tag}"));
        assert_eq!((reply.status(), reply.text().as_str()), (404, UNKNOWN));
    }
    let asked = servers.each_ref().map(|server| server.seen().len());
    assert_eq!(asked, if owner == "a" { [5, 0] } else { [0, 5] });
}

#[test]
fn the_tag_of_an_endpoint_that_is_gone_gets_another_servers_404() {
    let servers = [Legacy::new("a"), Legacy::new("b"), Legacy::new("c")];
    let [a, b, c] = servers.each_ref();
    let rig = rig(&[a, b, c]);
    let session = std::iter::repeat_with(|| initialize(&rig)).take(200).find(|session| session.starts_with('c')).unwrap();
    rig.apply(config(vec![server(&[a.address(), b.address()])]));
    let reply = ping(&rig, &session);
    assert_eq!((reply.status(), reply.text().as_str()), (404, UNKNOWN));
    assert!(c.seen().is_empty());
}

/// A server that opens a session with whoever comes, and can go away.
fn leaving() -> ScriptedSocket {
    ScriptedSocket::start(|stream| {
        let Ok(mut connection) = Connection::new(stream) else { return };
        while let Ok(Some(_)) = connection.next_head() {
            let answer = "HTTP/1.1 200 OK\r\nMcp-Session-Id: leaving\r\nContent-Length: 0\r\n\r\n";
            if connection.body().is_err() || connection.send(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_session_whose_endpoint_is_down_is_sent_nowhere_else() {
    let mut leaves = leaving();
    let servers = [Legacy::new("a"), Legacy::new("b")];
    let [a, b] = servers.each_ref();
    let conditions = Conditions { without_housekeeping: true, ..Conditions::default() };
    let mut three = server(&[a.address(), leaves.address(), b.address()]);
    three.breaker.enabled = false;
    let rig = Rig::under(conditions, config(vec![three]));
    let session = std::iter::repeat_with(|| initialize(&rig)).take(200).find(|session| session.starts_with("leaving")).unwrap();
    leaves.go_away();
    for _ in 0..4 {
        check_fault(&ping(&rig, &session), 502, -31004, "unreachable");
    }
    assert!(a.seen().is_empty() && b.seen().is_empty());
    leaves.come_back();
    assert_eq!(ping(&rig, &session).status(), 200);
}

#[test]
fn a_session_ends_when_it_is_deleted_or_the_server_has_forgotten_it() {
    let servers = [Legacy::new("a"), Legacy::new("b")];
    let rig = rig(&servers.each_ref());
    let (first, second) = (initialize(&rig), initialize(&rig));
    check_counted(&rig, 2.0, 0.0);
    let deleted = rig.ask("DELETE", "/mcp", &[("Mcp-Session-Id", &first)]);
    assert_eq!(deleted.status(), 204);
    check_counted(&rig, 1.0, 1.0);
    assert_eq!(ping(&rig, &first).status(), 404);
    check_counted(&rig, 1.0, 1.0);
    let seen = servers.iter().flat_map(Legacy::seen).collect::<Vec<_>>();
    assert_eq!(seen, vec![untagged(&first); 2], "the DELETE went where the session was");
    // The server forgets it: a second gateway deletes it.
    let other = self::rig(&servers.each_ref());
    other.ask("DELETE", "/mcp", &[("Mcp-Session-Id", &second)]);
    assert_eq!(ping(&rig, &second).status(), 404);
    check_counted(&rig, 0.0, 2.0);
    assert_eq!(ping(&rig, &second).status(), 404);
    check_counted(&rig, 0.0, 2.0);
}

#[test]
fn a_session_of_which_nothing_is_heard_is_followed_no_longer() {
    let legacy = Legacy::new("a");
    let timeouts = Timeouts { session_idle: Duration::from_millis(200), ..Timeouts::default() };
    let rig = Rig::new(ProxyConfig { timeouts, ..config(vec![server(&[legacy.address()])]) });
    let session = initialize(&rig);
    rig.wait_for("watchgate_sessions_active", &[], 0.0);
    check_counted(&rig, 0.0, 1.0);
    // For the server it goes on, and so for the gateway.
    assert_eq!(ping(&rig, &session).status(), 200);
    check_counted(&rig, 1.0, 1.0);
}

#[test]
fn no_more_sessions_are_followed_than_configured() {
    let legacy = Legacy::new("a");
    let limits = Limits { sessions: 3, ..Limits::default() };
    let rig = Rig::new(ProxyConfig { limits, ..config(vec![server(&[legacy.address()])]) });
    let sessions: Vec<String> = (0..10).map(|_| initialize(&rig)).collect();
    check_counted(&rig, 3.0, 7.0);
    for session in &sessions {
        assert_eq!(ping(&rig, session).status(), 200, "the server knows them all");
    }
    assert_eq!(active(&rig), 3.0);
}

#[test]
fn sessions_of_the_only_endpoint_stay_there_when_others_join_it() {
    let servers = [Legacy::new("a"), Legacy::new("b"), Legacy::new("c")];
    let at = |servers: &[&Legacy]| config(vec![server(&servers.iter().map(|server| server.address()).collect::<Vec<_>>())]);
    let [a, b, c] = servers.each_ref();
    let [rig, replica] = [&[a][..], &[b, a, c]].map(rig);
    let before: Vec<String> = (0..4).map(|_| initialize(&rig)).collect();
    // Also over one that keeps several.
    for now in [at(&[c, a]), at(&[b, a, c])] {
        rig.apply(now);
        for session in before.iter().cycle().take(20) {
            let reply = ping(&rig, session);
            assert_eq!(reply.status(), 200, "{session}");
            // The server says the id again: who takes it over needs nobody's memory from then on.
            let tagged = reply.head.header("mcp-session-id").unwrap();
            assert_eq!(untagged(tagged), session);
            assert_eq!((ping(&rig, tagged).status(), ping(&replica, tagged).status()), (200, 200));
        }
    }
    check_counted(&rig, 4.0, 0.0);
    // What this process does not follow may be anywhere, and where it was last known there is nobody any more.
    rig.apply(at(&[b, c]));
    assert_eq!(ping(&rig, &before[0]).status(), 404);
}

#[test]
fn sessions_outlive_a_reload_of_their_server() {
    let servers = [Legacy::new("a"), Legacy::new("b")];
    let rig = rig(&servers.each_ref());
    let session = initialize(&rig);
    let mut changed = server(&servers.each_ref().map(Legacy::address));
    changed.timeouts.head = Duration::from_secs(9);
    rig.apply(config(vec![changed]));
    check_counted(&rig, 1.0, 0.0);
    assert_eq!(ping(&rig, &session).status(), 200);
    rig.ask("DELETE", "/mcp", &[("Mcp-Session-Id", &session)]);
    check_counted(&rig, 0.0, 1.0);
}

#[test]
fn requests_without_a_session_are_balanced_and_counted_as_none() {
    let upstreams = [Scripted::start(|exchange| exchange.json(200, RESULT)), Scripted::start(|exchange| exchange.json(200, RESULT))];
    let rig = Rig::new(config(vec![server(&upstreams.each_ref().map(Scripted::address))]));
    let mut connection = rig.connect();
    for _ in 0..40 {
        connection.send(&post(&[("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "ping")], PING)).unwrap();
        let reply = connection.reply().unwrap();
        assert_eq!((reply.status(), reply.head.header("mcp-session-id")), (200, None));
    }
    assert!(upstreams.iter().all(|upstream| upstream.requests().len() >= 3));
    check_counted(&rig, 0.0, 0.0);
}
