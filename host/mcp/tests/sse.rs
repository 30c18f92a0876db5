//! Event streams survive any cut, and pass byte for byte what is not changed.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
use proptest::sample::select;
use watchgate_mcp::sse::{SseAssembler, SseEvent, SseParser, SsePart};

/// What a client makes of one dispatched event: its name and its data.
#[derive(Debug, PartialEq)]
struct Dispatched {
    name: Option<String>,
    data: Vec<u8>,
}

/// What a client dispatches.
fn oracle(stream: &[u8]) -> Vec<Dispatched> {
    dispatch(stream, usize::MAX)
}

/// The specification's own words, on the whole stream at once; names are cut at so many bytes.
fn dispatch(stream: &[u8], name_limit: usize) -> Vec<Dispatched> {
    let text = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut unified = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && text[at - 1] == b'\r' => {}
            b'\r' => unified.push(b'\n'),
            _ => unified.push(*byte),
        }
    }
    let mut lines: Vec<&[u8]> = unified.split(|byte| *byte == b'\n').collect();
    // What the last line ending has not ended is not a line yet.
    lines.pop();
    let (mut dispatched, mut data, mut name) = (Vec::new(), Vec::new(), None);
    for line in lines {
        if line.is_empty() {
            if !data.is_empty() {
                let data = std::mem::take(&mut data).join(&b'\n');
                dispatched.push(Dispatched { name: name.clone(), data });
            }
            data = Vec::new();
            name = None;
            continue;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let field = parts.next().unwrap();
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => data.push(value),
            b"event" => {
                let value = &value[..value.len().min(name_limit)];
                name = Some(String::from_utf8_lossy(value).into_owned()).filter(|name| !name.is_empty());
            }
            _ => {}
        }
    }
    dispatched
}

fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Dispatched> {
    let mut parser = SseParser::new();
    let (mut dispatched, mut lines, mut line, mut name) = (Vec::new(), Vec::new(), Vec::new(), None);
    for piece in pieces {
        parser.feed(piece, &mut |part| match part {
            SsePart::Data(bytes) => {
                assert!(!bytes.is_empty());
                line.extend_from_slice(bytes);
            }
            SsePart::DataLineEnd => lines.push(std::mem::take(&mut line)),
            SsePart::EventName(bytes) => name = Some(String::from_utf8_lossy(bytes).into_owned()).filter(|name| !name.is_empty()),
            SsePart::EventEnd { had_data } => {
                assert_eq!(had_data, !lines.is_empty());
                let (lines, name) = (std::mem::take(&mut lines), name.take());
                if had_data {
                    dispatched.push(Dispatched { name, data: lines.join(&b'\n') });
                }
            }
            SsePart::Id | SsePart::Retry | SsePart::Comment => {}
        });
    }
    dispatched
}

fn assemble<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<SseEvent>, Bytes) {
    let mut assembler = SseAssembler::new(1 << 20);
    let mut events = Vec::new();
    for piece in pieces {
        assembler.push(Bytes::copy_from_slice(piece));
        while let Some(event) = assembler.next_event() {
            events.push(event.unwrap());
        }
    }
    (events, assembler.take_rest())
}

fn dispatched(events: &[SseEvent]) -> Vec<Dispatched> {
    let with_data = events.iter().filter_map(|event| Some((event, event.data()?)));
    with_data.map(|(event, data)| Dispatched { name: event.event_name().map(Into::into), data: data.to_vec() }).collect()
}

/// Pieces of a stream, cut at every byte in turn, and byte by byte.
fn every_way(stream: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let cuts = (0..=stream.len()).map(|cut| vec![&stream[..cut], &stream[cut..]]);
    cuts.chain([stream.chunks(1).collect(), stream.chunks(3).collect()])
}

