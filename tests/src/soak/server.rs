//! The server of a long walk: documents, streams that end, and streams that do not.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::http1::{Connection, Head};
use crate::scripted_socket::ScriptedSocket;
use crate::wait::pause;

/// Events of a stream that ends, its answer included.
pub(super) const EVENTS: usize = 8;
/// Between two events of a stream.
const BETWEEN_EVENTS: Duration = Duration::from_millis(250);
/// What a tool has to say: a usual amount.
const TEXT: &str = "It is 21 degrees in the shade and the wind comes from the west, as it mostly does at this time of the year.";

static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// Starts a server that answers `initialize` with a session, and POSTs to `/stream` and GETs with event streams.
pub fn server() -> ScriptedSocket {
    // A client that leaves its stream is what half of the walk is about.
    ScriptedSocket::start(|stream| drop(serve(stream)))
}

fn serve(stream: TcpStream) -> Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some(head) = connection.next_head()? {
        let body = connection.body()?;
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        answer(&mut connection, &head, &message)?;
    }
    Ok(())
}

fn answer(connection: &mut Connection, head: &Head, message: &Value) -> Result<()> {
    if head.method() == "GET" {
        return events(connection, usize::MAX, &Value::Null);
    }
    if head.method() == "DELETE" {
        return Ok(connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?);
    }
    if head.target().ends_with("/stream") {
        return events(connection, EVENTS, &message["id"]);
    }
    let mut fields = String::new();
    let mut result = json!({"content": [{"type": "text", "text": TEXT}], "isError": false});
    if message["method"] == "initialize" {
        fields = format!("Mcp-Session-Id: walk-{}\r\n", SESSIONS.fetch_add(1, Ordering::Relaxed));
        result = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "walk", "version": "1"}});
    }
    let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}Content-Length: {length}\r\n\r\n");
    Ok(connection.send((head + &body).as_bytes())?)
}

/// `count` events, the last of them the answer; ends early when the client leaves.
fn events(connection: &mut Connection, count: usize, id: &Value) -> Result<()> {
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for number in 1..count {
        let params = json!({"progressToken": 7, "progress": number, "message": TEXT});
        event(connection, number, &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))?;
        pause(BETWEEN_EVENTS);
    }
    event(connection, count, &json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": TEXT}]}}))?;
    Ok(connection.send(b"0\r\n\r\n")?)
}

fn event(connection: &mut Connection, number: usize, message: &Value) -> Result<()> {
    let event = format!("id: {number}\ndata: {message}\n\n");
    Ok(connection.send(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?)
}
