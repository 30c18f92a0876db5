//! The clients of a long walk.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Tally;
use super::server::EVENTS;
use crate::http1::{Connection, MCP_POST, request};
use crate::random::Random;
use crate::wait::pause;

/// Calls in one session, each on the same connection.
const CALLS: u64 = 20;
/// Between two calls of one client.
const BETWEEN_CALLS: Duration = Duration::from_millis(250);
/// Events that a client reads of a stream which has no end.
const READ_OF_ENDLESS: usize = 6;

/// One client, until it is over. Even ones call, odd ones are on streams.
pub(super) fn walk(number: usize, gateway: SocketAddr, tally: &Tally, is_over: &AtomicBool) {
    let mut random = Random::new(number as u64);
    // Not all at once.
    pause(Duration::from_millis(random.below(1000) as u64));
    while !is_over.load(Ordering::SeqCst) {
        let walked = match number % 2 {
            0 => session(gateway, tally, is_over),
            _ => stream(gateway, tally, &mut random),
        };
        if let Err(error) = walked {
            tally.fail(&error);
            pause(BETWEEN_CALLS);
        }
    }
}

/// A session from `initialize` to DELETE.
fn session(gateway: SocketAddr, tally: &Tally, is_over: &AtomicBool) -> Result<()> {
    let mut client = Connection::open(gateway)?;
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}});
    client.send(&request("POST", "/mcp", &MCP_POST, initialize.to_string().as_bytes()))?;
    let head = client.head().context("initialize")?;
    let session = head.header("mcp-session-id").context("no session")?.to_owned();
    client.body()?;
    let fields = [MCP_POST[0], MCP_POST[1], ("Mcp-Session-Id", session.as_str()), ("MCP-Protocol-Version", "2025-11-25")];
    for id in 1..=CALLS {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "weather", "arguments": {"n": id}}});
        client.send(&request("POST", "/mcp", &fields, call.to_string().as_bytes()))?;
        let reply = client.reply().context("tools/call")?;
        ensure!(reply.status() == 200 && reply.json()?["id"] == id, "call {id}: {} {}", reply.status(), reply.text());
        tally.calls.fetch_add(1, Ordering::Relaxed);
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        pause(BETWEEN_CALLS);
    }
    client.send(&request("DELETE", "/mcp", &fields[2..], b""))?;
    let reply = client.reply().context("DELETE")?;
    ensure!(reply.status() == 200, "DELETE: {}", reply.status());
    Ok(())
}

/// A stream: one that ends, one that is left before, or one without end.
fn stream(gateway: SocketAddr, tally: &Tally, random: &mut Random) -> Result<()> {
    let mut client = Connection::open(gateway)?;
    let wanted = match random.below(3) {
        0 => {
            client.send(&request("GET", "/mcp", &[("Accept", "text/event-stream")], b""))?;
            READ_OF_ENDLESS
        }
        1 => {
            ask_for_stream(&mut client)?;
            1 + random.below(EVENTS - 1)
        }
        _ => {
            ask_for_stream(&mut client)?;
            usize::MAX
        }
    };
    let head = client.head().context("stream")?;
    ensure!(head.status() == 200, "stream: {}", head.start);
    let mut events = 0;
    while events < wanted {
        match client.body_piece().context("event")? {
            // Line ends of JSON stand in escapes, so two of them end an event.
            Some(piece) => events += piece.windows(2).filter(|pair| pair == b"\n\n").count(),
            None => break,
        }
    }
    tally.events.fetch_add(events as u64, Ordering::Relaxed);
    tally.streams.fetch_add(1, Ordering::Relaxed);
    ensure!(wanted != usize::MAX || events == EVENTS, "{events} events of {EVENTS}");
    Ok(())
}

fn ask_for_stream(client: &mut Connection) -> Result<()> {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow", "arguments": {}}});
    Ok(client.send(&request("POST", "/stream", &MCP_POST, call.to_string().as_bytes()))?)
}
