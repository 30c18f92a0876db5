//! The URL leads back through the gateway, nothing else changes, and nothing but the first event is held back.

use proptest::prelude::{prop_assert_eq, proptest};

use super::*;
use crate::server_config::{EndpointConfig, Forwarded, Mount, ServerConfig};

fn server(url_path: &str, mount: Mount) -> ServerConfig {
    ServerConfig::new("weather", EndpointConfig::http([10, 0, 0, 1].into(), 3001), url_path, mount)
}

/// A stream of the server mounted at `/weather`, opened at `client_path`.
fn place(url_path: &str, client_path: &str) -> StreamPlace {
    let mounting = Mounting::of(&server(url_path, Mount::Prefix));
    StreamPlace {
        server_path: mounting.to_server(client_path).unwrap(),
        mounting,
        client_path: client_path.to_owned(),
        own_authorities: vec!["10.0.0.1:3001".into(), "gw.example:8080".into()],
        tag: None,
    }
}

fn root() -> StreamPlace {
    StreamPlace {
        mounting: Mounting::of(&server("", Mount::Root)),
        server_path: "/sse".into(),
        client_path: "/sse".into(),
        ..place("", "/weather")
    }
}

fn check(place: &StreamPlace, url: &str, expected: Option<&str>) {
    let opened = format!("{} -> {}: {url}", place.client_path, place.server_path);
    assert_eq!(place.rewrite(url).as_ref().map(Option::as_deref), Ok(expected), "{opened}");
    // Where a client posts to, as the gateway routes it, is what the server meant.
    if let Some(reference) = Reference::parse(expected.unwrap_or(url)).filter(|reference| reference.authority.is_none()) {
        let meant = Reference::parse(url).unwrap().resolve(&place.server_path);
        let posted = place.mounting.to_server(&reference.resolve(&place.client_path));
        assert_eq!(posted.as_deref(), Some(if meant.is_empty() { "/" } else { meant.as_str() }), "{opened}");
    }
}

fn check_unreachable(place: &StreamPlace, url: &str) {
    assert_eq!(place.rewrite(url), Err(Unreachable), "{url}");
}

#[test]
fn urls_of_the_known_servers_lead_through_the_gateway() {
    // Configured as `http://10.0.0.1:3001`, used as `/weather/sse`.
    let origin = place("", "/weather/sse");
    check(&origin, "/message?sessionId=5f0c-1", Some("/weather/message?sessionId=5f0c-1"));
    check(&origin, "/messages/?session_id=0af3", Some("/weather/messages/?session_id=0af3"));
    check(&origin, "message?sessionId=1", None);
    check(&origin, "?sessionId=1", None);
    check(&origin, "./messages/?session_id=1", None);
    // Configured as `http://10.0.0.1:3001/sse`, used as `/weather`.
    let stream = place("/sse", "/weather");
    check(&stream, "/message?sessionId=1", Some("/weather/message?sessionId=1"));
    check(&stream, "/messages/?session_id=1", Some("/weather/messages/?session_id=1"));
    check(&stream, "message?sessionId=1", Some("/weather/message?sessionId=1"));
    check(&stream, "?sessionId=1", None);
    check(&place("/sse", "/weather/"), "message?sessionId=1", None);
    // An application below another path, which knows of it or not.
    let nested = place("/api/sse", "/weather");
    check(&nested, "/api/messages/?session_id=1", Some("/weather/messages/?session_id=1"));
    check_unreachable(&nested, "/messages/?session_id=1");
    check_unreachable(&place("/mcp", "/weather"), "/message?sessionId=1");
    check(&place("/mcp", "/weather"), "/mcp/message?sessionId=1", Some("/weather/message?sessionId=1"));
    check(&place("/mcp", "/weather"), "/mcp?sessionId=1", Some("/weather?sessionId=1"));
}