/// Fragments of streams in any order: lines that matter, lines cut short, all line endings, marks in the wrong place.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let fragments: &[&[u8]] = &[
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\r\r",
        b"data: {\"a\":1}",
        b"data:",
        b"data",
        b"data:  two",
        b"id: 7",
        b"retry: 9",
        b"event: message",
        b"event:",
        b": ping",
        b":",
        b"unknown: x",
        b" data: no",
        b"dat",
        b"a: x",
        b"\xef\xbb\xbf",
        b"\xef\xbb",
        b"x",
    ];
    let fragments: Vec<Vec<u8>> = fragments.iter().map(|fragment| fragment.to_vec()).collect();
    (any::<bool>(), proptest::collection::vec(select(fragments), 0..24)).prop_map(|(mark, fragments)| {
        let mark: &[u8] = if mark { b"\xef\xbb\xbf" } else { b"" };
        [mark, &fragments.concat()].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_parser_reads_what_a_client_reads(stream in stream()) {
        let expected = dispatch(&stream, 64);
        for pieces in every_way(&stream) {
            assert_eq!(parse(pieces), expected, "{:?}", String::from_utf8_lossy(&stream));
        }
    }

    #[test]
    fn events_hold_every_byte_and_what_a_client_reads(stream in stream()) {
        let expected = oracle(&stream);
        for pieces in every_way(&stream) {
            let (events, rest) = assemble(pieces);
            let mut joined: Vec<u8> = events.iter().flat_map(|event| event.raw().to_vec()).collect();
            joined.extend_from_slice(&rest);
            assert_eq!(joined, stream);
            assert_eq!(dispatched(&events), expected, "{:?}", String::from_utf8_lossy(&stream));
        }
    }

    #[test]
    fn new_data_reaches_the_client_and_nothing_else_changes(stream in stream(), cut in any::<usize>(), data in "[a \r\n]{0,8}") {
        let cut = cut % (stream.len() + 1);
        let (events, rest) = assemble([&stream[..cut], &stream[cut..]]);
        let mut expected = oracle(&stream);
        let unified = data.replace("\r\n", "\n").replace('\r', "\n").into_bytes();
        expected.iter_mut().for_each(|event| event.data.clone_from(&unified));
        let mut rewritten: Vec<u8> = events.iter().flat_map(|event| match event.data() {
            Some(_) => event.with_data(data.as_bytes()),
            None => event.raw().to_vec(),
        }).collect();
        rewritten.extend_from_slice(&rest);
        assert_eq!(oracle(&rewritten), expected, "{:?}", String::from_utf8_lossy(&stream));
        assert_eq!(others(without_mark(&rewritten, 0)), others(without_mark(&stream, 0)), "{:?}", String::from_utf8_lossy(&stream));
    }

    #[test]
    fn without_data_nothing_is_dispatched_and_resumption_stays(stream in stream(), cut in any::<usize>()) {
        let cut = cut % (stream.len() + 1);
        let (events, _) = assemble([&stream[..cut], &stream[cut..]]);
        for (index, event) in events.iter().enumerate() {
            let left = event.without_data();
            assert_eq!(oracle(&left), []);
            let kept = |line: &Vec<u8>| line.starts_with(b":") || [&b"id:"[..], b"retry:"].iter().any(|field| line.starts_with(field));
            let expected: Vec<_> = others(without_mark(event.raw(), index)).into_iter().filter(kept).collect();
            assert_eq!(others(without_mark(&left, index)), expected);
            assert_eq!(left.is_empty(), expected.is_empty());
            assert_eq!(event.has_id_or_retry(), expected.iter().any(|line| !line.starts_with(b":")));
        }
    }
}

/// The bytes of the event at `index` without the mark that only a stream's first may start with.
fn without_mark(bytes: &[u8], index: usize) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| index == 0).unwrap_or(bytes)
}

/// The lines that are neither blank nor data, without their endings.
fn others(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<_> = stream.split(|byte| matches!(byte, b'\r' | b'\n')).map(<[u8]>::to_vec).collect();
    // A line that the stream's end cut off belongs to no event.
    lines.pop();
    lines.retain(|line| !line.is_empty() && line != b"data" && !line.starts_with(b"data:"));
    lines
}

fn event(text: &str) -> SseEvent {
    let (events, rest) = assemble([text.as_bytes()]);
    assert!(rest.is_empty(), "{text:?}");
    assert_eq!(events.len(), 1, "{text:?}");
    events.into_iter().next().unwrap()
}

#[test]
fn data_is_told_from_empty_data() {
    let check = |text: &str, data: Option<&str>| assert_eq!(event(text).data(), data.map(|data| Bytes::from(data.to_owned())), "{text:?}");
    check("data: a\n\n", Some("a"));
    check("id: 1\ndata:\n\n", Some(""));
    check("id: 1\ndata\n\n", Some(""));
    check("id: 1\nretry: 5\n\n", None);
    check("data: {\r\ndata:  \"a\":1\r\ndata: }\r\n\r\n", Some("{\n \"a\":1\n}"));
    check(": ping\n\n", None);
    check("\n", None);
    check("\u{feff}data: a\n\n", Some("a"));
}

#[test]
fn new_data_takes_the_place_and_the_line_ending_of_the_old() {
    let check = |text: &str, data: &str, expected: &str| {
        assert_eq!(String::from_utf8(event(text).with_data(data.as_bytes())).unwrap(), expected, "{text:?}")
    };
    check("data: a\n\n", "b", "data: b\n\n");
    check(
        "event: message\r\nid: 1\r\ndata: a\r\ndata: a\r\n: c\r\ndata: a\r\n\r\n",
        "{\n1\r\n}",
        "event: message\r\nid: 1\r\ndata: {\r\ndata: 1\r\ndata: }\r\n: c\r\n\r\n",
    );
    check("id: 1\rdata:a\r\r", "b\rc", "id: 1\rdata: b\rdata: c\r\r");
    check("data: a\rdata: b\n\n", "c", "data: c\r\n\n");
    check("data: a\nid: 1\rdata: b\n\n", "c", "data: c\nid: 1\r\n\n");
    check("id: 1\n\n", "b", "id: 1\ndata: b\n\n");
    check("data: a\n\n", "", "data:\n\n");
    check("data: a\n\n", " b\n", "data:  b\ndata:\n\n");
    check("\u{feff}data: a\n\n", "b", "\u{feff}data: b\n\n");
}

