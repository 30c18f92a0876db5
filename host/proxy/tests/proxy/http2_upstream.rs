//! HTTP/2 towards servers: exchanges share connections, and none waits for another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use watchgate_proxy::{HostHeader, ServerConfig};
use watchgate_tests::raw::{Kind, RawConnection};
use watchgate_tests::{Scripted, wait_until};

use crate::http2_peers::{Body, Client, Received, Server, fields, pieced, pieces, trailed, whole};
use crate::rig::{CALL, RESULT, Rig, check_fault, config, post, server};

fn speaking(server: &Server) -> ServerConfig {
    ServerConfig { http2: true, ..crate::rig::server(&[server.address()]) }
}

fn before(server: &Server) -> Rig {
    Rig::new(config(vec![speaking(server)]))
}

fn json(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}

async fn answer(_: Received) -> Response<Body> {
    json(whole(RESULT))
}

/// Holds requests with `x-hold` until it is told to go on.
#[derive(Clone, Default)]
struct Holding {
    release: Arc<Notify>,
    is_open: Arc<AtomicBool>,
}

impl Holding {
    async fn answer(self, received: Received) -> Response<Body> {
        let released = self.release.notified();
        if received.head.headers.contains_key("x-hold") && !self.is_open.load(Ordering::SeqCst) {
            released.await;
        }
        json(whole(RESULT))
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
        self.release.notify_waiters();
    }
}

#[test]
fn calls_share_a_connection() {
    let server = Server::start(100, answer);
    let rig = before(&server);
    for _ in 0..20 {
        assert_eq!(rig.call().text(), RESULT);
    }
    assert_eq!((server.requests(), server.connections()), (20, 1));
}

#[test]
fn more_exchanges_than_the_server_allows_on_a_connection_open_others() {
    let holding = Holding::default();
    let server = Server::start(2, {
        let holding = holding.clone();
        move |received| holding.clone().answer(received)
    });
    let rig = before(&server);
    assert_eq!(rig.call().text(), RESULT, "now the proxy knows the bound");
    let mut held: Vec<_> = (0..9).map(|_| rig.open(&[("X-Hold", "1")], CALL)).collect();
    wait_until("all have come", || (server.requests() == 10).then_some(()));
    assert_eq!(rig.call().text(), RESULT);
    assert!(server.connections() >= 5, "{}", server.connections());
    holding.open();
    for held in &mut held {
        assert_eq!(held.reply().unwrap().text(), RESULT);
    }
}

#[test]
fn the_first_exchanges_with_a_server_do_not_wait_for_each_other_either() {
    let holding = Holding::default();
    let server = Server::start(1, {
        let holding = holding.clone();
        move |received| holding.clone().answer(received)
    });
    let rig = before(&server);
    let mut held: Vec<_> = (0..20).map(|_| rig.open(&[("X-Hold", "1")], CALL)).collect();
    wait_until("all have come", || (server.requests() == 20).then_some(()));
    holding.open();
    for held in &mut held {
        assert_eq!(held.reply().unwrap().text(), RESULT);
    }
}

