//! HTTP/2 towards clients, by prior knowledge: many exchanges on one connection that do not hinder each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use watchgate_proxy::{Forwarded, GuardConfig, Limits, ProxyConfig, ServerLimits, Timeouts};
use watchgate_tests::http1::request;
use watchgate_tests::{Gate, Scripted, wait_until};

use crate::http2_peers::{Client, fields, next, trailed, whole};
use crate::rig::{CALL, RESULT, Rig, config, server};
use crate::trailers::keeping;

fn before(upstream: &Scripted) -> Rig {
    Rig::new(config(vec![server(&[upstream.address()])]))
}

/// Answers when this many requests are there at once.
fn gathering(expected: usize) -> Scripted {
    let (arrived, all) = (Arc::new(AtomicUsize::new(0)), Gate::default());
    Scripted::start(move |exchange| {
        if arrived.fetch_add(1, Ordering::SeqCst) + 1 == expected {
            all.open();
        }
        all.wait("all requests are there");
        exchange.json(200, RESULT)
    })
}

#[test]
fn many_calls_are_under_way_at_once_on_one_connection() {
    const CALLS: usize = 100;
    let upstream = gathering(CALLS);
    let rig = before(&upstream);
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        for answer in join_all((0..CALLS).map(|_| client.call(&[]))).await {
            assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, RESULT.as_bytes()));
        }
        assert_eq!(rig.metrics().metric("watchgate_connections_open", &[]), 1.0);
    });
    assert_eq!(rig.metrics().metric("watchgate_http_requests_total", &[("status", "200")]), CALLS as f64);
}

#[test]
fn a_client_that_does_not_read_one_answer_gets_all_others() {
    const LARGE: usize = 20 << 20;
    let upstream = Scripted::start(|exchange| match exchange.request.head.header("x-large") {
        Some(_) => exchange.respond(200, &[("Content-Type", "application/json")], &vec![b' '; LARGE]),
        None => exchange.json(200, RESULT),
    });
    let rig = before(&upstream);
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        let stalled = client.open(&[("x-large", "1")]).await;
        for _ in 0..50 {
            assert_eq!(client.call(&[]).await.body, RESULT);
        }
        let mut body = stalled.into_body();
        let mut length = 0;
        while let Some(piece) = next(&mut body).await {
            length += piece.len();
        }
        assert_eq!(length, LARGE, "it was only waiting");
    });
}

/// A stream that says hello, then what it is told to, and tells when its client has left.
fn streaming(speak: &Gate, left: &Gate) -> Scripted {
    let (speak, left) = (speak.clone(), left.clone());
    Scripted::start(move |exchange| {
        if exchange.request.head.header("x-stream").is_none() {
            return exchange.json(200, RESULT);
        }
        exchange.event_stream()?;
        speak.wait("the head has come");
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            exchange.chunk(event)?;
        }
        exchange.client_left()?;
        left.open();
        Ok(())
    })
}

#[test]
fn an_event_stream_has_its_head_at_once_and_its_end_is_heard() {
    let (speak, left) = (Gate::default(), Gate::default());
    let upstream = streaming(&speak, &left);
    let rig = before(&upstream);
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        let stream = client.open(&[("x-stream", "1")]).await;
        assert_eq!((stream.status(), &stream.headers()["content-type"]), (StatusCode::OK, &"text/event-stream".parse().unwrap()));
        assert_eq!(client.call(&[]).await.body, RESULT, "beside a silent stream");
        speak.open();
        let mut body = stream.into_body();
        let mut seen = Vec::new();
        while seen.len() < 18 {
            seen.extend(next(&mut body).await.unwrap());
        }
        assert_eq!(seen, b"data: 1\n\ndata: 2\n\n");
        drop(body);
        left.wait("the server hears that the client is gone");
        assert_eq!(client.call(&[]).await.body, RESULT, "the connection goes on");
    });
    // Closing a stream that a POST was answered with is a cancellation.
    rig.wait_for("watchgate_http_requests_total", &[("outcome", "cancelled")], 1.0);
    rig.wait_for("watchgate_http_requests_in_flight", &[], 0.0);
}

