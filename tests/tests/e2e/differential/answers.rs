//! The server of the comparison: its answer to a request is made of the request's seed and nothing else.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use watchgate_tests::raw::{Kind, RawConnection, RawMessage};
use watchgate_tests::{Random, ScriptedSocket};

use super::messages::{Draft, Framed, events, json, trailers, unknown_fields};

/// Failures of servers are rarer than they could be: a gateway may rightly leave alone a server that fails most of the time.
const STATUSES: [&str; 40] = [
    "200 OK",
    "200 OK",
    "200 OK",
    "200 OK",
    "200 OK",
    "200 OK",
    "200 OK",
    "200 OK",
    "200 OK",
    "200 OK",
    "200 ",
    "200 Very well",
    "200 ok",
    "201 Created",
    "202 Accepted",
    "202 Accepted",
    "203 Perhaps",
    "204 No Content",
    "204 No Content",
    "206 Partial Content",
    "299 Odd",
    "301 Moved Permanently",
    "304 Not Modified",
    "304 Not Modified",
    "307 Temporary Redirect",
    "400 Bad Request",
    "401 Unauthorized",
    "403 Forbidden",
    "404 Not Found",
    "405 Method Not Allowed",
    "406 Not Acceptable",
    "409 Conflict",
    "421 Misdirected Request",
    "429 Too Many Requests",
    "451 No",
    "500 Internal Server Error",
    "501 Not Implemented",
    "503 Service Unavailable",
    "599 Whatever",
    "799 Out of range",
];

/// What the server got, in its order.
#[derive(Clone, Default)]
pub struct Arrived(Arc<Mutex<Vec<RawMessage>>>);

impl Arrived {
    /// Takes what has arrived so far.
    pub fn take(&self) -> Vec<RawMessage> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts a server.
pub fn server(with_trailers: bool) -> (ScriptedSocket, Arrived) {
    let arrived = Arrived::default();
    let socket = ScriptedSocket::start({
        let arrived = arrived.clone();
        // A client that leaves is noticed where its answer is missed.
        move |stream| drop(serve(stream, &arrived, with_trailers))
    });
    (socket, arrived)
}

fn serve(mut stream: TcpStream, arrived: &Arrived, with_trailers: bool) -> Result<()> {
    let mut requests = RawConnection::try_from(stream.try_clone()?)?;
    while let Some(request) = requests.message(Kind::Request)? {
        let seed = request.header("x-seed").map(|seed| std::str::from_utf8(seed).map(str::parse::<u64>));
        let Some(seed) = seed else {
            // The gateway's own question whether the server is well.
            stream.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let is_to_head = request.word(0) == b"HEAD";
        // Whoever does not ask for them may be spared them by anybody on the way (RFC 9110, 6.5.1).
        let with_trailers = with_trailers && request.header("te") == Some(b"trailers");
        arrived.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        let (pieces, closes) = answer(seed?.context("a seed is a number")?, is_to_head, with_trailers);
        pieces.iter().try_for_each(|piece| stream.write_all(piece))?;
        if closes {
            return Ok(());
        }
    }
    Ok(())
}

/// The pieces of the answer, and whether the connection closes after them.
fn answer(seed: u64, is_to_head: bool, with_trailers: bool) -> (Vec<Vec<u8>>, bool) {
    // Not the numbers that the request was made of.
    let mut random = Random::new(!seed);
    let random = &mut random;
    let status = *random.one_of(&STATUSES);
    let version = if random.percent(3) { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut draft =
        Draft { start: format!("{version} {status}"), fields: Vec::new(), body: Vec::new(), framing: Framed::Absent, trailers: Vec::new() };
    usual(random, &mut draft);
    unknown_fields(random, &mut draft);
    let has_body = !is_to_head && !status.starts_with("204") && !status.starts_with("304");
    let mut closes = version == "HTTP/1.0";
    if has_body {
        body(random, &mut draft);
        draft.framing = match random.below(10) {
            _ if closes => Framed::Close,
            0 => Framed::Close,
            1..5 => Framed::Chunks,
            _ => Framed::Length,
        };
        closes |= draft.framing == Framed::Close;
        if with_trailers && draft.framing == Framed::Chunks && random.percent(30) {
            draft.trailers = trailers(random);
        }
    } else if is_to_head && !status.starts_with("204") && !status.starts_with("304") && random.percent(50) {
        // What the answer to GET would have had (RFC 9110, 8.6). It may stand in a 304 too, where hyper leaves it out.
        draft.field(random, "Content-Length", "1234");
        draft.field(random, "Content-Type", "application/json");
    }
    if random.percent(20) {
        let value = *random.one_of(&["keep-alive", "x-hop", "close", "Keep-Alive, X-Hop"]);
        closes |= value == "close";
        draft.field(random, "Connection", value);
        draft.field(random, "X-Hop", "1");
        draft.field(random, "Keep-Alive", "timeout=50, max=100");
    }
    (draft.into_pieces(random), closes)
}

fn usual(random: &mut Random, draft: &mut Draft) {
    const USUAL: [(&str, &str); 16] = [
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Server", "uvicorn"),
        ("Cache-Control", "no-cache, no-transform"),
        ("X-Accel-Buffering", "no"),
        ("Mcp-Session-Id", "0406f29ae5db4caa9538284e2ea2719a"),
        ("MCP-Protocol-Version", "2025-11-25"),
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=2"),
        ("Set-Cookie", "a=3"),
        ("Vary", "Origin"),
        ("Access-Control-Expose-Headers", "mcp-session-id"),
        ("WWW-Authenticate", "Bearer resource_metadata=\"https://mcp.example/.well-known/oauth-protected-resource\", scope=\"a b\""),
        ("Retry-After", "7"),
        ("Allow", "POST"),
        ("Location", "/elsewhere?x=\"y\""),
        ("ETag", "W/\"x\""),
    ];
    for (name, value) in USUAL {
        if random.percent(25) {
            draft.field(random, name, value);
        }
    }
}

fn body(random: &mut Random, draft: &mut Draft) {
    let (kind, body) = match random.below(10) {
        0 => (*random.one_of(&["text/html", "application/octet-stream", "text/event-streams", ""]), some_bytes(random)),
        1 => ("application/json", Vec::new()),
        2..6 => (*random.one_of(&["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream ;x=y"]), events(random)),
        _ => (*random.one_of(&["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"]), json(random)),
    };
    draft.field(random, "Content-Type", kind);
    draft.body = body;
    if random.percent(12) {
        // What it says it is, it need not be: nobody on the way has to read it.
        let coding = *random.one_of(&["gzip", "deflate", "br", "zstd", "gzip, br", "x-unknown", "identity"]);
        draft.field(random, "Content-Encoding", coding);
        if random.percent(70) {
            draft.body = some_bytes(random);
        }
    }
}

fn some_bytes(random: &mut Random) -> Vec<u8> {
    let count = random.below(3000);
    random.bytes(count)
}
