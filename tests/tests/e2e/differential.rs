//! Without plugins nothing is altered: the same random valid traffic is sent directly and through the gateway, and both ends compare what they got.

mod answers;
mod messages;
mod requests;

use watchgate_tests::raw::{Field, Framing, Kind, RawConnection, RawMessage};
use watchgate_tests::{Gateway, GatewayOptions, Random, ScriptedSocket};

use answers::Arrived;
use requests::{Request, request};

const CASES: u64 = 2000;

/// Whether bodies in chunks have trailers, in both directions.
const TRAILERS: bool = true;

/// Fields of one connection (RFC 9110, 7.6.1), and those that frame a body.
const HOP_BY_HOP: [&str; 7] = ["connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "content-length"];

/// One way from a client to a server.
struct Route {
    address: std::net::SocketAddr,
    arrived: Arrived,
    kept: Option<RawConnection>,
}

/// What both ends of a route got of one exchange.
struct Passed {
    request: RawMessage,
    answer: RawMessage,
    kind: Kind,
}

impl Route {
    fn pass(&mut self, request: &Request) -> anyhow::Result<Passed> {
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => RawConnection::open(self.address)?,
        };
        request.pieces.iter().try_for_each(|piece| connection.send(piece))?;
        let kind = if request.method == "HEAD" { Kind::AnswerToHead } else { Kind::Answer };
        let answer = connection.message(kind)?.ok_or_else(|| anyhow::anyhow!("no answer"))?;
        let mut arrived = self.arrived.take();
        anyhow::ensure!(arrived.len() == 1, "{} requests arrived: {arrived:?}, answered: {answer:?}", arrived.len());
        let closes = request.closes || answer.framing == Framing::Close || answer.start.starts_with(b"HTTP/1.0") || says_close(&answer);
        self.kept = (!closes).then_some(connection);
        Ok(Passed { request: arrived.remove(0), answer, kind })
    }
}

fn says_close(message: &RawMessage) -> bool {
    message.header("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"))
}

/// What must be the same on both routes: all but what belongs to one connection. Equal names stand together, in the place of the first of them, since
/// only the order among them means anything (RFC 9110, 5.3).
fn end_to_end(message: &RawMessage, kind: Kind) -> RawMessage {
    let is_named = |name: &[u8]| {
        let options =
            message.headers.iter().filter(|(name, _)| name == b"connection").flat_map(|(_, value)| value.split(|byte| *byte == b','));
        options.map(<[u8]>::trim_ascii).any(|option| option.eq_ignore_ascii_case(name))
    };
    // Where there is no body, its length is a statement like any other.
    let is_statement = |name: &[u8]| name == b"content-length" && kind != Kind::Request && message.framing == Framing::Nothing;
    let is_hop = |name: &[u8]| HOP_BY_HOP.iter().any(|hop| hop.as_bytes() == name) && !is_statement(name);
    let headers = message.headers.iter().filter(|(name, _)| !is_hop(name) && !is_named(name)).cloned().collect();
    let start = match kind {
        Kind::Request => message.start.clone(),
        // The version is the connection's.
        Kind::Answer | Kind::AnswerToHead => message.start[message.start.len().min(9)..].to_vec(),
    };
    let framing = if message.body.is_empty() { Framing::Nothing } else { Framing::Length };
    RawMessage { start, headers: together(headers), framing, ..message.clone() }
}

fn together(mut fields: Vec<Field>) -> Vec<Field> {
    let names: Vec<Vec<u8>> = fields.iter().map(|(name, _)| name.clone()).collect();
    fields.sort_by_key(|(name, _)| names.iter().position(|first| first == name));
    fields
}

#[track_caller]
fn check_same(seed: u64, what: &str, kind: Kind, direct: &RawMessage, through: &RawMessage) {
    let (expected, found) = (end_to_end(direct, kind), end_to_end(through, kind));
    assert!(
        expected == found,
        "seed {seed}: the {what} differs\n--- direct\n{direct:?}--- through the gateway\n{through:?}\n{}",
        first_difference(&expected, &found)
    );
}

fn first_difference(expected: &RawMessage, found: &RawMessage) -> String {
    let (ours, theirs) = (format!("{expected:?}"), format!("{found:?}"));
    let lines = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
    lines.map_or_else(|| "one is longer than the other".to_owned(), |(ours, theirs)| format!("- {ours}\n+ {theirs}"))
}

/// Sends this many requests both ways; `mount` is where the gateway has the server.
fn check_traffic(gateway: &Gateway, (server, arrived): (ScriptedSocket, Arrived), mount: &str, cases: u64) {
    let first = Random::seed(1_000_000);
    let (direct_server, direct_arrived) = answers::server(TRAILERS);
    let mut direct = Route { address: direct_server.address(), arrived: direct_arrived, kept: None };
    let mut through = Route { address: gateway.traffic, arrived, kept: None };
    for seed in first..first + cases {
        let pass = |route: &mut Route, mount| {
            let request = request(seed, mount, TRAILERS);
            route
                .pass(&request)
                .unwrap_or_else(|error| panic!("seed {seed}, {mount:?}: {error:#}\n{}", request.pieces.concat().escape_ascii()))
        };
        let (direct, through) = (pass(&mut direct, ""), pass(&mut through, mount));
        check_same(seed, "request", Kind::Request, &put_right(direct.request, mount), &put_right(through.request, mount));
        check_same(seed, "answer", direct.kind, &seen_below(direct.answer, mount), &through.answer);
    }
    drop((server, direct_server));
}

/// Without what a mount has the gateway ask for: answers to GET in which an `endpoint` event could be put right.
fn put_right(mut request: RawMessage, mount: &str) -> RawMessage {
    if !mount.is_empty() && request.word(0) == b"GET" {
        request.headers.retain(|(name, _)| ![&b"accept-encoding"[..], b"range", b"if-range"].contains(&name.as_slice()));
    }
    request
}

/// As clients of a mount are to get it: a path of the server leads through the mount.
fn seen_below(mut answer: RawMessage, mount: &str) -> RawMessage {
    for (name, value) in &mut answer.headers {
        if name == b"location" && value.starts_with(b"/") {
            value.splice(..0, mount.bytes());
        }
    }
    answer
}

#[test]
fn random_valid_traffic_passes_byte_for_byte() {
    let server = answers::server(TRAILERS);
    let gateway = Gateway::before(&server.0.url());
    check_traffic(&gateway, server, "", CASES);
}

#[test]
fn so_it_does_below_a_mount() {
    let server = answers::server(TRAILERS);
    let gateway = Gateway::start(&["--upstream", &format!("m={}", server.0.url())], GatewayOptions::default());
    check_traffic(&gateway, server, "/m", CASES / 4);
}