#[test]
fn answers_without_a_body_keep_their_head() {
    let upstream = Scripted::start(|exchange| match exchange.request.head.method() {
        "HEAD" => exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1234\r\nX-Kept: 1\r\n\r\n"),
        "DELETE" => exchange.write(b"HTTP/1.1 204 No Content\r\nX-Kept: 1\r\n\r\n"),
        _ => exchange.respond(202, &[("X-Kept", "1")], b""),
    });
    let rig = before(&upstream);
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        for (method, status, length) in [("HEAD", 200, Some("1234")), ("DELETE", 204, None), ("POST", 202, Some("0"))] {
            let mut request = client.post(fields(&[]), whole(""));
            *request.method_mut() = method.parse().unwrap();
            let answer = client.ask(request).await;
            let said = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!((answer.status.as_u16(), said("content-length"), said("x-kept")), (status, length, Some("1")), "{method}");
            assert!(answer.body.is_empty());
        }
    });
    for (method, status, length) in [("HEAD", 200, Some("1234")), ("DELETE", 204, None), ("POST", 202, Some("0"))] {
        let mut connection = rig.connect();
        connection.send(&request(method, "/mcp", &[], b"")).unwrap();
        let head = connection.head().unwrap();
        assert_eq!((head.status(), head.header("content-length"), head.header("x-kept")), (status, length, Some("1")), "{method}");
    }
}

#[test]
fn a_call_that_is_given_up_is_given_up_at_the_server() {
    let left = Gate::default();
    let upstream = Scripted::start({
        let left = left.clone();
        move |exchange| {
            if exchange.request.head.header("x-wait").is_some() {
                exchange.client_left()?;
                left.open();
            }
            exchange.json(200, RESULT)
        }
    });
    let rig = before(&upstream);
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        let given_up = client.send(client.post(fields(&[("x-wait", "1")]), whole(CALL)));
        let has_come = async {
            while upstream.requests().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = given_up => panic!("nobody answers it"),
            () = has_come => {}
        }
        left.wait("the server hears that nobody waits");
        assert_eq!(client.call(&[]).await.body, RESULT);
    });
    rig.wait_for("watchgate_http_requests_total", &[("outcome", "cancelled")], 1.0);
}

#[test]
fn trailers_go_both_ways() {
    let received = Arc::default();
    let upstream = keeping(&received);
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        let request = client.post(fields(&[("te", "trailers"), ("trailer", "x-mine")]), trailed(CALL, "x-mine", "1"));
        let answer = client.ask(request).await;
        assert_eq!((&answer.body[..], answer.trailers), (RESULT.as_bytes(), Some(fields(&[("x-sum", "abc")]))));
    });
    let received = received.lock().unwrap().pop().unwrap();
    assert_eq!((received.header("te"), received.body.as_slice()), (Some(&b"trailers"[..]), CALL.as_bytes()));
    assert_eq!(received.trailers, [(b"x-mine".to_vec(), b"1".to_vec())]);
}

#[test]
fn a_request_becomes_one_of_http1() {
    let upstream = Scripted::start(|exchange| {
        let headers =
            [("Content-Type", "application/json"), ("Connection", "keep-alive, x-hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5")];
        exchange.respond(200, &headers, RESULT.as_bytes())
    });
    let mut server = server(&[upstream.address()]);
    server.forwarded = Forwarded::XForwarded;
    let rig = Rig::new(config(vec![server]));
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        let mut request = client.post(fields(&[("mcp-name", "t")]), whole(CALL));
        for crumb in ["a=1", "b=2", "c=3"] {
            request.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        let answer = client.ask(request).await;
        assert_eq!(answer.status, StatusCode::OK);
        for hop in ["connection", "x-hop", "keep-alive", "transfer-encoding"] {
            assert!(!answer.headers.contains_key(hop), "{hop}");
        }
    });
    let head = &upstream.requests()[0].head;
    assert_eq!(head.start, "POST /mcp HTTP/1.1");
    let authority = rig.address.to_string();
    for (name, expected) in [
        ("host", authority.as_str()),
        ("x-forwarded-host", &authority),
        ("x-forwarded-proto", "http"),
        ("cookie", "a=1; b=2; c=3"),
        ("mcp-name", "t"),
    ] {
        let values: Vec<&str> = head.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, [expected], "{name}");
    }
    assert!(head.headers.iter().all(|(name, _)| !name.starts_with(':')));
}