#[test]
fn clients_that_do_not_read_hold_nobody_up() {
    let large = Bytes::from(vec![b' '; 8 << 20]);
    let server = Server::start(100, move |received| {
        let large = large.clone();
        async move { json(whole(if received.head.headers.contains_key("x-large") { large } else { RESULT.into() })) }
    });
    let rig = before(&server);
    assert_eq!(rig.call().text(), RESULT, "now the proxy knows the bound");
    let mut stalled: Vec<_> = (0..60)
        .map(|_| {
            let mut connection = rig.open(&[("X-Large", "1")], CALL);
            connection.head().unwrap();
            connection
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(rig.call().text(), RESULT);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(stalled[0].body().unwrap().len(), 8 << 20, "it was only waiting");
}

#[test]
fn streams_pass_event_by_event_and_their_end_is_heard() {
    let (events, left) = (Arc::new(std::sync::Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
    let server = Server::start(100, {
        let (events, left) = (events.clone(), left.clone());
        move |received: Received| {
            let (events, left) = (events.clone(), left.clone());
            async move {
                if !received.head.headers.contains_key("x-stream") {
                    return json(whole(RESULT));
                }
                let (sender, receiver) = mpsc::unbounded_channel();
                tokio::spawn({
                    let sender: mpsc::UnboundedSender<Bytes> = sender.clone();
                    async move {
                        sender.closed().await;
                        left.fetch_add(1, Ordering::SeqCst);
                    }
                });
                *events.lock().unwrap() = Some(sender);
                Response::builder().header("content-type", "text/event-stream").body(pieces(receiver)).unwrap()
            }
        }
    });
    let rig = before(&server);
    assert_eq!(rig.call().text(), RESULT, "now the proxy knows the bound");
    let mut client = rig.open(&[("X-Stream", "1")], CALL);
    assert_eq!(client.head().unwrap().header("content-type"), Some("text/event-stream"));
    let sender = events.lock().unwrap().take().unwrap();
    for event in ["data: 1\n\n", ": ping\n\n", "data: 2\n\n"] {
        sender.send(event.into()).unwrap();
        assert_eq!(client.body_until("\n\n").unwrap(), event.as_bytes());
        assert_eq!(rig.call().text(), RESULT, "beside the stream");
    }
    drop(client);
    wait_until("the server hears that the client is gone", || (left.load(Ordering::SeqCst) == 1).then_some(()));
    assert_eq!(rig.call().text(), RESULT);
    assert_eq!((server.connections(), server.open()), (1, 1), "the connection goes on");
}

#[test]
fn trailers_go_both_ways() {
    let server = Server::start(100, |received: Received| async move {
        assert_eq!(received.trailers, Some(fields(&[("x-mine", "1")])));
        assert_eq!(received.body, CALL);
        // With a length in advance, there would be no place for trailers in HTTP/1.1.
        let mut response = json(pieced(RESULT, "x-sum", "abc"));
        response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        response
    });
    let rig = before(&server);
    rig.runtime().block_on(async {
        let client = Client::connect(rig.address).await;
        let answer = client.ask(client.post(fields(&[("te", "trailers")]), trailed(CALL, "x-mine", "1"))).await;
        assert_eq!((&answer.body[..], answer.trailers), (RESULT.as_bytes(), Some(fields(&[("x-sum", "abc")]))));
    });
    let mut connection = RawConnection::open(rig.address).unwrap();
    let (size, head) = (CALL.len(), "POST /mcp HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-mine\r\nTransfer-Encoding: chunked");
    connection.send(format!("{head}\r\n\r\n{size:x}\r\n{CALL}\r\n0\r\nX-Mine: 1\r\n\r\n").as_bytes()).unwrap();
    let answer = connection.message(Kind::Answer).unwrap().unwrap();
    assert_eq!((&answer.body[..], &answer.trailers[..]), (RESULT.as_bytes(), &[(b"x-sum".to_vec(), b"abc".to_vec())][..]));
}

#[test]
fn a_request_of_http1_becomes_one_of_http2() {
    for (setting, fixed) in [(HostHeader::Auto, None), (HostHeader::Fixed("inside.test".into()), Some("inside.test"))] {
        let server = Server::start(100, move |received: Received| async move {
            let head = &received.head;
            let authority = head.uri.authority().unwrap().as_str();
            let hops = ["connection", "keep-alive", "x-hop", "host", "te"].map(|name| head.headers.contains_key(name));
            json(whole(format!("{} {} {authority} {:?}", head.method, head.uri.path(), hops)))
        });
        let rig = Rig::new(config(vec![ServerConfig { host: setting, ..speaking(&server) }]));
        let headers =
            [("Host", "gw.test:80"), ("Connection", "keep-alive, x-hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("TE", "gzip")];
        let said = rig.post_with(&headers, CALL).text();
        assert_eq!(said, format!("POST /mcp {} [false, false, false, false, false]", fixed.unwrap_or("gw.test:80")));
    }
}

#[test]
fn a_server_that_does_not_speak_it_is_answered_for() {
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let rig = Rig::new(config(vec![ServerConfig { http2: true, ..server(&[upstream.address()]) }]));
    for _ in 0..3 {
        check_fault(&rig.call(), 502, -31004, "broken_answer");
    }
}

#[test]
fn a_connection_that_the_server_ends_while_it_is_unused_costs_no_call() {
    let server = Server::start(100, answer);
    let rig = before(&server);
    for round in 1..=20 {
        assert_eq!(rig.call().text(), RESULT);
        assert_eq!(server.requests(), round);
        server.end_connections();
        if round % 2 == 0 {
            // Once when the proxy may not have heard of it yet, once when it has.
            wait_until("it has ended", || (server.open() == 0).then_some(()));
        }
    }
}

/// A server whose streams are answered by `answer`, which is told how many there were before; and their number.
fn streams(answer: impl Fn(usize, h2::server::SendResponse<Bytes>) + Clone + Send + 'static) -> (Runtime, SocketAddr, Arc<AtomicUsize>) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (counted, answer) = (counted.clone(), answer.clone());
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, stream))) = connection.accept().await {
                    answer(counted.fetch_add(1, Ordering::SeqCst), stream);
                }
            });
        }
    });
    (runtime, address, count)
}

