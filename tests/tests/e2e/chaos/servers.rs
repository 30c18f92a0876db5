//! A server that misbehaves: its client is told, and the operator too.

use watchgate_tests::http1::MCP_POST;
use watchgate_tests::{Gate, Gateway, GatewayOptions, ScriptedSocket, wait_until};

use super::bed::{Bed, Patience};
use super::wild::{Ends, FAITHLESS, SCRIPTS, Script};
use crate::messages::{assert_own_error, tool_call};

const PATIENCE: Patience = Patience { others: "2s", heads: "20s", pool: "1ms" };

/// Calls the script and checks what client and operator see of it.
#[track_caller]
fn check(bed: &Bed, script: &Script) {
    let (id, heard) = bed.call_wild(script.name);
    let line = bed.line(&id);
    let seen = (heard.status, heard.ends, line["outcome"].as_str(), line["status"].as_u64());
    let expected = (script.status, script.ends, Some(script.outcome), Some(u64::from(script.status)));
    assert_eq!(seen, expected, "{}: {line}", script.name);
    assert_eq!(bed.seen.times(&id), 1, "{}: what was sent is never sent again", script.name);
}

#[test]
fn every_way_of_a_server_to_misbehave_has_its_outcome() {
    let bed = Bed::new(&PATIENCE);
    for script in SCRIPTS.iter().filter(|script| script.outcome != "timeout") {
        check(&bed, script);
        bed.assert_as_before(script.name);
    }
    bed.call_good();
}

#[test]
fn every_way_of_a_server_to_hang_has_its_deadline() {
    let bed = Bed::new(&PATIENCE);
    std::thread::scope(|scope| {
        for script in SCRIPTS.iter().filter(|script| script.outcome == "timeout") {
            let bed = &bed;
            scope.spawn(move || check(bed, script));
        }
    });
    bed.assert_as_before("servers that hang");
}

#[test]
fn the_answer_nobody_asked_for_is_not_the_next_requests() {
    let bed = Bed::new(&Patience { others: "5s", heads: "20s", pool: "1s" });
    for _ in 0..20 {
        for script in ["answers-and-says-more", "answers", "length-and-chunks", "answers"] {
            let (_, heard) = bed.call_wild(script);
            assert_eq!((heard.status, heard.ends), (200, Ends::Whole), "{script}");
            assert!(heard.body.starts_with(b"{"), "{script}: {}", heard.body.escape_ascii());
        }
    }
    bed.assert_as_before("answers that nobody asked for");
}

/// The connection that `faithless` leaves behind ends when the next request is written on it.
#[track_caller]
fn check_worst_moment(bed: &Bed, faithless: &str) {
    let (_, heard) = bed.call_wild(faithless);
    assert_eq!((heard.status, heard.ends), (200, Ends::Whole), "{faithless}");
    let (id, heard) = bed.call_wild("answers");
    // It may have been seen, so it is lost and not sent again. Nobody can do better.
    assert_eq!((heard.status, heard.ends), (502, Ends::Whole), "after {faithless}");
    assert_eq!(bed.line(&id)["outcome"], "aborted", "after {faithless}");
    assert_eq!(bed.seen.times(&id), 0, "after {faithless}");
    let (_, heard) = bed.call_wild("answers");
    assert_eq!(heard.status, 200, "the call after the one that {faithless} cost");
}

#[test]
fn a_connection_that_ends_when_a_request_is_written_on_it_costs_that_request_only() {
    for faithless in ["closes-on-next", "resets-on-next"] {
        let bed = Bed::new(&Patience { others: "5s", heads: "20s", pool: "1s" });
        check_worst_moment(&bed, faithless);
        // For a while the gateway sends this server nothing on a connection that was used before.
        for _ in 0..5 {
            for script in [faithless, "answers"] {
                let (_, heard) = bed.call_wild(script);
                assert_eq!((heard.status, heard.ends), (200, Ends::Whole), "{script} after {faithless}");
            }
        }
        bed.assert_as_before("connections that ended at the worst moment");
    }
}

#[test]
fn a_connection_that_ends_while_it_is_not_used_costs_nothing() {
    let bed = Bed::new(&Patience { others: "5s", heads: "20s", pool: "1s" });
    for _ in 0..20 {
        let (_, heard) = bed.call_wild(FAITHLESS[0].name);
        assert_eq!(heard.status, 200);
        wait_until("the server has closed", || (bed.wild.open() == 0).then_some(()));
        // Whoever answers this has heard of everything that happened before it was asked, the end of that connection included.
        assert_eq!(bed.gateway.admin_get("/health/live").status(), 200);
    }
    bed.assert_as_before("connections that ended unused");
}

#[test]
fn a_server_that_takes_no_bytes_is_given_up() {
    // It does not read, and a body larger than the sockets on the way can hold is never sent whole.
    let given_up = Gate::default();
    let deaf = ScriptedSocket::start({
        let given_up = given_up.clone();
        move |_stream| given_up.wait("the gateway has given up")
    });
    let config = format!("[proxy]\nhead_timeout = \"300ms\"\n[health]\nprobe_interval = \"1h\"\n[servers.s]\nurl = \"{}\"\n", deaf.url());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    let mut body = tool_call(7, "t").to_string().into_bytes();
    body.resize(12 << 20, b' ');
    let reply = gateway.call("POST", "/s/mcp", &MCP_POST, &body);
    assert_own_error(&reply, 504, -31006, &7.into());
    let to_deaf = format!(":{:04X} ", deaf.address().port());
    wait_until("the gateway has closed its connection", || {
        let open = std::fs::read_to_string("/proc/net/tcp").unwrap();
        // Established (01) is what its own end must not be any more.
        let is_open = |line: &str| {
            line.split_whitespace().nth(2).is_some_and(|remote| format!("{remote} ").ends_with(&to_deaf)) && line.contains(" 01 ")
        };
        (!open.lines().any(is_open)).then_some(())
    });
    given_up.open();
}

#[test]
fn a_large_answer_to_a_client_that_is_gone_is_not_read_to_its_end() {
    let bed = Bed::new(&PATIENCE);
    let mut client = bed.gateway.connect();
    client.send(&super::bed::wild_request("head-without-end", bed.next_id())).unwrap();
    drop(client);
    bed.assert_as_before("a client that left a head without end");
}