#[test]
fn the_line_feed_of_the_event_before_is_no_line_of_this_one() {
    let (events, _) = assemble([&b"data: a\r\n\r"[..], b"\nid: 1\r\ndata: b\r\n\r\n"]);
    assert_eq!(events[0].with_data(b"c"), b"data: c\r\n\r");
    assert_eq!(events[1].with_data(b"c"), b"\nid: 1\r\ndata: c\r\n\r\n");
    assert_eq!(events[1].without_data(), b"\nid: 1\r\n\r\n");
    assert_eq!(events[1].data().unwrap(), "b");
}

#[test]
fn a_dropped_event_keeps_what_resumption_needs() {
    let check = |text: &str, expected: &str| assert_eq!(String::from_utf8(event(text).without_data()).unwrap(), expected, "{text:?}");
    check("event: message\nid: 1\ndata: a\nretry: 5\nx: y\n\n", "id: 1\nretry: 5\n\n");
    check("id: 1\r\ndata: a\r\n\r\n", "id: 1\r\n\r\n");
    check("data: a\n\n", "");
    check("id: 1\rdata: a\n\n", "id: 1\r\n\n");
    check("\n", "");
    check(": c\ndata: a\n\n", ": c\n\n");
}

#[test]
fn nothing_waits_for_bytes_it_does_not_need() {
    let check = |pieces: &[&str], expected: &[&[&str]]| {
        let mut assembler = SseAssembler::new(1 << 20);
        for (piece, expected) in pieces.iter().zip(expected) {
            assembler.push(Bytes::copy_from_slice(piece.as_bytes()));
            let events: Vec<_> = std::iter::from_fn(|| assembler.next_event()).map(|event| event.unwrap().into_raw()).collect();
            assert_eq!(events, *expected, "{pieces:?}");
        }
    };
    check(&["data: a\r\n\r", "\ndata: b\r\r", "\r"], &[&["data: a\r\n\r"], &["\ndata: b\r\r"], &["\r"]]);
    check(&["data: a\r", "\n", "\r\n"], &[&[], &[], &["data: a\r\n\r\n"]]);
    check(&[": ping\n", "\n", ": pong\n\n"], &[&[": ping\n"], &["\n"], &[": pong\n\n"]]);
    check(&[":\r\n", "data: a\n", ": c\n", "\n"], &[&[":\r\n"], &[], &[], &["data: a\n: c\n\n"]]);
    check(&["data: a\n\ndata: b\n\ndata"], &[&["data: a\n\n", "data: b\n\n"]]);
}

#[test]
fn an_event_that_is_too_large_is_said_once_and_the_next_one_read() {
    for chunk in [1, 7, 64, 1000] {
        let stream = [b"data: a\n\nid: 9\ndata: ".as_slice(), &[b'x'; 300], b"\ndata: y\n\ndata: b\n\n"].concat();
        let mut assembler = SseAssembler::new(100);
        let mut seen = Vec::new();
        for piece in stream.chunks(chunk) {
            assembler.push(Bytes::copy_from_slice(piece));
            seen.extend(std::iter::from_fn(|| assembler.next_event()));
        }
        assert_eq!(seen.len(), 3, "{chunk}");
        assert_eq!(seen[0].as_ref().unwrap().data().unwrap(), "a");
        let error = seen[1].as_ref().unwrap_err();
        assert_eq!((error.cap, error.partial.without_data()), (100, b"id: 9\n\n".to_vec()));
        assert!(error.partial.raw().len() <= 100 + chunk);
        assert_eq!(seen[2].as_ref().unwrap().data().unwrap(), "b");
        assert!(assembler.take_rest().is_empty());
    }
}

#[test]
fn an_event_of_50_mb_in_pieces_is_assembled_once() {
    let piece = Bytes::from(vec![b'x'; 65_536]);
    let mut assembler = SseAssembler::new(64 << 20);
    assembler.push(Bytes::from_static(b"data: "));
    for _ in 0..800 {
        assembler.push(piece.clone());
        assert!(assembler.next_event().is_none());
    }
    assembler.push(Bytes::from_static(b"\n\n"));
    let event = assembler.next_event().unwrap().unwrap();
    assert_eq!(event.data().unwrap().len(), 800 * 65_536);
}
