//! Trailers, both ways over HTTP/1.1.

use std::sync::{Arc, Mutex};

use watchgate_tests::raw::{Framing, Kind, RawConnection, RawMessage};
use watchgate_tests::{Scripted, ScriptedSocket};

use crate::rig::{CALL, RESULT, Rig, config, server};

/// One request as these bytes, and the whole answer.
fn ask(rig: &Rig, bytes: &str) -> RawMessage {
    let mut connection = RawConnection::open(rig.address).unwrap();
    connection.send(bytes.as_bytes()).unwrap();
    connection.message(Kind::Answer).unwrap().unwrap()
}

fn plain(headers: &str) -> String {
    let length = CALL.len();
    format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{CALL}")
}

/// A server that answers in chunks of these pieces, with trailers.
fn trailing(content_type: &'static str, pieces: &'static [&'static str]) -> Scripted {
    Scripted::start(move |exchange| {
        exchange.chunked(200, &[("Content-Type", content_type), ("Trailer", "X-Sum, X-Other")])?;
        for piece in pieces {
            exchange.chunk(piece)?;
        }
        exchange.end_with("X-Sum: abc\r\nX-Other: def\r\n")
    })
}

/// And so does the connection to the server, which is used again.
#[test]
fn an_answer_with_trailers_leaves_its_connection_open() {
    let upstream = trailing("application/json", &[RESULT]);
    let rig = crate::rig::unprobed(server(&[upstream.address()]));
    for _ in 0..3 {
        check_trailers(&ask(&rig, &plain("TE: trailers\r\nConnection: TE\r\n")));
    }
    assert_eq!(upstream.connections(), 1);
}

#[track_caller]
fn check_trailers(answer: &RawMessage) {
    let expected: [(Vec<u8>, Vec<u8>); 2] = [(b"x-sum".into(), b"abc".into()), (b"x-other".into(), b"def".into())];
    assert_eq!(answer.trailers, expected, "{answer:?}");
    assert_eq!(answer.header("trailer"), Some(&b"X-Sum, X-Other"[..]));
    assert_eq!((answer.framing, answer.is_cut), (Framing::Chunks, false));
}

#[test]
fn trailers_of_an_answer_reach_a_client_that_takes_them() {
    for (content_type, pieces) in
        [("application/json", &[RESULT][..]), ("text/event-stream", &["data: 1\n\n", "data: 2\n\n"]), ("text/plain", &["some ", "text"])]
    {
        let upstream = trailing(content_type, pieces);
        let rig = Rig::new(config(vec![server(&[upstream.address()])]));
        let answer = ask(&rig, &plain("TE: trailers\r\nConnection: TE\r\n"));
        assert_eq!(answer.body, pieces.concat().as_bytes());
        check_trailers(&answer);
    }
}

/// Policies are not shown trailers.
#[test]
fn trailers_do_not_pass_where_a_policy_looks() {
    for (content_type, body) in [
        ("application/json", "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"text\":\"a SECRET\"}}"),
        ("text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"text\":\"a SECRET\"}}\n\n"),
    ] {
        let upstream = trailing(content_type, Box::leak(Box::new([body])));
        let rig = Rig::before(&upstream.url());
        let answer = ask(&rig, &plain("TE: trailers\r\nConnection: TE\r\n"));
        assert!(String::from_utf8_lossy(&answer.body).contains("a ***"), "{answer:?}");
        assert_eq!((answer.trailers.as_slice(), answer.is_cut), (&[][..], false), "{content_type}");
    }
    let upstream = Scripted::start(|exchange| exchange.json(200, RESULT));
    let rig = Rig::before(&upstream.url());
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTrailer: Mcp-Param-Key\r\nTransfer-Encoding: chunked\r\n";
    let answer = ask(&rig, &format!("{head}\r\n{:x}\r\n{CALL}\r\n0\r\nMcp-Param-Key: SECRET\r\n\r\n", CALL.len()));
    assert_eq!(answer.body, RESULT.as_bytes());
    let received = &upstream.requests()[0];
    assert_eq!((received.head.header("trailer"), received.head.header("content-length")), (None, Some(CALL.len().to_string().as_str())));
}

#[test]
fn a_client_that_does_not_take_trailers_gets_the_body_alone() {
    let upstream = trailing("application/json", &[RESULT]);
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let answer = ask(&rig, &plain(""));
    assert_eq!((answer.body.as_slice(), answer.trailers.len(), answer.is_cut), (RESULT.as_bytes(), 0, false));
}

/// A server that keeps what it received as it came, and answers with a trailer.
pub fn keeping(received: &Arc<Mutex<Vec<RawMessage>>>) -> ScriptedSocket {
    let received = received.clone();
    ScriptedSocket::start(move |stream| {
        let Ok(mut connection) = RawConnection::try_from(stream) else { return };
        while let Ok(Some(request)) = connection.message(Kind::Request) {
            received.lock().unwrap().push(request);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked";
            let answer = format!("{head}\r\n\r\n{:x}\r\n{RESULT}\r\n0\r\nX-Sum: abc\r\n\r\n", RESULT.len());
            if connection.send(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn trailers_of_a_request_reach_the_server() {
    let received = Arc::default();
    let upstream = keeping(&received);
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let size = CALL.len();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
         {size:x}\r\n{CALL}\r\n0\r\nX-Sum: abc\r\n\r\n"
    );
    assert_eq!(ask(&rig, &request).body, RESULT.as_bytes());
    let received = received.lock().unwrap().pop().unwrap();
    assert_eq!((received.framing, received.body.as_slice()), (Framing::Chunks, CALL.as_bytes()));
    assert_eq!(received.trailers, [(b"x-sum".to_vec(), b"abc".to_vec())]);
    assert_eq!(received.header("trailer"), Some(&b"X-Sum"[..]));
}

#[test]
fn the_server_hears_that_trailers_are_taken() {
    let received = Arc::default();
    let upstream = keeping(&received);
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    for asked in ["TE: trailers\r\n", "TE: trailers\r\nConnection: TE\r\n", "TE: trailers, deflate\r\nConnection: close, te\r\n"] {
        assert_eq!(ask(&rig, &plain(asked)).body, RESULT.as_bytes());
        let received = received.lock().unwrap().pop().unwrap();
        assert_eq!(received.header("te"), Some(&b"trailers"[..]), "{asked:?}");
    }
    for asked in ["", "TE: deflate\r\n"] {
        ask(&rig, &plain(asked));
        assert_eq!(received.lock().unwrap().pop().unwrap().header("te"), None, "{asked:?}");
    }
}
