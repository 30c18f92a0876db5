//! Content codings: what passes untouched, what is decoded for a policy, and what is stopped.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use watchgate_proxy::{ProxyConfig, ServerLimits};
use watchgate_tests::{Gate, Scripted};

use crate::rig::{CALL, Rig, check_fault, config, server};

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"a SECRET"}]}}"#;
const TOOL_ERROR: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":true}}"#;
const REDACTED: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"a ***"}]}}"#;

/// Names of codings as they are in `Content-Encoding`, `raw` standing for the other thing that is called deflate.
const CODINGS: [&str; 5] = ["gzip", "deflate", "raw", "br", "zstd"];

fn name(coding: &str) -> &str {
    if coding == "raw" { "deflate" } else { coding }
}

fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(coding);
    let mut coded = encoder.flushed(plain);
    coded.extend(encoder.end());
    coded
}

/// Codes piece by piece, as a server that flushes after each event.
enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Raw(DeflateEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    fn new(coding: &str) -> Self {
        match coding {
            "gzip" => Self::Gzip(GzEncoder::new(Vec::new(), Compression::best())),
            "deflate" => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::best())),
            "raw" => Self::Raw(DeflateEncoder::new(Vec::new(), Compression::best())),
            "br" => Self::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20))),
            "zstd" => Self::Zstd(zstd::Encoder::new(Vec::new(), 3).unwrap()),
            other => panic!("{other}"),
        }
    }

    fn flushed(&mut self, plain: &[u8]) -> Vec<u8> {
        let writer: &mut dyn Write = match self {
            Self::Gzip(encoder) => encoder,
            Self::Deflate(encoder) => encoder,
            Self::Raw(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        };
        writer.write_all(plain).unwrap();
        writer.flush().unwrap();
        match self {
            Self::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Self::Deflate(encoder) => std::mem::take(encoder.get_mut()),
            Self::Raw(encoder) => std::mem::take(encoder.get_mut()),
            Self::Brotli(encoder) => std::mem::take(encoder.get_mut()),
            Self::Zstd(encoder) => std::mem::take(encoder.get_mut()),
        }
    }

    fn end(self) -> Vec<u8> {
        match self {
            Self::Gzip(encoder) => encoder.finish().unwrap(),
            Self::Deflate(encoder) => encoder.finish().unwrap(),
            Self::Raw(encoder) => encoder.finish().unwrap(),
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish().unwrap(),
        }
    }
}

/// A server whose every answer is this.
fn coded(coding: &str, body: Vec<u8>) -> Scripted {
    let coding = coding.to_owned();
    Scripted::start(move |exchange| {
        exchange.respond(200, &[("Content-Type", "application/json"), ("Content-Encoding", &coding), ("Vary", "Accept-Encoding")], &body)
    })
}

fn calls(rig: &Rig, outcome: &str) -> f64 {
    rig.metrics().metric("watchgate_mcp_tool_calls_total", &[("outcome", outcome)])
}

#[test]
fn without_policies_a_compressed_answer_passes_as_it_is_and_is_understood() {
    for coding in CODINGS {
        let body = encode(coding, TOOL_ERROR.as_bytes());
        let upstream = coded(name(coding), body.clone());
        let rig = Rig::new(config(vec![server(&[upstream.address()])]));
        let reply = rig.post_with(&[("Accept-Encoding", "gzip, br;q=0.5")], CALL);
        assert_eq!((reply.head.header("content-encoding"), &reply.body), (Some(name(coding)), &body));
        assert_eq!(reply.head.header("content-length"), Some(body.len().to_string().as_str()));
        assert_eq!(reply.head.header("vary"), Some("Accept-Encoding"));
        assert_eq!(upstream.requests()[0].head.header("accept-encoding"), Some("gzip, br;q=0.5"));
        assert_eq!((calls(&rig, "tool_error"), calls(&rig, "ok")), (1.0, 0.0), "{coding}");
    }
}

#[test]
fn codings_on_top_of_each_other_are_understood() {
    let body = encode("br", &encode("gzip", TOOL_ERROR.as_bytes()));
    let upstream = coded("gzip, br", body.clone());
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    assert_eq!(rig.call().body, body);
    assert_eq!(calls(&rig, "tool_error"), 1.0);
}

