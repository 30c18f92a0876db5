//! Requests that are not quite HTTP: refused, or understood in the one way that no server behind can understand differently.

use watchgate_tests::wait_until;

use super::bed::{Bed, Heard, Patience, hear};
use super::wild::Ends;

const PATIENCE: Patience = Patience { others: "2s", heads: "20s", pool: "1ms" };

/// Heads that nobody may forward. `@` is the target.
pub const REFUSED: [(&str, &str); 27] = [
    ("two lengths", "POST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
    ("two lengths in one", "POST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 3\r\n\r\n{} "),
    ("negative length", "POST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n\r\n{}"),
    ("signed length", "POST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: +2\r\n\r\n{}"),
    ("hexadecimal length", "POST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x2\r\n\r\n{}"),
    ("length beyond numbers", "POST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n{}"),
    ("space before the colon", "POST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length : 2\r\n\r\n{}"),
    ("chunked behind a space", "POST @ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("folded", "POST @ HTTP/1.1\r\nHost: localhost\r\nX-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\n{}"),
    ("folded with a tab", "POST @ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n"),
    ("folded first line", "POST @ HTTP/1.1\r\n Host: localhost\r\nContent-Length: 2\r\n\r\n{}"),
    ("chunked is not last", "POST @ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("unknown coding", "POST @ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("coding in quotes", "POST @ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    ("chunks in HTTP/1.0", "POST @ HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunk size that is none", "POST @ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n"),
    (
        "chunk size beyond numbers",
        "POST @ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    ),
    ("chunk without its end", "POST @ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}0\r\n\r\n"),
    ("no name", "POST @ HTTP/1.1\r\nHost: localhost\r\n: x\r\nContent-Length: 2\r\n\r\n{}"),
    ("no colon", "POST @ HTTP/1.1\r\nHost: localhost\r\nnonsense\r\nContent-Length: 2\r\n\r\n{}"),
    ("a zero in a value", "POST @ HTTP/1.1\r\nHost: localhost\r\nX-Zero: a\0b\r\nContent-Length: 2\r\n\r\n{}"),
    ("a return in a value", "POST @ HTTP/1.1\r\nHost: localhost\r\nX-Return: a\rX-Smuggled: b\r\nContent-Length: 2\r\n\r\n{}"),
    ("a space in the method", "PO ST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"),
    ("a space in the target", "POST @ x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"),
    ("version of the future", "POST @ HTTP/3.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"),
    ("no version", "POST @\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"),
    ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\u{7f}\x03\x03\r\n\r\n"),
];

/// Writes the bytes and reads what comes back.
pub fn say(bed: &Bed, bytes: &[u8]) -> Heard {
    let mut client = bed.gateway.connect();
    // Fails when the gateway closes in the middle of it, which is its right.
    let _ = client.send(bytes);
    let heard = hear(&mut client);
    let _ = client.finish_sending();
    client.wait_for_end().unwrap();
    heard
}

fn check_refused(bed: &Bed, what: &str, head: &str) {
    let before = bed.seen.all();
    let heard = say(bed, head.replace('@', "/wild/answers").as_bytes());
    assert!(heard.status == 0 || heard.status >= 400, "{what}: {heard:?}");
    bed.call_good();
    assert_eq!(bed.seen.all(), before, "{what}: it was forwarded");
}

#[test]
fn what_could_be_understood_in_two_ways_is_refused() {
    let bed = Bed::new(&PATIENCE);
    for (what, head) in REFUSED {
        check_refused(&bed, what, head);
    }
    bed.assert_as_before("heads that are not HTTP");
}

#[test]
fn a_head_without_measure_is_refused() {
    let bed = Bed::new(&PATIENCE);
    let head = |fields: String| format!("POST @ HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: 2\r\n\r\n{{}}");
    check_refused(&bed, "a large field", &head(format!("X-Large: {}\r\n", "x".repeat(1 << 20))));
    check_refused(&bed, "a large name", &head(format!("X-{}: 1\r\n", "x".repeat(1 << 20))));
    check_refused(&bed, "many fields", &head((0..1000).map(|n| format!("X-{n}: {n}\r\n")).collect()));
    check_refused(&bed, "many large fields", &head((0..150).map(|n| format!("X-{n}: {}\r\n", "x".repeat(8 << 10))).collect()));
    check_refused(&bed, "a large target", &format!("POST @?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20)));
    check_refused(&bed, "a large method", &format!("{} @ HTTP/1.1\r\nHost: localhost\r\n\r\n", "X".repeat(1 << 20)));
    bed.assert_as_before("heads without measure");
}

/// What is understood must reach the server as one plain request with this body.
#[track_caller]
fn check_one_request(bed: &Bed, what: &str, head: &str, body: &[u8]) {
    let before = bed.good.requests().len();
    let heard = say(bed, head.as_bytes());
    assert_eq!((heard.status, heard.ends), (200, Ends::Whole), "{what}: {heard:?}");
    let arrived = bed.good.requests().split_off(before);
    assert_eq!(arrived.len(), 1, "{what}: {arrived:?}");
    let only = &arrived[0];
    assert_eq!((only.head.method(), only.head.target(), only.body.as_slice()), ("POST", "/mcp", body), "{what}");
    assert_eq!(only.head.headers.iter().filter(|(name, _)| name == "content-length").count(), 1, "{what}: {:?}", only.head);
    assert_eq!(only.head.header("transfer-encoding"), None, "{what}");
}

#[test]
fn what_is_odd_and_clear_reaches_the_server_as_one_plain_request() {
    const CLEAR: [(&str, &str); 5] = [
        (
            "the same length twice",
            "POST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        ),
        ("absolute form", "POST http://localhost@ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"),
        ("HTTP/1.0", "POST @ HTTP/1.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"),
        ("bare line feeds", "POST @ HTTP/1.1\nHost: localhost\nContent-Length: 2\nConnection: close\n\n{}"),
        ("empty lines first", "\r\n\r\nPOST @ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"),
    ];
    let bed = Bed::new(&PATIENCE);
    for (what, head) in CLEAR {
        check_one_request(&bed, what, &head.replace('@', "/good/mcp"), b"{}");
    }
    bed.assert_as_before("heads that are odd and clear");
}

/// RFC 9112, 6.3: refused, or the chunks count, the length goes, and nothing that follows on the connection is believed.
#[test]
fn a_length_beside_chunks_smuggles_nothing() {
    let bed = Bed::new(&PATIENCE);
    let smuggled = "GET /good/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n";
    let swapped = "Transfer-Encoding: chunked\r\nContent-Length: 100\r\n";
    for fields in [both, swapped] {
        let before = bed.good.requests().len();
        let bytes = format!("POST /good/mcp HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n2\r\n{{}}\r\n0\r\n\r\n{smuggled}");
        let heard = say(&bed, bytes.as_bytes());
        let arrived = bed.good.requests().split_off(before);
        let targets: Vec<_> = arrived.iter().map(|request| (request.head.target(), request.body.as_slice())).collect();
        assert!(!targets.iter().any(|(target, _)| *target == "/smuggled"), "{fields:?}: {targets:?}");
        match heard.status {
            200 => assert_eq!(targets, [("/mcp", b"{}".as_slice())], "{fields:?}"),
            status => assert!(status >= 400 && targets.is_empty(), "{fields:?}: {status} {targets:?}"),
        }
    }
    bed.assert_as_before("lengths beside chunks");
}

/// RFC 9112, 3.2: without `Host`, or with two of them, nobody knows which site is meant.
#[test]
fn two_hosts_are_refused() {
    let bed = Bed::new(&PATIENCE);
    check_refused(&bed, "two hosts", "POST @ HTTP/1.1\r\nHost: localhost\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}");
    bed.assert_as_before("two hosts");
}

#[test]
fn methods_that_no_reverse_proxy_forwards_are_refused() {
    let bed = Bed::new(&PATIENCE);
    let before = bed.seen.all();
    for head in ["CONNECT good:80 HTTP/1.1\r\nHost: good:80\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let heard = say(&bed, head.as_bytes());
        assert!(heard.status == 0 || heard.status >= 400, "{head:?}: {heard:?}");
    }
    wait_until("both are counted", || {
        let metrics = bed.gateway.metrics();
        (metrics.metric("watchgate_http_requests_total", &[("server", "_other")]) == 2.0).then_some(())
    });
    assert_eq!(bed.seen.all(), before);
    bed.assert_as_before("methods that are not forwarded");
}
