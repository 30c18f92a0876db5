//! Clients that misbehave in HTTP/2: floods of frames that cost them nothing, frames that mean nothing, and streams that nobody waits for.

use watchgate_tests::{DEADLINE, wait_until};

use super::bed::{Bed, Patience, name};
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PING, PREFACE, RST_STREAM, SETTINGS, block, frame,
};
use super::wild::FLOOD;
use crate::hostile::peak_memory;
use crate::messages::tool_call;

const PATIENCE: Patience = Patience { others: "5s", heads: "20s", pool: "1ms" };
/// `SETTINGS_INITIAL_WINDOW_SIZE`
const INITIAL_WINDOW: u16 = 4;
/// What the gateway may ever hold in these tests.
const MEMORY: usize = 128 << 20;

/// The fields of a call of the wild server.
fn fields<'a>(path: &'a str, id: &'a str) -> [(&'a str, &'a str); 6] {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/json"),
        ("x-request-id", id),
    ]
}

/// A whole call on this stream.
fn call(stream: u32, script: &str, id: u64) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &block(&fields(&format!("/wild/{script}"), &name(id))));
    [head, frame(DATA, END_STREAM, stream, tool_call(id, "t").to_string().as_bytes())].concat()
}

#[track_caller]
fn check_call(client: &mut Http2, bed: &Bed, stream: u32) {
    assert!(client.send(&call(stream, "answers", bed.next_id())));
    let body = client.answer(stream).expect("an answer");
    assert!(body.ends_with(b"}") && body.starts_with(b"{"), "{}", body.escape_ascii());
}

#[test]
fn streams_end_each_in_its_own_way() {
    let bed = Bed::new(&PATIENCE);
    let mut client = Http2::begin(bed.gateway.traffic, &[]);
    let (hangs, streams) = (bed.next_id(), bed.next_id());
    assert!(client.send(&[call(1, "hangs", hangs), call(3, "half-an-event-and-hangs", streams)].concat()));
    wait_until("both are with the server", || (bed.seen.times(&name(hangs)) + bed.seen.times(&name(streams)) == 2).then_some(()));
    assert!(client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())));
    assert_eq!(bed.line(&name(hangs))["outcome"], "cancelled");
    check_call(&mut client, &bed, 5);
    assert!(client.send(&call(7, "half-a-document-and-resets", bed.next_id())));
    assert_eq!(client.answer(7), None, "a cut answer must not look whole");
    check_call(&mut client, &bed, 9);
    drop(client);
    assert_eq!(bed.line(&name(streams))["outcome"], "cancelled");
    bed.assert_as_before("streams that ended each in its own way");
}

#[test]
fn a_client_that_leaves_has_cancelled_all_its_streams() {
    let bed = Bed::new(&PATIENCE);
    let mut client = Http2::begin(bed.gateway.traffic, &[]);
    let ids: Vec<u64> = (0..50).map(|_| bed.next_id()).collect();
    let calls: Vec<u8> = (0..).step_by(2).zip(&ids).flat_map(|(stream, id)| call(stream + 1, "hangs", *id)).collect();
    assert!(client.send(&calls));
    wait_until("all are with the server", || ids.iter().all(|id| bed.seen.times(&name(*id)) == 1).then_some(()));
    drop(client);
    for id in ids {
        assert_eq!(bed.line(&name(id))["outcome"], "cancelled");
    }
    bed.assert_as_before("a client that left fifty streams");
}