/// A server that resets the second stream for this reason, and counts.
fn resetting(reason: h2::Reason) -> (Runtime, SocketAddr, Arc<AtomicUsize>) {
    streams(move |before, mut answer| {
        if before == 1 {
            return answer.send_reset(reason);
        }
        let mut body = answer.send_response(Response::new(()), false).unwrap();
        body.send_data(RESULT.into(), true).unwrap();
    })
}

#[test]
fn only_a_call_that_the_server_says_it_has_not_looked_at_is_sent_again() {
    for (reason, is_sent_again) in [
        (h2::Reason::REFUSED_STREAM, true),
        (h2::Reason::CANCEL, false),
        (h2::Reason::INTERNAL_ERROR, false),
        (h2::Reason::NO_ERROR, false),
    ] {
        let (_runtime, address, count) = resetting(reason);
        let rig = Rig::new(config(vec![ServerConfig { http2: true, ..server(&[address]) }]));
        assert_eq!(rig.call().text(), RESULT);
        let reply = rig.call();
        if is_sent_again {
            assert_eq!((reply.text().as_str(), count.load(Ordering::SeqCst)), (RESULT, 3));
        } else {
            check_fault(&reply, 502, -31004, "broken_answer");
            assert_eq!(count.load(Ordering::SeqCst), 2, "{reason}");
        }
    }
}

/// One that has too much to do already.
#[test]
fn a_server_that_turns_streams_away_is_not_asked_the_more_for_it() {
    let (_runtime, address, asked) = streams(|_, mut answer| answer.send_reset(h2::Reason::REFUSED_STREAM));
    let server = ServerConfig { http2: true, ..server(&[address]) };
    let most = 1 + server.retry.max as usize;
    let rig = Rig::new(config(vec![server]));
    check_fault(&rig.call(), 502, -31004, "broken_answer");
    let asked = asked.load(Ordering::SeqCst);
    assert!((2..=most).contains(&asked), "{asked} requests of one, where {most} are as many as it may be");
    rig.wait_for("watchgate_endpoint_requests_total", &[("result", "failed")], asked as f64);
}

/// A server that sends half of an answer and then resets its stream with NO_ERROR, as if that were all.
#[test]
fn half_an_answer_is_no_answer() {
    let (_runtime, address, _) = streams(|_, mut answer| {
        let head = Response::builder().header("content-type", "application/json").body(()).unwrap();
        let mut body = answer.send_response(head, false).unwrap();
        body.send_data("{\"jsonrpc\":".into(), false).unwrap();
        // The reset must not overtake what was written.
        tokio::spawn(async move {
            body.reserve_capacity(1);
            let _room = std::future::poll_fn(|context| body.poll_capacity(context)).await;
            tokio::task::yield_now().await;
            body.send_reset(h2::Reason::NO_ERROR);
        });
    });
    let rig = Rig::new(config(vec![ServerConfig { http2: true, ..server(&[address]) }]));
    let mut client = rig.open(&[], CALL);
    let is_whole = client.head().is_ok_and(|head| head.status() == 200) && client.body().is_ok();
    assert!(!is_whole, "half a document passed as a whole one");
    rig.wait_for("watchgate_http_requests_total", &[("outcome", "aborted")], 1.0);
}

#[test]
fn heads_may_be_as_large_as_over_http1() {
    let server = Server::start(100, |_: Received| {
        let mut answer = json(whole(RESULT));
        for place in 0..60 {
            let name = http::HeaderName::try_from(format!("x-{place}")).unwrap();
            answer.headers_mut().insert(name, http::HeaderValue::try_from("y".repeat(1000)).unwrap());
        }
        async move { answer }
    });
    let reply = before(&server).call();
    assert_eq!((reply.status(), reply.head.header("x-59").map(str::len)), (200, Some(1000)));
}

#[test]
fn a_server_that_goes_away_and_comes_back_costs_only_what_was_under_way() {
    let holding = Holding::default();
    let start = || {
        let holding = holding.clone();
        Server::start(100, move |received| holding.clone().answer(received))
    };
    let first = start();
    let mut settings = speaking(&first);
    settings.breaker.enabled = false;
    let rig = Rig::new(config(vec![settings]));
    assert_eq!(rig.call().text(), RESULT);
    let mut held = rig.open(&[("X-Hold", "1")], CALL);
    wait_until("it has come", || (first.requests() == 2).then_some(()));
    drop(first);
    check_fault(&held.reply().unwrap(), 502, -31004, "broken_answer");
    assert_eq!(rig.metrics().metric("watchgate_upstream_retries_total", &[("result", "sent")]), 0.0, "it had been sent");
    let second = start();
    rig.apply(config(vec![speaking(&second)]));
    let mut connection = rig.connect();
    for _ in 0..3 {
        connection.send(&post(&[], CALL)).unwrap();
        assert_eq!(connection.reply().unwrap().text(), RESULT);
    }
}