#[test]
fn whole_urls_of_the_server_become_paths_of_the_gateway() {
    let origin = place("", "/weather/sse");
    check(&origin, "http://10.0.0.1:3001/message?s=1", Some("/weather/message?s=1"));
    check(&origin, "https://GW.example:8080/message?s=1", Some("/weather/message?s=1"));
    check(&origin, "//10.0.0.1:3001/message#x", Some("/weather/message#x"));
    check(&origin, "http://10.0.0.1:3001?s=1", Some("/weather/?s=1"));
    check(&root(), "http://10.0.0.1:3001/message?s=1", Some("/message?s=1"));
    for foreign in [
        "http://10.0.0.1:3002/message",
        "https://example.com/message",
        "//example.com",
        "http://u@10.0.0.1:3001/x",
        "ftp://10.0.0.1:3001/x",
    ] {
        assert_eq!(origin.rewrite(foreign), Ok(None), "{foreign}");
    }
}

#[test]
fn a_server_that_keeps_its_paths_keeps_its_urls() {
    for url in ["/message?sessionId=1", "message", "?x", "../../x"] {
        check(&root(), url, None);
    }
}

#[test]
fn a_server_that_was_told_of_the_mount_is_believed() {
    let mut told = server("", Mount::Prefix);
    told.forwarded = Forwarded::XForwarded;
    let told = StreamPlace { mounting: Mounting::of(&told), ..place("", "/weather/sse") };
    assert_eq!(told.rewrite("/weather/messages/?s=1"), Ok(None));
    assert_eq!(told.rewrite("http://gw.example:8080/weather/messages/?s=1"), Ok(Some("/weather/messages/?s=1".into())));
    check(&told, "/messages/?s=1", Some("/weather/messages/?s=1"));
    // One that was not told has such a path itself.
    check(&place("", "/weather/sse"), "/weather/messages/?s=1", Some("/weather/weather/messages/?s=1"));
}

#[test]
fn a_tag_stands_where_it_can_be_taken_off_again() {
    let tag = Tag::of("10.0.0.1:3001");
    let tagged = StreamPlace { tag: Some(tag), ..place("", "/weather/sse") };
    for (url, path) in
        [("/message?s=1", "/weather/message?s=1"), ("message?s=1", "message?s=1"), ("/m/1", "/weather/m/1"), ("?s=1", "?s=1")]
    {
        let new = tagged.rewrite(url).unwrap().unwrap();
        assert_eq!(crate::affinity::untag(new.as_bytes(), [tag]), (path.as_bytes(), Some(0)), "{url}");
    }
    assert!(tagged.rewrite("/m?s=1#top").unwrap().unwrap().ends_with("#top"));
    assert_eq!(tagged.rewrite("http://example.com/m"), Ok(None));
}

fn filter(place: &StreamPlace, pieces: &[&[u8]]) -> (Vec<u8>, Rewritten) {
    let mut rewrite = EndpointRewrite::new(place.clone());
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&rewrite.feed(Bytes::copy_from_slice(piece)));
    }
    let rewritten = rewrite.rewritten();
    out.extend_from_slice(&rewrite.finish());
    (out, rewritten)
}

/// The same result however the stream is cut.
fn check_stream(stream: &[u8], expected: &[u8], rewritten: Rewritten) {
    let place = place("", "/weather/sse");
    let show = String::from_utf8_lossy;
    let check = |pieces: &[&[u8]], how: &str| {
        let (out, became) = filter(&place, pieces);
        assert_eq!((show(&out), became), (show(expected), rewritten), "{how}");
    };
    check(&[stream], "whole");
    check(&stream.chunks(1).collect::<Vec<_>>(), "byte by byte");
    for cut in 0..=stream.len() {
        check(&[&stream[..cut], &stream[cut..]], &format!("cut at {cut}"));
    }
}

