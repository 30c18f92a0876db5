//! Clients of HTTP/2 that take nothing of an answer. A hand-made client, since others take bytes by themselves.

use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::Request;
use tokio::net::TcpStream;
use tokio::time::timeout;
use watchgate_proxy::{ProxyConfig, Timeouts};
use watchgate_tests::{DEADLINE, Exchange, Scripted, wait_until};

use crate::rig::{CALL, RESULT, Rig, config, server};

const LARGE: usize = 2 << 20;

/// Asks with `kind` in a header, and gives the body of the answer.
async fn ask(client: &SendRequest<Bytes>, address: std::net::SocketAddr, kind: &'static str) -> RecvStream {
    let mut client = client.clone().ready().await.unwrap();
    let request = Request::post(format!("http://{address}/mcp")).header("x-kind", kind).header("content-type", "application/json");
    let (answer, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(CALL.into(), true).unwrap();
    timeout(DEADLINE, answer).await.expect("no head comes").unwrap().into_body()
}

/// All of an answer, taken as it comes.
async fn read(mut body: RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = timeout(DEADLINE, body.data()).await.expect("nothing comes") {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    all
}

fn answer(exchange: &mut Exchange) -> anyhow::Result<()> {
    match exchange.request.head.header("x-kind") {
        Some("document") => exchange.respond(200, &[("Content-Type", "application/json")], &vec![b' '; LARGE]),
        Some("events") => {
            exchange.event_stream()?;
            // Until nobody takes any more.
            while exchange.chunk(format!(": {}\n\n", "x".repeat(64 << 10))).is_ok() {}
            Ok(())
        }
        _ => exchange.json(200, RESULT),
    }
}

/// One answer of this kind is not read: it is reset, nothing is left of it, and its neighbours go on.
#[track_caller]
fn check_given_up(kind: &'static str, has_policy: bool) {
    let upstream = Scripted::start(answer);
    let timeouts = Timeouts { client_body: Duration::from_millis(300), ..Timeouts::default() };
    let rig = Rig::new(ProxyConfig { timeouts, expects_policies: has_policy, ..config(vec![server(&[upstream.address()])]) });
    if has_policy {
        rig.go_live();
    }
    let (client, connection) = rig.runtime().block_on(async {
        let stream = TcpStream::connect(rig.address).await.unwrap();
        // Room for everything on the connection, and little for each stream.
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(64 << 10).initial_connection_window_size(32 << 20);
        let (client, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        (client, tokio::spawn(connection))
    });
    let ask = |kind| rig.runtime().block_on(ask(&client, rig.address, kind));
    let mut stalled = ask(kind);
    wait_until("it is given up", || {
        // Its neighbours go on.
        assert_eq!(rig.runtime().block_on(read(ask("call"))), RESULT.as_bytes());
        (rig.metrics().metric("watchgate_http_requests_in_flight", &[]) == 0.0).then_some(())
    });
    let reason = rig.runtime().block_on(async {
        loop {
            match timeout(DEADLINE, stalled.data()).await.expect("there is no reset") {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.reason(),
                None => panic!("the answer has ended, though it was not sent"),
            }
        }
    });
    assert_eq!(reason, Some(Reason::CANCEL), "{kind}");
    assert_eq!(rig.runtime().block_on(read(ask("document"))).len(), LARGE, "what is read comes whole");
    assert!(!connection.is_finished());
    rig.wait_for("watchgate_held_bytes", &[], 0.0);
    assert_eq!(rig.metrics().metric("watchgate_connections_open", &[]), 1.0);
}

#[test]
fn a_stream_that_is_not_read_is_reset_alone() {
    check_given_up("events", false);
}

#[test]
fn so_is_an_answer_that_passes() {
    check_given_up("document", false);
}

#[test]
fn so_is_one_that_was_held_whole_for_a_policy() {
    check_given_up("document", true);
}
