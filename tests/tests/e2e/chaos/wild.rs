//! The wild server: each script is one way to treat a request, with what its client and the operator must see of it.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;
use watchgate_tests::{Connection, Head, ScriptedSocket};

use crate::messages::{event, tool_result};

/// How an answer ends for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// All of it is there.
    Whole,
    /// The connection breaks in the middle.
    Cut,
}

/// What becomes of the connection after the script.
pub enum Then {
    /// The next request may come.
    Keep,
    /// It is closed.
    Close,
    /// It is closed as soon as the next request begins on it.
    CloseOnNext,
    /// It is reset as soon as the next request begins on it.
    ResetOnNext,
}

/// One way to treat a request.
#[derive(Clone, Copy)]
pub struct Script {
    /// The last segment of the paths that ask for it.
    pub name: &'static str,
    /// The status that the client sees.
    pub status: u16,
    /// How the answer ends for the client.
    pub ends: Ends,
    /// The outcome in the metrics and the access line.
    pub outcome: &'static str,
    act: Act,
}

#[derive(Clone, Copy)]
enum Act {
    /// Writes this, with the id of the request in the place of `@`.
    Writes(&'static [&'static str], Last),
    /// Does this with the connection and the id.
    Does(fn(&mut Connection, &Value) -> Result<Then>),
}

/// What follows the last byte written.
#[derive(Clone, Copy)]
enum Last {
    Keeps,
    Closes,
    Resets,
    Hangs,
}

const fn writes(
    name: &'static str,
    pieces: &'static [&'static str],
    last: Last,
    (status, ends, outcome): (u16, Ends, &'static str),
) -> Script {
    Script { name, status, ends, outcome, act: Act::Writes(pieces, last) }
}

const fn does(
    name: &'static str,
    act: fn(&mut Connection, &Value) -> Result<Then>,
    (status, ends, outcome): (u16, Ends, &'static str),
) -> Script {
    Script { name, status, ends, outcome, act: Act::Does(act) }
}

const FINE: (u16, Ends, &str) = (200, Ends::Whole, "ok");
const BROKEN: (u16, Ends, &str) = (502, Ends::Whole, "aborted");
const LATE: (u16, Ends, &str) = (504, Ends::Whole, "timeout");
const CUT: (u16, Ends, &str) = (200, Ends::Cut, "aborted");
const CUT_LATE: (u16, Ends, &str) = (200, Ends::Cut, "timeout");
const UNANSWERED: (u16, Ends, &str) = (200, Ends::Whole, "aborted");

const DOCUMENT: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\":\"2.0\",";
const CHUNK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"jsonrpc\":\"2.0\",";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const NOTIFICATION: &str = "38\r\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"\r\n2\r\n}\n\r\n1\r\n\n\r\n";
const HALF_AN_EVENT: &str = "19\r\ndata: {\"jsonrpc\":\"2.0\",\"i\r\n";

