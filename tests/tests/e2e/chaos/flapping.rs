//! A server that goes away and comes back, again and again: each call is answered, by it or for it, and what the client saw is what the books say.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use watchgate_tests::{Random, wait_until};

use super::bed::{Bed, Heard, Patience, hear, name, wild_request};
use super::wild::{Ends, FAITHLESS, SCRIPTS};

const PATIENCE: Patience = Patience { others: "2s", heads: "20s", pool: "300ms" };
const CLIENTS: u64 = 6;
const CALLS_EACH: usize = 60;

/// Answers whose connection may be kept.
const CALM: usize = 12;

/// Whether the access line tells what the client saw.
fn agree(heard: &Heard, line: &Value) -> bool {
    let outcomes: &[&str] = match (heard.status, heard.ends) {
        (200, Ends::Whole) => &["ok", "aborted"],
        (200, Ends::Cut) => &["aborted"],
        (413 | 500, Ends::Whole) => &["http_error"],
        (502, Ends::Whole) => &["unreachable", "aborted"],
        // Its circuit breaker is open.
        (503, Ends::Whole) => &["unreachable"],
        _ => &[],
    };
    line["status"] == heard.status && outcomes.iter().any(|outcome| line["outcome"] == *outcome)
}

#[test]
fn a_server_that_flaps_costs_only_the_calls_it_breaks() {
    check_flapping(Bed::new(&PATIENCE), &[200, 413, 500, 502]);
}

#[test]
fn a_server_that_flaps_is_left_alone_and_given_another_chance() {
    let breaker = "connect_failures = 2, min_requests = 10, window = \"1s\", open = \"50ms\"";
    let bed = check_flapping(Bed::with_breaker(&PATIENCE, breaker), &[200, 413, 500, 502, 503]);
    let opened = bed.gateway.metrics().metric("watchgate_circuit_breaker_transitions_total", &[("server", "wild"), ("state", "open")]);
    assert!(opened > 0.0, "the breaker never opened");
    let next_door = bed.gateway.metrics().metric("watchgate_circuit_breaker_transitions_total", &[("server", "good")]);
    assert_eq!(next_door, 0.0, "the breaker next door moved");
}

/// Calls while the server flaps: each answer has one of `statuses`, and all is as before when the server stays.
fn check_flapping(mut bed: Bed, statuses: &[u16]) -> Bed {
    let seed = Random::seed(3);
    eprintln!("seed {seed}");
    let is_over = AtomicBool::new(false);
    let mut wild = std::mem::replace(&mut bed.wild, super::wild::start(super::wild::Seen::default()));
    let calls = std::thread::scope(|scope| {
        let flapping = scope.spawn(|| {
            let mut flaps = 0;
            while !is_over.load(Ordering::SeqCst) {
                // Long enough for some calls each way, by what the neighbour takes for as many.
                (0..10).for_each(|_| bed.call_good());
                wild.go_away();
                (0..3).for_each(|_| bed.call_good());
                wild.come_back();
                flaps += 1;
            }
            flaps
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let bed = &bed;
                scope.spawn(move || {
                    let mut random = Random::new(seed.wrapping_add(number));
                    (0..CALLS_EACH).map(|_| call(bed, &mut random)).collect::<Vec<_>>()
                })
            })
            .collect();
        let calls: Vec<(String, Heard)> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        is_over.store(true, Ordering::SeqCst);
        assert!(flapping.join().unwrap() >= 3);
        calls
    });
    bed.wild = wild;
    for (id, heard) in &calls {
        let line = bed.line(id);
        assert!(agree(heard, &line) && statuses.contains(&heard.status), "{heard:?}: {line}");
        assert!(bed.seen.times(id) <= 1, "{id}: what was sent is never sent again");
    }
    let answered = calls.iter().filter(|(_, heard)| heard.status == 200).count();
    assert!(answered > 0 && answered < calls.len(), "{answered} of {}", calls.len());
    // It is back: so are its answers.
    wait_until("the server is answered for by itself", || (bed.call_wild("answers").1.status == 200).then_some(()));
    bed.assert_as_before("a server that flapped");
    bed
}

fn call(bed: &Bed, random: &mut Random) -> (String, Heard) {
    let script = if random.percent(30) { random.one_of(&FAITHLESS) } else { random.one_of(&SCRIPTS[..CALM]) };
    let id = bed.next_id();
    let mut client = bed.gateway.connect();
    client.send(&wild_request(script.name, id)).unwrap();
    (name(id), hear(&mut client))
}
