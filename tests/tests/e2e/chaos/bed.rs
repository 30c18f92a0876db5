//! A gateway with a wild server and a good one behind it, and what must be as before once the clients have gone.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use watchgate_tests::http1::{MCP_POST, request};
use watchgate_tests::vitals::descriptors;
use watchgate_tests::wait::wait_for;
use watchgate_tests::{Connection, DEADLINE, Gateway, GatewayOptions, Scripted, ScriptedSocket, wait_until};

use super::wild::{self, Ends, Seen};
use crate::messages::{answer, tool_call};

/// Body bytes of a request at most.
pub const CAP: usize = 64 << 10;

/// The gateway, its servers, and how it all stood at the start.
pub struct Bed {
    pub gateway: Gateway,
    pub wild: ScriptedSocket,
    pub good: Scripted,
    pub seen: Seen,
    start: Counts,
    next_id: AtomicU64,
}

/// How long the gateway waits for others.
pub struct Patience {
    /// For heads and bytes of servers, and bodies of clients.
    pub others: &'static str,
    /// For heads of clients.
    pub heads: &'static str,
    /// How long it keeps unused connections.
    pub pool: &'static str,
}

/// What the gateway holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    client_connections: f64,
    exchanges: f64,
    wild_connections: usize,
    good_connections: usize,
    descriptors: usize,
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// 0: the connection ended without an answer.
    pub status: u16,
    pub ends: Ends,
    pub body: Vec<u8>,
}

impl Bed {
    /// A fresh gateway that has served each server once. The wild server would soon be left alone, as it should: its circuit breaker is off, so that each
    /// exchange gets what it asks for.
    pub fn new(patience: &Patience) -> Self {
        Self::set_up(patience, "breaker.enabled = false")
    }

    /// The same with these settings for the circuit breaker of the wild server, which no request waits for.
    pub fn with_breaker(patience: &Patience, breaker: &str) -> Self {
        Self::set_up(patience, &format!("breaker = {{ {breaker} }}\nretry.max = 0"))
    }

    fn set_up(patience: &Patience, wild_settings: &str) -> Self {
        let (seen, good) = (Seen::default(), Scripted::start(answer));
        let wild = wild::start(seen.clone());
        let gateway = Gateway::start(&[], GatewayOptions::config(&config(patience, wild_settings, &wild.url(), &good.url())));
        let bed = Self { gateway, wild, good, seen, start: Counts::none(), next_id: AtomicU64::new(0) };
        assert_eq!(bed.gateway.post("/wild/answers", &tool_call(1, "t")).status(), 200);
        bed.call_good();
        let start = wait_until("the connections of the first calls are gone", || {
            let counts = bed.counts();
            (counts.clone() == Counts { descriptors: counts.descriptors, ..Counts::none() }).then_some(counts)
        });
        Self { start, ..bed }
    }

    /// An id that no request had before.
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::SeqCst)
    }

    /// Calls the good server, which must answer.
    #[track_caller]
    pub fn call_good(&self) {
        let reply = self.gateway.post("/good/mcp", &tool_call(7, "t"));
        assert_eq!((reply.status(), reply.json().unwrap()["id"].as_u64()), (200, Some(7)));
    }

    /// Calls the wild server on a connection of its own.
    pub fn call_wild(&self, script: &str) -> (String, Heard) {
        let id = self.next_id();
        let mut client = self.gateway.connect();
        client.send(&wild_request(script, id)).unwrap();
        (name(id), hear(&mut client))
    }

    /// The access line of this exchange, which must come.
    #[track_caller]
    pub fn line(&self, id: &str) -> Value {
        wait_until(&format!("the access line of {id}"), || self.lines(id).pop())
    }

    /// The access lines of this exchange so far.
    #[track_caller]
    pub fn lines(&self, id: &str) -> Vec<Value> {
        self.gateway.access_log().into_iter().filter(|line| line["request_id"] == id).collect()
    }

    fn counts(&self) -> Counts {
        let metrics = self.gateway.metrics();
        // The scrape's own connection is answered a moment before it is closed.
        let descriptors = (0..20).filter_map(|_| Some(descriptors(self.gateway.id()).ok()?.len())).min();
        Counts {
            client_connections: metrics.metric("watchgate_connections_open", &[]),
            exchanges: metrics.metric("watchgate_http_requests_in_flight", &[]),
            wild_connections: self.wild.open(),
            good_connections: self.good.open(),
            descriptors: descriptors.unwrap_or(usize::MAX),
        }
    }

    /// Waits until the gateway holds no more than at the start; nothing in its log may speak of a panic.
    #[track_caller]
    pub fn assert_as_before(&self, after: &str) {
        let mut last = self.counts();
        let is_back = |counts: &Counts| {
            counts.descriptors <= self.start.descriptors && *counts == Counts { descriptors: counts.descriptors, ..self.start.clone() }
        };
        let back = wait_for(DEADLINE, || {
            last = self.counts();
            is_back(&last).then_some(())
        });
        let open = descriptors(self.gateway.id()).unwrap();
        assert!(back.is_some(), "after {after}: {last:?}\nat the start: {:?}\nopen: {open:#?}", self.start);
        let log = self.gateway.stderr() + &self.gateway.stdout();
        assert!(!log.contains("panicked"), "after {after}: {log}");
    }
}

impl Counts {
    fn none() -> Self {
        Self { client_connections: 0.0, exchanges: 0.0, wild_connections: 0, good_connections: 0, descriptors: 0 }
    }
}

/// A call of the wild server as it stands on the wire.
pub fn wild_request(script: &str, id: u64) -> Vec<u8> {
    request_for(&format!("/wild/{script}"), id)
}

/// A call as it stands on the wire.
pub fn request_for(target: &str, id: u64) -> Vec<u8> {
    let name = name(id);
    let headers = [MCP_POST[0], MCP_POST[1], ("X-Request-Id", name.as_str())];
    request("POST", target, &headers, tool_call(id, "t").to_string().as_bytes())
}

/// The `X-Request-Id` of the request with this id.
pub fn name(id: u64) -> String {
    format!("chaos-{id}")
}

/// Reads an answer, or what there is of it.
pub fn hear(client: &mut Connection) -> Heard {
    let mut heard = Heard { status: 0, ends: Ends::Cut, body: Vec::new() };
    let Ok(Some(head)) = client.next_head() else { return heard };
    heard.status = head.status();
    loop {
        match client.body_piece() {
            Ok(Some(piece)) => heard.body.extend(piece),
            Ok(None) => return Heard { ends: Ends::Whole, ..heard },
            Err(_) => return heard,
        }
    }
}

fn config(patience: &Patience, wild_settings: &str, wild: &str, good: &str) -> String {
    let Patience { others, heads, pool } = patience;
    format!(
        "[proxy]\nconnect_timeout = \"2s\"\nhead_timeout = \"{others}\"\nidle_timeout = \"{others}\"\nstream_idle_timeout = \"{others}\"\n\
         client_head_timeout = \"{heads}\"\nclient_body_timeout = \"{others}\"\npool_idle_timeout = \"{pool}\"\nmax_request_body = \"{}KiB\"\n\
         [health]\nprobe_interval = \"1h\"\n\
         [servers.wild]\nurl = \"{wild}\"\n{wild_settings}\n[servers.good]\nurl = \"{good}\"\n",
        CAP >> 10
    )
}
