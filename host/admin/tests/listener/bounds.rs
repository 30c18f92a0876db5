//! What nobody can use up.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::scene::{Heard, Scene};

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends a keep-alive request and reads its whole answer; `None` when the connection is closed instead.
async fn ask_on(connection: &mut TcpStream, request: &str) -> Option<Heard> {
    connection.write_all(request.as_bytes()).await.ok()?;
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let count = tokio::time::timeout(PATIENCE, connection.read(&mut chunk)).await.expect("an answer or the end").ok()?;
        if count == 0 {
            return None;
        }
        bytes.extend(&chunk[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let heard = Heard::parse(&bytes);
        let length: usize = heard.header("content-length")?.parse().ok()?;
        if bytes.len() >= end + 4 + length {
            return Some(heard);
        }
    }
}

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn connections_are_kept_and_counted() {
    let scene = Scene::begin(None, &[]).await;
    let mut open = Vec::new();
    for _ in 0..256 {
        let mut connection = scene.connect().await;
        assert_eq!(ask_on(&mut connection, LIVE).await.unwrap().status, 200);
        open.push(connection);
    }
    assert!(ask_on(&mut scene.connect().await, LIVE).await.is_none(), "one too many is closed");
    assert_eq!(ask_on(&mut open[0], LIVE).await.unwrap().status, 200);
    open.pop();
    // The slot is free as soon as the server has seen the end.
    let deadline = Instant::now() + PATIENCE;
    while ask_on(&mut scene.connect().await, LIVE).await.is_none() {
        assert!(Instant::now() < deadline, "the slot is not freed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_cut() {
    let scene = Scene::begin(None, &[]).await;
    for sent in ["", "GET /health/live HTTP/1.1\r\nHost: loc"] {
        let begun = Instant::now();
        let mut connection = scene.connect().await;
        connection.write_all(sent.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 10, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_cut() {
    let scene = Scene::begin(None, &[]).await;
    let begun = Instant::now();
    let mut connection = scene.connect().await;
    let head = "POST /api/plugins/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    assert_eq!((Heard::parse(&answer).status, begun.elapsed().as_secs(), scene.reloads()), (408, 5, 0));
}

#[tokio::test]
async fn bodies_are_read_and_forgotten_up_to_a_cap() {
    let scene = Scene::begin(None, &[]).await;
    let post = |length: usize| {
        format!("POST /api/plugins/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
    };
    let mut connection = scene.connect().await;
    for _ in 0..2 {
        assert_eq!(ask_on(&mut connection, &post(65_536)).await.unwrap().status, 202);
    }
    assert_eq!(ask_on(&mut connection, LIVE).await.unwrap().status, 200);
    let refused = ask_on(&mut connection, &post(65_537)).await.unwrap();
    assert_eq!((refused.status, refused.header("connection"), scene.reloads()), (413, Some("close"), 2));
    let endless = "POST /api/plugins/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut connection = scene.connect().await;
    connection.write_all(endless.as_bytes()).await.unwrap();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    assert_eq!(ask_on(&mut connection, &chunk.repeat(5)).await.unwrap().status, 413);
}

#[tokio::test]
async fn what_is_no_request_hurts_only_its_connection() {
    let scene = Scene::begin(None, &[]).await;
    let huge = format!("GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    for (sent, status) in [("\0\x01\x02\r\n\r\n", 400), ("GET /health/live HTTP/9.9\r\n\r\n", 400), (huge.as_str(), 431)] {
        let mut connection = scene.connect().await;
        // The listener may close before it has read everything.
        let _cut = connection.write_all(sent.as_bytes()).await;
        let mut head = [0; 12];
        if connection.read_exact(&mut head).await.is_ok() {
            assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {status}"));
        }
    }
    assert_eq!(scene.ask("GET /health/live", &[]).await.status, 200);
}

#[tokio::test]
async fn the_end_waits_for_no_idle_connection() {
    let scene = Scene::begin(None, &[]).await;
    let mut idle = scene.connect().await;
    assert_eq!(ask_on(&mut idle, LIVE).await.unwrap().status, 200);
    let begun = Instant::now();
    scene.shutdown.send(true).unwrap();
    scene.served.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(ask_on(&mut idle, LIVE).await.is_none());
}