#[test]
fn the_guard_looks_at_the_authority() {
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let rig = Rig::new(ProxyConfig { guard: GuardConfig::loopback(), ..config(vec![server(&[upstream.address()])]) });
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        let mut foreign = client.post(fields(&[]), whole(CALL));
        *foreign.uri_mut() = "http://evil.test/mcp".parse().unwrap();
        assert_eq!(client.ask(foreign).await.status, StatusCode::FORBIDDEN);
        let mut two_faced = client.post(fields(&[("host", "localhost")]), whole(CALL));
        *two_faced.uri_mut() = "http://evil.test/mcp".parse().unwrap();
        assert_eq!(client.ask(two_faced).await.status, StatusCode::FORBIDDEN);
        let mut two_faced = client.post(fields(&[("host", "evil.test")]), whole(CALL));
        *two_faced.uri_mut() = "http://localhost/mcp".parse().unwrap();
        assert_eq!(client.ask(two_faced).await.status, StatusCode::FORBIDDEN);
        assert_eq!(client.call(&[("origin", "http://evil.test")]).await.status, StatusCode::FORBIDDEN);
        assert_eq!(client.call(&[]).await.status, StatusCode::OK);
    });
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn what_is_too_large_is_refused_and_its_neighbours_are_not() {
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let mut server = server(&[upstream.address()]);
    server.limits = ServerLimits { message: 4096, ..ServerLimits::default() };
    let limits = Limits { header_bytes: 8192, ..Limits::default() };
    let rig = Rig::new(ProxyConfig { limits, ..config(vec![server]) });
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        let large = client.ask(client.post(fields(&[]), whole(vec![b' '; 3 << 20]))).await;
        assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(!large.headers.contains_key("connection"), "that belongs to HTTP/1.1");
        let mut request = client.post(fields(&[]), whole(CALL));
        request.headers_mut().insert("x-large", "v".repeat(9000).parse().unwrap());
        assert_eq!(client.ask(request).await.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(client.call(&[]).await.status, StatusCode::OK);
    });
}

#[test]
fn no_more_exchanges_than_configured_are_under_way_on_a_connection() {
    let release = Gate::default();
    let upstream = Scripted::start({
        let release = release.clone();
        move |exchange| {
            if exchange.request.head.header("x-hold").is_some() {
                release.wait("the others were counted");
            }
            exchange.json(200, RESULT)
        }
    });
    let rig =
        Rig::new(ProxyConfig { limits: Limits { http2_streams: 3, ..Limits::default() }, ..config(vec![server(&[upstream.address()])]) });
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        assert_eq!(client.call(&[]).await.status, StatusCode::OK, "now the client knows the bound");
        let held = tokio::spawn({
            let client = client.clone();
            async move { join_all((0..6).map(|_| client.call(&[("x-hold", "1")]))).await }
        });
        wait_until("three have come", || (upstream.requests().len() == 4).then_some(()));
        let other = Client::connect(rig.address).await;
        assert_eq!(other.call(&[]).await.status, StatusCode::OK);
        assert_eq!(upstream.requests().len(), 5, "the other three wait");
        release.open();
        assert!(held.await.unwrap().iter().all(|answer| answer.status == StatusCode::OK));
    });
}

#[test]
fn a_connection_on_which_nothing_is_asked_ends_and_one_with_a_stream_does_not() {
    let (speak, left) = (Gate::default(), Gate::default());
    let upstream = streaming(&speak, &left);
    let timeouts = Timeouts { client_head: Duration::from_millis(100), ..Timeouts::default() };
    let rig = Rig::new(ProxyConfig { timeouts, ..config(vec![server(&[upstream.address()])]) });
    rig.runtime().block_on(async {
        let streaming = Client::connect(rig.address).await;
        let stream = streaming.open(&[("x-stream", "1")]).await;
        for used in [false, true, false] {
            let client = Client::connect(rig.address).await;
            if used {
                assert_eq!(client.call(&[]).await.status, StatusCode::OK);
            }
            client.ended().await;
        }
        speak.open();
        let mut body = stream.into_body();
        assert!(next(&mut body).await.unwrap().starts_with(b"data: 1\n\n"));
        drop(body);
        streaming.ended().await;
    });
}

#[test]
fn a_listener_speaks_both_versions_unless_it_is_told_not_to() {
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let rig = before(&upstream);
    assert_eq!(rig.call().text(), RESULT);
    rig.runtime().block_on(async { assert_eq!(Client::connect(rig.address).await.call(&[]).await.body, RESULT) });
    // What begins as the preface of HTTP/2 does, and is none.
    let mut odd = rig.connect();
    odd.send(&request("PRINT", "/mcp", &[], b"")).unwrap();
    assert_eq!(odd.reply().unwrap().status(), 200);
    let only_http1 = rig.listen(None, false);
    let refused = rig.runtime().block_on(async {
        let client = Client::connect(only_http1).await;
        client.send(client.post(fields(&[]), whole(CALL))).await.is_err()
    });
    assert!(refused);
    let mut connection = watchgate_tests::Connection::open(only_http1).unwrap();
    connection.send(&request("POST", "/mcp", &[], CALL.as_bytes())).unwrap();
    assert_eq!(connection.reply().unwrap().text(), RESULT);
}
