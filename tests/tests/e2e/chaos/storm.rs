//! Everything at once: clients and servers misbehave at random, and the books are right afterwards.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use watchgate_tests::http1::request;
use watchgate_tests::{Connection, Random, wait_until};

use super::bed::{Bed, CAP, Patience, hear, name, wild_request};
use super::clients::{Leaving, half_a_request, leave};
use super::heads::{REFUSED, say};
use super::wild::{Ends, SCRIPTS, Script};

const PATIENCE: Patience = Patience { others: "2s", heads: "20s", pool: "300ms" };
const CLIENTS: u64 = 12;
const EXCHANGES_EACH: usize = 60;
/// Of those that wait for a script that hangs, this share is thrown again.
const HANGING_SPARED: usize = 80;
/// What a call of the good server may take while the machine is busy with the storm.
const BOUND: Duration = Duration::from_secs(2);

/// A request of the storm and what its record may say.
struct Sent {
    id: String,
    what: String,
    outcomes: Vec<&'static str>,
    lines: RangeInclusive<usize>,
}

impl Sent {
    fn once(id: u64, what: String, outcomes: &[&'static str]) -> Self {
        Self { id: name(id), what, outcomes: outcomes.to_vec(), lines: 1..=1 }
    }

    /// The client left: whether its request was read before, nobody knows.
    fn perhaps(id: u64, what: String, outcomes: &[&'static str]) -> Self {
        Self { lines: 0..=1, ..Self::once(id, what, outcomes) }
    }
}

fn script(random: &mut Random) -> &'static Script {
    let chosen = random.one_of(&SCRIPTS);
    if chosen.outcome == "timeout" && random.percent(HANGING_SPARED) { script(random) } else { chosen }
}

/// One client's turn: what it sent.
fn turn(bed: &Bed, random: &mut Random, kept: &mut Option<Connection>) -> Vec<Sent> {
    match random.below(100) {
        0..40 => vec![calls(bed, random, kept)],
        40..45 => vec![dribbles(bed, random)],
        45..53 => pipelines(bed, random),
        53..60 => {
            let bytes = wild_request("answers", bed.next_id());
            let mut client = bed.gateway.connect();
            let _ = client.send(&bytes[..random.below(bytes.len() / 2)]);
            leave(client, way_to_leave(random));
            Vec::new()
        }
        60..66 => {
            let id = bed.next_id();
            let mut client = bed.gateway.connect();
            let _ = client.send(&half_a_request("answers", id));
            leave(client, way_to_leave(random));
            vec![Sent::perhaps(id, "left in its body".into(), &["cancelled"])]
        }
        66..82 => vec![leaves(bed, random)],
        82..87 => {
            vec![oversized(bed)]
        }
        _ => {
            let (what, head) = random.one_of(&REFUSED);
            let heard = say(bed, head.replace('@', "/wild/answers").as_bytes());
            assert!(heard.status == 0 || heard.status >= 400, "{what}: {heard:?}");
            Vec::new()
        }
    }
}

fn way_to_leave(random: &mut Random) -> Leaving {
    *random.one_of(&[Leaving::Close, Leaving::Reset])
}

/// A call on the connection of the one before, where that is still good.
fn calls(bed: &Bed, random: &mut Random, kept: &mut Option<Connection>) -> Sent {
    let (script, id) = (script(random), bed.next_id());
    let mut client = kept.take().unwrap_or_else(|| bed.gateway.connect());
    client.send(&wild_request(script.name, id)).unwrap();
    let heard = hear(&mut client);
    assert_eq!((heard.status, heard.ends), (script.status, script.ends), "{}", script.name);
    *kept = (heard.ends == Ends::Whole && random.percent(70)).then_some(client);
    Sent::once(id, script.name.into(), &[script.outcome])
}

fn dribbles(bed: &Bed, random: &mut Random) -> Sent {
    let (script, id) = (script(random), bed.next_id());
    let mut client = bed.gateway.connect();
    random.pieces(&wild_request(script.name, id), 9).into_iter().for_each(|piece| client.send(piece).unwrap());
    let heard = hear(&mut client);
    assert_eq!((heard.status, heard.ends), (script.status, script.ends), "dribbled {}", script.name);
    Sent::once(id, format!("dribbled {}", script.name), &[script.outcome])
}

fn pipelines(bed: &Bed, random: &mut Random) -> Vec<Sent> {
    let whole = |script: &&Script| script.ends == Ends::Whole && script.outcome != "timeout";
    let count = 2 + random.below(3);
    let scripts: Vec<(&Script, u64)> = std::iter::repeat_with(|| *random.one_of(&SCRIPTS.iter().filter(whole).collect::<Vec<_>>()))
        .take(count)
        .map(|script| (script, bed.next_id()))
        .collect();
    let mut client = bed.gateway.connect();
    let bytes: Vec<u8> = scripts.iter().flat_map(|(script, id)| wild_request(script.name, *id)).collect();
    client.send(&bytes).unwrap();
    if random.percent(30) {
        leave(client, way_to_leave(random));
        return scripts
            .iter()
            .map(|(script, id)| Sent::perhaps(*id, format!("left pipeline: {}", script.name), &["cancelled", script.outcome]))
            .collect();
    }
    for (script, _) in &scripts {
        let heard = hear(&mut client);
        assert_eq!((heard.status, heard.ends), (script.status, script.ends), "pipelined {}", script.name);
    }
    scripts.iter().map(|(script, id)| Sent::once(*id, format!("pipelined {}", script.name), &[script.outcome])).collect()
}

/// Leaves at some moment of the answer.
fn leaves(bed: &Bed, random: &mut Random) -> Sent {
    let (script, id) = (script(random), bed.next_id());
    let mut client = bed.gateway.connect();
    client.send(&wild_request(script.name, id)).unwrap();
    if random.percent(50) {
        wait_until("the server has the request", || (bed.seen.times(&name(id)) == 1).then_some(()));
    }
    if script.status == 200 && random.percent(50) {
        let _ = client.next_head();
    }
    leave(client, way_to_leave(random));
    Sent::perhaps(id, format!("left {}", script.name), &["cancelled", script.outcome])
}

fn oversized(bed: &Bed) -> Sent {
    let id = bed.next_id();
    let mut client = bed.gateway.connect();
    client.send(&request("POST", "/wild/answers", &[("X-Request-Id", &*name(id))], &vec![b' '; CAP + 1])).unwrap();
    assert_eq!(hear(&mut client).status, 413);
    Sent::once(id, "oversized".into(), &["http_error"])
}

/// Calls the good server until the storm is over; how long each call took.
fn neighbour(bed: &Bed, is_over: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        let begun = Instant::now();
        bed.call_good();
        took.push(begun.elapsed());
    }
    took
}