#[test]
fn every_other_byte_stays() {
    let check = |stream: &[u8], expected: &[u8]| check_stream(stream, expected, Rewritten::Changed);
    check(b"event: endpoint\ndata: /message?s=1\n\n", b"event: endpoint\ndata: /weather/message?s=1\n\n");
    check(b"event:endpoint\r\ndata:/m\r\n\r\n", b"event:endpoint\r\ndata:/weather/m\r\n\r\n");
    check(b"data:  /m \revent: endpoint\rid: 7\r\r", b"data:  /weather/m \revent: endpoint\rid: 7\r\r");
    check(
        b"\xef\xbb\xbf: hello\n\nretry: 5\n\nid: 0\ndata:\n\n:x\nevent: endpoint\nid: 1\ndata: /m\nx: y\n\nevent: endpoint\ndata: /m\n\n",
        b"\xef\xbb\xbf: hello\n\nretry: 5\n\nid: 0\ndata:\n\n:x\nevent: endpoint\nid: 1\ndata: /weather/m\nx: y\n\nevent: endpoint\ndata: /m\n\n",
    );
}

#[test]
fn what_is_no_endpoint_event_stays() {
    let check = |stream: &[u8], rewritten| check_stream(stream, stream, rewritten);
    check(b"", Rewritten::NotYet);
    check(b": ping\n\n: ping\n\n", Rewritten::NotYet);
    check(b"event: endpoint\ndata: /m\n", Rewritten::NotYet);
    check(b"data: {\"jsonrpc\":\"2.0\"}\n\nevent: endpoint\ndata: /m\n\n", Rewritten::NoEndpoint);
    check(b"event: endpoints\ndata: /m\n\n", Rewritten::NoEndpoint);
    check(b"event: endpoint\ndata: /m\ndata: /n\n\n", Rewritten::Kept);
    check(b"event: endpoint\ndata: /m n\n\n", Rewritten::Kept);
    check(b"event: endpoint\ndata: /\xff\n\n", Rewritten::Kept);
    check(b"event: endpoint\ndata: https://example.com/m\n\n", Rewritten::Kept);
    check(b"event: endpoint\ndata: /x/%2e%2e/m\n\n", Rewritten::Unreachable);
}

#[test]
fn a_first_event_that_is_too_large_is_not_held_back() {
    let mut stream = b"event: endpoint\ndata: /".to_vec();
    stream.resize(40_000, b'm');
    stream.extend_from_slice(b"\n\nevent: endpoint\ndata: /m\n\n");
    for size in [1, 100, 16_384, 40_010, 50_000] {
        let mut rewrite = EndpointRewrite::new(place("", "/weather/sse"));
        let mut fed = 0;
        let mut out = Vec::new();
        for piece in stream.chunks(size) {
            fed += piece.len();
            out.extend_from_slice(&rewrite.feed(Bytes::copy_from_slice(piece)));
            assert!(fed - out.len() <= MAX_FIRST_EVENT);
        }
        assert!(rewrite.finish().is_empty());
        assert!(out == stream, "{size}");
    }
}

#[test]
fn comments_and_what_follows_pass_at_once() {
    let mut rewrite = EndpointRewrite::new(place("", "/weather/sse"));
    assert_eq!(rewrite.feed(Bytes::from_static(b": ping\n")), ": ping\n");
    assert_eq!(rewrite.feed(Bytes::from_static(b"\nevent: end")), "\n");
    assert_eq!(rewrite.feed(Bytes::from_static(b"point\ndata: /m\n\nda")), "event: endpoint\ndata: /weather/m\n\nda");
    let chunk = Bytes::from_static(b"ta: x");
    assert_eq!(rewrite.feed(chunk.clone()).as_ptr(), chunk.as_ptr());
}

proptest! {
    #[test]
    fn no_cut_changes_the_outcome(
        stream in "(\u{feff})?((data|event|id|:|x): ?(endpoint|/m|//h/m|m|)?(\r\n|\n|\r)?(\r\n|\n|\r)){0,6}",
        size in 1usize..40,
    ) {
        let place = place("", "/weather/sse");
        let whole = filter(&place, &[stream.as_bytes()]);
        prop_assert_eq!(filter(&place, &stream.as_bytes().chunks(size).collect::<Vec<_>>()), whole.clone());
        if whole.1 != Rewritten::Changed {
            prop_assert_eq!(whole.0, stream.as_bytes());
        }
    }
}