/// Every script that leaves the connections of other requests alone.
pub const SCRIPTS: [Script; 36] = [
    does("answers", answers, FINE),
    does("answers-and-says-more", answers_twice, FINE),
    does("dribbles", dribbles, FINE),
    does("streams", streams, FINE),
    does("answers-as-of-old", answers_until_close, FINE),
    does("informs-first", informs_first, FINE),
    does("length-and-chunks", length_and_chunks, FINE),
    writes("fails", &["HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"], Last::Keeps, (500, Ends::Whole, "http_error")),
    does("refuses-unread", refuses_unread, (413, Ends::Whole, "http_error")),
    writes("no-json", &["HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n<ht>"], Last::Keeps, UNANSWERED),
    writes("half-an-event-and-ends", &[EVENTS, NOTIFICATION, HALF_AN_EVENT, "0\r\n\r\n"], Last::Keeps, UNANSWERED),
    writes("no-event", &[EVENTS, "0\r\n\r\n"], Last::Keeps, UNANSWERED),
    writes("closes", &[""], Last::Closes, BROKEN),
    writes("resets", &[""], Last::Resets, BROKEN),
    writes("hangs", &[""], Last::Hangs, LATE),
    writes("half-a-head-and-closes", &["HTTP/1.1 200 OK\r\nContent-Ty"], Last::Closes, BROKEN),
    writes("half-a-head-and-resets", &["HTTP/1.1 200 OK\r\nContent-Ty"], Last::Resets, BROKEN),
    writes("half-a-head-and-hangs", &["HTTP/1.1 200 OK\r\nContent-Ty"], Last::Hangs, LATE),
    writes("half-a-document-and-closes", &[DOCUMENT], Last::Closes, CUT),
    writes("half-a-document-and-resets", &[DOCUMENT], Last::Resets, CUT),
    writes("half-a-document-and-hangs", &[DOCUMENT], Last::Hangs, CUT_LATE),
    writes("half-a-chunk-and-closes", &[CHUNK], Last::Closes, CUT),
    writes("half-an-event-and-closes", &[EVENTS, NOTIFICATION, HALF_AN_EVENT], Last::Closes, CUT),
    writes("half-an-event-and-resets", &[EVENTS, NOTIFICATION, HALF_AN_EVENT], Last::Resets, CUT),
    writes("half-an-event-and-hangs", &[EVENTS, NOTIFICATION, HALF_AN_EVENT], Last::Hangs, CUT_LATE),
    writes("no-chunk-size", &[EVENTS, NOTIFICATION, "data: {}\n\n"], Last::Hangs, CUT),
    writes("a-chunk-without-end", &[EVENTS, NOTIFICATION, "fffffffffffffffff\r\ndata:"], Last::Hangs, CUT),
    writes("switches-protocols", &["HTTP/1.1 101 Go\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"], Last::Hangs, BROKEN),
    writes("talks-mail", &["220 mail.example ESMTP\r\n"], Last::Hangs, BROKEN),
    writes("odd-status", &["HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"], Last::Hangs, BROKEN),
    writes("no-colon", &["HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"], Last::Hangs, BROKEN),
    writes("negative-length", &["HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"], Last::Hangs, BROKEN),
    writes("two-lengths", &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"], Last::Hangs, BROKEN),
    does("zeros", zeros, BROKEN),
    does("thousand-headers", thousand_headers, BROKEN),
    does("head-without-end", head_without_end, BROKEN),
];

/// Scripts whose end of the connection may meet the next request on it.
pub const FAITHLESS: [Script; 3] = [
    does("answers-and-closes", |connection, id| answers(connection, id).map(|_| Then::Close), FINE),
    does("closes-on-next", |connection, id| answers(connection, id).map(|_| Then::CloseOnNext), FINE),
    does("resets-on-next", |connection, id| answers(connection, id).map(|_| Then::ResetOnNext), FINE),
];

/// More than the sockets on the way can hold.
pub const FLOOD: Script = does("floods", floods, (200, Ends::Whole, "aborted"));

/// How often each request, by its `X-Request-Id`, was seen.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<HashMap<String, usize>>>);

impl Seen {
    /// How often the request with this id was seen.
    pub fn times(&self, id: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied().unwrap_or(0)
    }

    /// How many requests were seen in all.
    pub fn all(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    fn note(&self, id: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default() += 1;
    }
}

/// Starts a wild server that notes in `seen` what it gets.
pub fn start(seen: Seen) -> ScriptedSocket {
    ScriptedSocket::start(move |stream| {
        // However a connection ends is part of the game.
        let _ = serve(stream, &seen);
    })
}

fn serve(stream: TcpStream, seen: &Seen) -> Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some(head) = connection.next_head()? {
        if !is_probe(&head) {
            seen.note(head.header("x-request-id").unwrap_or_default());
        }
        let name = head.target().rsplit('/').next().unwrap_or_default().to_owned();
        let script = SCRIPTS.iter().chain(&FAITHLESS).chain([&FLOOD]).find(|script| script.name == name);
        let reads_body = name != "refuses-unread";
        let body = if reads_body { connection.body()? } else { Vec::new() };
        let id = serde_json::from_slice::<Value>(&body).map(|message| message["id"].clone()).unwrap_or_default();
        let then = match script.map(|script| script.act) {
            // The gateway's own question whether the server is well.
            None => connection.send(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").map(|()| Then::Keep)?,
            Some(Act::Does(act)) => act(&mut connection, &id)?,
            Some(Act::Writes(pieces, last)) => {
                pieces.iter().try_for_each(|piece| connection.send(piece.as_bytes()))?;
                match last {
                    Last::Keeps => Then::Keep,
                    Last::Closes => Then::Close,
                    Last::Resets => return reset(connection),
                    Last::Hangs => return connection.wait_for_end().map(drop),
                }
            }
        };
        match then {
            Then::Keep => {}
            Then::Close => return Ok(()),
            Then::CloseOnNext => {
                connection.has_more()?;
                connection.finish_sending()?;
                return connection.wait_for_end().map(drop);
            }
            Then::ResetOnNext => {
                connection.has_more()?;
                return reset(connection);
            }
        }
    }
    Ok(())
}

/// Whether the gateway asks for itself.
fn is_probe(head: &Head) -> bool {
    head.header("user-agent").is_some_and(|agent| agent.starts_with("watchgate/"))
}

fn reset(connection: Connection) -> Result<()> {
    connection.reset();
    Ok(())
}

fn document(id: &Value) -> Vec<u8> {
    let body = tool_result(id, "done");
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn answers(connection: &mut Connection, id: &Value) -> Result<Then> {
    connection.send(&document(id))?;
    Ok(Then::Keep)
}

/// A second answer that nobody asked for, and that must not become the next request's.
fn answers_twice(connection: &mut Connection, id: &Value) -> Result<Then> {
    connection.send(&[document(id), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".to_vec()].concat())?;
    connection.wait_for_end()?;
    Ok(Then::Close)
}

fn dribbles(connection: &mut Connection, id: &Value) -> Result<Then> {
    document(id).chunks(1).try_for_each(|byte| connection.send(byte))?;
    Ok(Then::Keep)
}

fn streams(connection: &mut Connection, id: &Value) -> Result<Then> {
    connection.send([EVENTS, NOTIFICATION, NOTIFICATION].concat().as_bytes())?;
    let last = event(&tool_result(id, "done"));
    connection.send(format!("{:x}\r\n{last}\r\n0\r\n\r\n", last.len()).as_bytes())?;
    Ok(Then::Keep)
}

fn floods(connection: &mut Connection, _: &Value) -> Result<Then> {
    connection.send(EVENTS.as_bytes())?;
    let chunk = format!("10000\r\n:{}\n\r\n", "x".repeat(0x10000 - 2));
    (0..1024).try_for_each(|_| connection.send(chunk.as_bytes()))?;
    connection.send(b"0\r\n\r\n")?;
    Ok(Then::Keep)
}

fn answers_until_close(connection: &mut Connection, id: &Value) -> Result<Then> {
    connection.send(format!("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}", tool_result(id, "done")).as_bytes())?;
    Ok(Then::Close)
}

fn informs_first(connection: &mut Connection, id: &Value) -> Result<Then> {
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")?;
    answers(connection, id)
}

/// The chunks count (RFC 9112, 6.3), and the connection is not to be trusted any more.
fn length_and_chunks(connection: &mut Connection, id: &Value) -> Result<Then> {
    let body = tool_result(id, "done");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes())?;
    Ok(Then::Keep)
}

fn refuses_unread(connection: &mut Connection, _: &Value) -> Result<Then> {
    connection.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    connection.wait_for_end()?;
    Ok(Then::Close)
}

fn zeros(connection: &mut Connection, _: &Value) -> Result<Then> {
    connection.send(&[0; 70_000]).context("the gateway has seen enough")?;
    connection.wait_for_end()?;
    Ok(Then::Close)
}

fn thousand_headers(connection: &mut Connection, _: &Value) -> Result<Then> {
    let headers: String = (0..1000).map(|n| format!("X-{n}: {n}\r\n")).collect();
    connection.send(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n").as_bytes())?;
    connection.wait_for_end()?;
    Ok(Then::Close)
}

fn head_without_end(connection: &mut Connection, _: &Value) -> Result<Then> {
    connection.send(b"HTTP/1.1 200 OK\r\nX-Long: ")?;
    // Fails when the gateway has seen enough.
    (0..64).try_for_each(|_| connection.send(&[b'x'; 64 << 10]))?;
    connection.wait_for_end()?;
    Ok(Then::Close)
}