#[test]
fn rapid_resets_cost_nobody_else_anything() {
    let bed = Bed::new(&PATIENCE);
    let mut client = Http2::begin(bed.gateway.traffic, &[]);
    for stream in (1..20_000).step_by(2) {
        let bytes = [call(stream, "hangs", bed.next_id()), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat();
        // The gateway may lose its patience.
        if !client.send(&bytes) {
            break;
        }
    }
    bed.call_good();
    drop(client);
    bed.assert_as_before("rapid resets");
    assert!(peak_memory(&bed.gateway) < MEMORY, "{} bytes", peak_memory(&bed.gateway));
}

#[test]
fn a_head_without_end_is_given_up() {
    let bed = Bed::new(&PATIENCE);
    let mut client = Http2::begin(bed.gateway.traffic, &[]);
    let mut head = frame(HEADERS, 0, 1, &block(&fields("/wild/answers", "x")));
    let field = block(&[("x-long", &"x".repeat(16_000))]);
    head.extend((0..20_000).flat_map(|_| frame(CONTINUATION, 0, 1, &field)).take(64 << 20));
    client.send(&head);
    client.wait_for_end();
    bed.call_good();
    bed.assert_as_before("a head without end");
    assert!(peak_memory(&bed.gateway) < MEMORY, "{} bytes", peak_memory(&bed.gateway));
}

#[test]
fn answers_that_nobody_takes_are_not_hoarded() {
    let bed = Bed::new(&PATIENCE);
    let mut client = Http2::begin(bed.gateway.traffic, &[(INITIAL_WINDOW, 0)]);
    let calls: Vec<u8> = (0..40).flat_map(|number| call(2 * number + 1, FLOOD.name, bed.next_id())).collect();
    assert!(client.send(&calls));
    while client.next().is_some_and(|frame| frame.kind != HEADERS) {}
    (0..50).for_each(|_| bed.call_good());
    assert!(peak_memory(&bed.gateway) < MEMORY, "{} bytes", peak_memory(&bed.gateway));
    drop(client);
    bed.assert_as_before("answers that nobody took");
}

#[test]
fn questions_without_end_are_not_hoarded() {
    let bed = Bed::new(&PATIENCE);
    let mut client = Http2::begin(bed.gateway.traffic, &[]);
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(50_000);
    let settings = frame(SETTINGS, 0, 0, &[]).repeat(50_000);
    // They are not answered without end either: who does not read is not written to.
    let asking = std::thread::spawn(move || {
        let _ = client.send(&pings) && client.send(&settings);
        client
    });
    (0..50).for_each(|_| bed.call_good());
    drop(asking.join().unwrap());
    bed.assert_as_before("questions without end");
    assert!(peak_memory(&bed.gateway) < MEMORY, "{} bytes", peak_memory(&bed.gateway));
}

/// What follows the preface and means nothing.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let good = fields("/wild/answers", "x");
    let head = |fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields));
    let with = |more: &[(&'static str, &'static str)]| head(&[&good[..], more].concat());
    let without = |name: &str| head(&good.iter().copied().filter(|(found, _)| *found != name).collect::<Vec<_>>());
    let body = |length: &'static str, data: &[u8]| {
        let fields = [&good[..], &[("content-length", length)]].concat();
        [frame(HEADERS, END_HEADERS, 1, &block(&fields)), frame(DATA, END_STREAM, 1, data)].concat()
    };
    vec![
        ("not a frame", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a frame larger than agreed", [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &vec![0; 1 << 20]].concat()),
        ("data for nobody", frame(DATA, 0, 0, b"x")),
        ("data for a stream that is not open", frame(DATA, END_STREAM, 1, b"x")),
        ("a head on a server's stream", frame(HEADERS, END_HEADERS, 2, &block(&good))),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &block(&good))),
        ("a reset of nothing", frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())),
        ("a promise", frame(5, END_HEADERS, 1, &[&[0, 0, 0, 2], block(&good).as_slice()].concat())),
        ("a window of nothing", frame(8, 0, 0, &[0; 4])),
        ("a window without end", [frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])].concat()),
        ("settings of odd length", frame(SETTINGS, 0, 0, &[0; 5])),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        ("settings beyond measure", frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])),
        ("a head that does not decode", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 40])),
        ("a head cut off", frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&good)[..20])),
        ("padding longer than the frame", frame(HEADERS, END_HEADERS | END_STREAM | 8, 1, &[200, 0, 0])),
        ("upper case", with(&[("X-Upper", "1")])),
        ("a field of the connection", with(&[("connection", "close")])),
        ("chunks", with(&[("transfer-encoding", "chunked")])),
        ("a line end in a value", with(&[("x-evil", "a\r\nx-smuggled: b")])),
        ("a zero in a value", with(&[("x-evil", "a\0b")])),
        ("a space in a name", with(&[("x evil", "a")])),
        ("a colon in a name", with(&[("x:evil", "a")])),
        ("a pseudo field behind others", with(&[(":path", "/wild/answers")])),
        ("an unknown pseudo field", with(&[(":evil", "a")])),
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("an empty path", head(&fields("", "x"))),
        ("a length that is too long", body("5", b"{}")),
        ("a length that is too short", body("1", b"{}")),
        ("a length that is none", body("two", b"{}")),
    ]
}

#[test]
fn frames_that_mean_nothing_are_refused() {
    let bed = Bed::new(&PATIENCE);
    let before = bed.seen.all();
    for (what, bytes) in nonsense() {
        let mut client = Http2::begin(bed.gateway.traffic, &[]);
        client.send(&bytes);
        // The gateway ends the connection, or the stream, or answers; all within the deadline of a read.
        let refusal = std::iter::from_fn(|| client.next()).find(|frame| matches!(frame.kind, RST_STREAM | HEADERS | GOAWAY));
        drop((client, refusal));
        assert_eq!(bed.seen.all(), before, "{what}: it was forwarded");
    }
    bed.call_good();
    bed.assert_as_before("frames that mean nothing");
}

#[test]
fn a_client_that_never_begins_is_let_go() {
    let bed = Bed::new(&Patience { heads: "700ms", ..PATIENCE });
    let begun = std::time::Instant::now();
    for length in [1, 10, PREFACE.len() - 1, PREFACE.len()] {
        let mut client = Http2::connect(bed.gateway.traffic);
        client.send(&PREFACE[..length]);
        client.wait_for_end();
    }
    assert!(begun.elapsed() < DEADLINE);
    bed.assert_as_before("clients that never began");
}