#[test]
fn a_coding_that_nobody_knows_or_that_is_broken_passes_all_the_same() {
    let mut cut = encode("gzip", TOOL_ERROR.as_bytes());
    cut.truncate(cut.len() / 2);
    for (coding, body) in [("pack200-gzip", b"whatever".to_vec()), ("gzip", b"no gzip at all".to_vec()), ("br", cut)] {
        let upstream = coded(coding, body.clone());
        let rig = Rig::new(config(vec![server(&[upstream.address()])]));
        let reply = rig.call();
        assert_eq!((reply.head.header("content-encoding"), &reply.body), (Some(coding), &body));
        assert_eq!(calls(&rig, "ok"), 1.0, "what cannot be read is taken to be well");
    }
}

#[test]
fn a_policy_has_identity_asked_for_and_reads_what_is_compressed_all_the_same() {
    for coding in CODINGS {
        let upstream = coded(name(coding), encode(coding, ANSWER.as_bytes()));
        let rig = Rig::before(&upstream.url());
        let reply = rig.post_with(&[("Accept-Encoding", "gzip, br")], CALL);
        assert_eq!((reply.head.header("content-encoding"), reply.text().as_str()), (None, REDACTED), "{coding}");
        assert_eq!(reply.head.header("content-length"), Some(REDACTED.len().to_string().as_str()));
        assert_eq!(upstream.requests()[0].head.header("accept-encoding"), Some("identity"));
        assert_eq!(calls(&rig, "ok"), 1.0);
    }
}

#[test]
fn a_policy_reads_codings_on_top_of_each_other() {
    let upstream = coded("zstd, identity, gzip", encode("gzip", &encode("zstd", ANSWER.as_bytes())));
    assert_eq!(Rig::before(&upstream.url()).call().text(), REDACTED);
}

#[test]
fn what_no_policy_can_read_is_stopped() {
    let mut cut = encode("gzip", ANSWER.as_bytes());
    cut.truncate(cut.len() - 12);
    for (coding, body, reason) in [
        ("pack200-gzip", ANSWER.as_bytes().to_vec(), "denied"),
        ("gzip, gzip, gzip, gzip, gzip", ANSWER.as_bytes().to_vec(), "denied"),
        ("gzip", ANSWER.as_bytes().to_vec(), "broken_answer"),
        ("gzip", cut, "broken_answer"),
    ] {
        let upstream = coded(coding, body);
        let rig = Rig::before(&upstream.url());
        let code = if reason == "denied" { -31001 } else { -31004 };
        check_fault(&rig.call(), 502, code, reason);
    }
}

#[test]
fn a_bomb_is_stopped_by_the_cap() {
    let zeros = vec![b' '; 50 << 20];
    for coding in CODINGS {
        // The first layer alone is small enough for the cap.
        let bomb = encode(coding, &zeros);
        let (stacked, names) = (encode("gzip", &bomb), format!("{}, gzip", name(coding)));
        for (coding, body) in [(name(coding), bomb), (&names, stacked)] {
            let upstream = coded(coding, body);
            let rig = Rig::before(&upstream.url());
            check_fault(&rig.call(), 502, -31001, "denied");
            assert_eq!(rig.metrics().metric("watchgate_limited_total", &[("limit", "answer_size")]), 1.0, "{coding}");
        }
    }
}

#[test]
fn a_bomb_that_nobody_must_read_passes_and_costs_little() {
    let bomb = encode("gzip", &vec![b' '; 50 << 20]);
    let upstream = coded("gzip", bomb.clone());
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    assert_eq!(rig.call().body, bomb);
    assert_eq!(calls(&rig, "ok"), 1.0);
}

const EVENTS: [&str; 3] = [
    "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"SECRET\"}}\n\n",
    ": keep-alive\n\n",
    "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[],\"isError\":true,\"x\":\"SECRET\"}}\n\n",
];

/// A server that codes a stream of [`EVENTS`] and waits after each until the client has it.
fn streaming(coding: &'static str, seen: &[Gate; 3]) -> Scripted {
    let seen = seen.clone();
    Scripted::start(move |exchange| {
        let mut encoder = Encoder::new(coding);
        exchange.chunked(200, &[("Content-Type", "text/event-stream"), ("Content-Encoding", name(coding))])?;
        for (event, seen) in EVENTS.iter().zip(&seen) {
            exchange.chunk(encoder.flushed(event.as_bytes()))?;
            seen.wait("the client has the event");
        }
        let last = encoder.end();
        if !last.is_empty() {
            exchange.chunk(last)?;
        }
        exchange.end()
    })
}

