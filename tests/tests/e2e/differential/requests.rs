//! Random requests, all of them valid, most of them such as MCP clients of either era send.

use watchgate_tests::Random;

use super::messages::{Draft, Framed, json, trailers, unknown_fields, value};

const METHODS: [&str; 20] = [
    "POST", "POST", "POST", "POST", "POST", "POST", "POST", "POST", "POST", "GET", "GET", "GET", "DELETE", "HEAD", "HEAD", "OPTIONS",
    "PUT", "PATCH", "M-SEARCH", "query",
];
/// Targets; those of the other era and of authorization among them.
const TARGETS: [&str; 12] = [
    "/mcp",
    "/mcp",
    "/",
    "/mcp?",
    "/mcp?a=%2F&b=c%20d&&e=+;f='",
    "/sse?sessionId=99d38e03",
    "/messages/?session_id=0406f29a",
    "/deep//path/%7Euser/.x/..y;y=z",
    "/.well-known/oauth-protected-resource/mcp",
    "/%C3%A6/%00/%zz",
    "/a/b?c?d/e",
    "/mcp/@:!$&'()*+,=-._~",
];

/// A request as it is to be written.
pub struct Request {
    pub method: String,
    pub pieces: Vec<Vec<u8>>,
    /// Whether it is the last one on its connection.
    pub closes: bool,
}

/// The request of this seed, which it carries in `X-Seed` so that its answer is made from it too, for a path below `mount`.
pub fn request(seed: u64, mount: &str, with_trailers: bool) -> Request {
    let mut random = Random::new(seed);
    let random = &mut random;
    let method = *random.one_of(&METHODS);
    let start = format!("{method} {mount}{} HTTP/1.1", random.one_of(&TARGETS));
    let mut draft = Draft { start, fields: Vec::new(), body: Vec::new(), framing: Framed::Absent, trailers: Vec::new() };
    draft.field(random, "X-Seed", seed.to_string());
    let host = *random.one_of(&["localhost", "localhost:8080", "127.0.0.1:1", "LOCALHOST"]);
    draft.field(random, "Host", host);
    let closes = random.percent(5);
    connection(random, &mut draft, closes);
    if random.percent(50) {
        modern(random, &mut draft)
    } else {
        legacy(random, &mut draft)
    }
    usual(random, &mut draft);
    unknown_fields(random, &mut draft);
    body(random, &mut draft, method, with_trailers);
    Request { method: method.to_owned(), pieces: draft.into_pieces(random), closes }
}

fn connection(random: &mut Random, draft: &mut Draft, closes: bool) {
    if closes {
        draft.field(random, "Connection", "close");
    } else if random.percent(30) {
        let value = *random.one_of(&["keep-alive", "Keep-Alive, X-Hop", "x-hop ,, x-hop-too", "TE"]);
        draft.field(random, "Connection", value);
        draft.field(random, "X-Hop", "1");
        draft.field(random, "X-Hop-Too", "2");
        draft.field(random, "Keep-Alive", "timeout=5");
    }
    if random.percent(40) {
        draft.field(random, "TE", "trailers");
    }
}

fn modern(random: &mut Random, draft: &mut Draft) {
    draft.field(random, "MCP-Protocol-Version", "2026-07-28");
    let method = *random.one_of(&["tools/call", "server/discover", "subscriptions/listen", "made/up", ""]);
    draft.field(random, "Mcp-Method", method);
    let name = *random.one_of(&["weather", "=?base64?w6Y=?=", "file:///a%20b", "=?BASE64?%%%?=", "a\tb"]);
    draft.field(random, "Mcp-Name", name);
    if random.percent(30) {
        let region = value(random);
        draft.field(random, "Mcp-Param-Region", region);
    }
    if random.percent(30) {
        draft.field(random, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        draft.field(random, "tracestate", "a=1,b=2");
        draft.field(random, "baggage", "k=v;p");
    }
}

fn legacy(random: &mut Random, draft: &mut Draft) {
    if random.percent(70) {
        let version = *random.one_of(&["2025-11-25", "2025-06-18", "2025-03-26", "1999-01-01"]);
        draft.field(random, "MCP-Protocol-Version", version);
    }
    if random.percent(60) {
        let session = *random.one_of(&["0406f29ae5db4caa9538284e2ea2719a", "s-1", "a.b.c~d", "!"]);
        draft.field(random, "Mcp-Session-Id", session);
    }
    if random.percent(20) {
        draft.field(random, "Last-Event-ID", "12_3");
    }
}

fn usual(random: &mut Random, draft: &mut Draft) {
    const USUAL: [(&str, &str); 16] = [
        ("Accept", "application/json, text/event-stream"),
        ("Accept", "text/event-stream;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "*"),
        ("User-Agent", "peer/1 (compatible; \"x\")"),
        ("Authorization", "Bearer not-for-logs"),
        ("Cookie", "a=1; b=2"),
        ("Cookie", "c=3"),
        ("Origin", "http://localhost:6274"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-For", "192.0.2.2, 192.0.2.3"),
        ("Forwarded", "for=192.0.2.1;proto=http"),
        ("Via", "1.1 somebody"),
        ("If-None-Match", "\"x\""),
        ("Range", "bytes=0-10"),
        ("X-Request-Id", "r-1"),
    ];
    for (name, value) in USUAL {
        if random.percent(25) {
            draft.field(random, name, value);
        }
    }
}

fn body(random: &mut Random, draft: &mut Draft, method: &str, with_trailers: bool) {
    let has_body = matches!(method, "POST" | "PUT" | "PATCH" | "query") || (method != "HEAD" && random.percent(10));
    if !has_body {
        return;
    }
    draft.body = match random.below(10) {
        0 => Vec::new(),
        1 => {
            let count = random.below(3000);
            random.bytes(count)
        }
        _ => json(random),
    };
    let kinds = ["application/json", "application/json; charset=utf-8", "application/octet-stream", "text/plain;charset=utf-16"];
    let kind = *random.one_of(&kinds);
    draft.field(random, "Content-Type", kind);
    if random.percent(5) {
        draft.field(random, "Content-Encoding", "gzip");
    }
    draft.framing = *random.one_of(&[Framed::Length, Framed::Length, Framed::Chunks]);
    if with_trailers && draft.framing == Framed::Chunks && random.percent(30) {
        draft.trailers = trailers(random);
    }
}