/// Ends the neighbour's calls, also when the storm fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_storm_leaves_no_trace_and_every_exchange_its_record() {
    let seed = Random::seed(20_261_120);
    eprintln!("seed {seed}");
    let bed = Bed::new(&PATIENCE);
    let lines_before = bed.gateway.access_log().len();
    let is_over = AtomicBool::new(false);
    let (sent, neighbour_took) = std::thread::scope(|scope| {
        let over = Over(&is_over);
        let neighbour = scope.spawn(|| neighbour(&bed, &is_over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let bed = &bed;
                scope.spawn(move || {
                    let (mut random, mut kept) = (Random::new(seed.wrapping_add(number)), None);
                    (0..EXCHANGES_EACH).flat_map(|_| turn(bed, &mut random, &mut kept)).collect::<Vec<Sent>>()
                })
            })
            .collect();
        let sent: Vec<Sent> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        drop(over);
        (sent, neighbour.join().unwrap())
    });
    bed.assert_as_before("the storm");
    let slowest = neighbour_took.iter().max().unwrap();
    assert!(neighbour_took.len() > 100 && *slowest < BOUND, "{} calls next door, the slowest took {slowest:?}", neighbour_took.len());
    check_books(&bed, &sent, lines_before, neighbour_took.len());
}

/// Compares what was sent with the access lines, and those with the metrics.
fn check_books(bed: &Bed, sent: &[Sent], lines_before: usize, neighbour_calls: usize) {
    let finished = || bed.gateway.metrics().metric("watchgate_http_requests_total", &[]);
    let lines = wait_until("every exchange has its line", || {
        let lines = bed.gateway.access_log();
        (lines.len() as f64 == finished()).then_some(lines)
    });
    let mut by_id: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for line in &lines[lines_before..] {
        by_id.entry(line["request_id"].as_str().unwrap_or_default()).or_default().push(line);
    }
    let next_door = lines[lines_before..].iter().filter(|line| line["server"] == "good").count();
    assert_eq!(next_door, neighbour_calls, "lines of calls next door");
    for exchange in sent {
        let found = by_id.get(exchange.id.as_str()).map_or(&[][..], Vec::as_slice);
        let is_right = |line: &&Value| exchange.outcomes.iter().any(|outcome| line["outcome"] == *outcome);
        assert!(exchange.lines.contains(&found.len()), "{}: {found:?}", exchange.what);
        assert!(found.iter().all(is_right), "{}: {found:?}, expected {:?}", exchange.what, exchange.outcomes);
        assert!(bed.seen.times(&exchange.id) <= 1, "{}: sent again", exchange.what);
    }
    assert!(sent.len() > 500, "only {} exchanges", sent.len());
    check_metrics(bed, &lines);
}

/// Every outcome of every server is counted as often as it is written.
fn check_metrics(bed: &Bed, lines: &[Value]) {
    let mut written: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for line in lines {
        *written.entry((line["server"].as_str().unwrap(), line["outcome"].as_str().unwrap())).or_default() += 1.0;
    }
    let metrics = bed.gateway.metrics();
    for ((server, outcome), count) in written {
        let labels = [("server", server), ("outcome", outcome)];
        assert_eq!(metrics.metric("watchgate_http_requests_total", &labels), count, "{server} {outcome}");
    }
}