#[test]
fn a_compressed_stream_passes_event_by_event_and_is_understood() {
    for coding in CODINGS {
        let seen = <[Gate; 3]>::default();
        let upstream = streaming(coding, &seen);
        let rig = Rig::new(config(vec![server(&[upstream.address()])]));
        let mut client = rig.open(&[("Accept-Encoding", "gzip")], CALL);
        assert_eq!(client.head().unwrap().header("content-encoding"), Some(name(coding)));
        let mut expected = Encoder::new(coding);
        for (event, seen) in EVENTS.iter().zip(&seen) {
            let event = expected.flushed(event.as_bytes());
            let mut piece = Vec::new();
            while piece.len() < event.len() {
                piece.extend(client.body_piece().unwrap().unwrap());
            }
            assert_eq!(piece, event, "{coding}");
            seen.open();
        }
        assert_eq!(client.body().unwrap(), expected.end());
        rig.wait_for("watchgate_mcp_tool_calls_total", &[("outcome", "tool_error")], 1.0);
    }
}

#[test]
fn a_policy_reads_a_compressed_stream_event_by_event() {
    for coding in CODINGS {
        let seen = <[Gate; 3]>::default();
        let upstream = streaming(coding, &seen);
        let rig = Rig::before(&upstream.url());
        let mut client = rig.open(&[("Accept-Encoding", "gzip")], CALL);
        assert_eq!(client.head().unwrap().header("content-encoding"), None);
        for (event, seen) in EVENTS.iter().zip(&seen) {
            assert_eq!(String::from_utf8(client.body_until("\n\n").unwrap()).unwrap(), event.replace("SECRET", "***"), "{coding}");
            seen.open();
        }
        assert!(client.body().unwrap().is_empty());
        rig.wait_for("watchgate_mcp_tool_calls_total", &[("outcome", "tool_error")], 1.0);
    }
}

#[test]
fn a_policy_that_comes_sees_the_next_event_of_a_compressed_stream() {
    for coding in CODINGS {
        let seen = <[Gate; 3]>::default();
        let upstream = streaming(coding, &seen);
        let rig = Rig::bare(&upstream.url());
        let mut client = rig.open(&[], CALL);
        client.head().unwrap();
        assert_eq!(client.body_until("\n\n").unwrap(), EVENTS[0].as_bytes(), "{coding}");
        rig.go_live();
        seen.iter().for_each(Gate::open);
        let rest = String::from_utf8(client.body().unwrap()).unwrap();
        assert_eq!(rest, EVENTS[1..].concat().replace("SECRET", "***"), "{coding}");
    }
}

#[test]
fn where_no_policy_was_expected_one_that_comes_cuts_a_compressed_stream() {
    let seen = <[Gate; 3]>::default();
    let upstream = streaming("gzip", &seen);
    let rig = Rig::new(config(vec![server(&[upstream.address()])]));
    let mut client = rig.open(&[], CALL);
    client.head().unwrap();
    client.body_piece().unwrap();
    rig.go_live();
    seen.iter().for_each(Gate::open);
    assert!(client.body().is_err(), "a regular end would hide the cut");
}

#[test]
fn one_event_that_becomes_too_large_is_denied() {
    let upstream = Scripted::start(|exchange| {
        let mut encoder = Encoder::new("gzip");
        exchange.chunked(200, &[("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip")])?;
        exchange.chunk(encoder.flushed(format!("data: {}", "x".repeat(200 << 10)).as_bytes()))?;
        exchange.client_left().map(drop)
    });
    let mut server = server(&[upstream.address()]);
    server.limits = ServerLimits { message: 64 << 10, ..ServerLimits::default() };
    let rig = Rig::new(ProxyConfig { expects_policies: true, ..config(vec![server]) });
    rig.go_live();
    let mut client = rig.open(&[], CALL);
    client.head().unwrap();
    let rest = client.body().map(|body| String::from_utf8(body).unwrap());
    assert!(rest.as_ref().map_or(true, |body| !body.contains('x')), "{rest:?}");
}
