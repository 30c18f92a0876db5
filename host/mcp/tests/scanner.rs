//! The scanner sees in every message what a parser of the whole text sees, however the bytes are cut.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "scanner/message.rs"]
mod message;
#[path = "scanner/oracle.rs"]
mod oracle;

use proptest::prelude::{ProptestConfig, Strategy, proptest};
use proptest::sample::select;
use watchgate_mcp::{Envelope, MessageKind, ScanEnd, Scanner};

/// Feeds the pieces to one scanner.
fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Envelope>, ScanEnd, bool) {
    let mut scanner = Scanner::new();
    let mut envelopes = Vec::new();
    let mut sink = |envelope| envelopes.push(envelope);
    for piece in pieces {
        scanner.feed(piece, &mut sink);
    }
    let end = scanner.finish(&mut sink);
    (envelopes, end, scanner.is_batch())
}

/// Whole, cut in two at every byte, and byte by byte: always the same.
fn scan_every_way(text: &[u8]) -> (Vec<Envelope>, ScanEnd, bool) {
    let whole = scan([text]);
    for cut in 0..=text.len() {
        let (head, tail) = text.split_at(cut);
        assert_eq!(scan([head, tail]), whole, "cut at {cut} of {}", String::from_utf8_lossy(text));
    }
    assert_eq!(scan(text.chunks(1)), whole, "byte by byte: {}", String::from_utf8_lossy(text));
    whole
}

/// A tree forgets that a key stood twice, so the oracle cannot know it; `repeated_keys_are_ambiguous` tests that.
fn without_ambiguity(mut envelopes: Vec<Envelope>) -> Vec<Envelope> {
    for envelope in &mut envelopes {
        envelope.is_ambiguous = false;
    }
    envelopes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_message_is_seen_as_a_parser_sees_it(text in message::message()) {
        let (envelopes, end, is_batch) = scan_every_way(text.as_bytes());
        assert_eq!((end, is_batch), (ScanEnd::Complete, false));
        assert_eq!(without_ambiguity(envelopes), [oracle::envelope(text.trim())], "{text}");
    }

    #[test]
    fn a_batch_is_seen_element_by_element(texts in proptest::collection::vec(message::element(), 0..4)) {
        let text = format!(" [{}] ", texts.join(","));
        let (envelopes, end, is_batch) = scan_every_way(text.as_bytes());
        assert_eq!((end, is_batch), (ScanEnd::Complete, true));
        let expected: Vec<_> = texts.iter().map(|text| oracle::envelope(text.trim())).collect();
        assert_eq!(without_ambiguity(envelopes), expected, "{text}");
    }

    #[test]
    fn a_cut_message_is_never_reported(text in message::message(), cut in 0.0..1.0) {
        let text = text.trim();
        let cut = (text.len() as f64 * cut) as usize;
        let (envelopes, end, _) = scan([&text.as_bytes()[..cut]]);
        assert_eq!(envelopes, []);
        assert_eq!(end, if cut == 0 { ScanEnd::Empty } else { ScanEnd::Truncated });
    }

    #[test]
    fn any_bytes_end_in_some_way(bytes in noise()) {
        scan_every_way(&bytes);
    }
}

/// Bytes that look like JSON for a while.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    const TOKENS: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"1",
        b"true",
        b"\"method\"",
        b"\"params\":",
        b"\"result\":{",
        b"\"content\":[",
        b"{\"type\":\"text\"}",
        b"\xff",
        b"\xc3\xa9",
        b"\0",
        b" ",
        b"\\u00",
        b"\"id\":7,",
    ];
    let token = select(TOKENS);
    proptest::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn one(text: &str) -> Envelope {
    let (envelopes, end, _) = scan_every_way(text.as_bytes());
    assert_eq!(end, ScanEnd::Complete, "{text}");
    assert_eq!(envelopes.len(), 1, "{text}");
    envelopes.into_iter().next().unwrap()
}

#[test]
fn what_the_text_is_decides_how_it_ends() {
    let check = |text: &str, count: usize, expected: ScanEnd| {
        let (envelopes, end, _) = scan_every_way(text.as_bytes());
        assert_eq!((envelopes.len(), end), (count, expected), "{text}");
    };
    check("", 0, ScanEnd::Empty);
    check(" \r\n\t", 0, ScanEnd::Empty);
    check("{}", 1, ScanEnd::Complete);
    check("[]", 0, ScanEnd::Complete);
    check("[{},[{}],7]", 3, ScanEnd::Complete);
    check("12", 1, ScanEnd::Complete);
    check("true\n", 1, ScanEnd::Complete);
    check("\"text\"", 1, ScanEnd::Complete);
    check("{} {}", 1, ScanEnd::NotJson);
    check("{}x", 1, ScanEnd::NotJson);
    check("[1,]", 1, ScanEnd::NotJson);
    check("[{},", 1, ScanEnd::Truncated);
    check("{\"a\":\"", 0, ScanEnd::Truncated);
    check("\"\\", 0, ScanEnd::Truncated);
    check("\u{feff}{}", 0, ScanEnd::NotJson);
    for text in [
        "<html>",
        "nul",
        "nulls",
        "tru e",
        "-",
        "1x",
        "{]",
        "[}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[,]",
        "{\"params\":{\"arguments\":[{]}}}",
        "{\"params\":{\"arguments\":[?]}}",
        "{,}",
        ",",
        "event: x",
    ] {
        check(text, 0, ScanEnd::NotJson);
    }
}

#[test]
fn what_is_no_json_rpc_is_invalid() {
    let check = |text: &str, expected: MessageKind| assert_eq!(one(text).kind, expected, "{text}");
    check(r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#, MessageKind::Request);
    check(r#"{"jsonrpc":"2.0","method":"ping"}"#, MessageKind::Notification);
    check(r#"{"jsonrpc":"2.0","id":"","result":{}}"#, MessageKind::Result);
    check(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, MessageKind::Error);
    check(r#"{"jsonrpc":"2.0","error":{"code":-32700}}"#, MessageKind::Error);
    check(r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}"#, MessageKind::Request);
    for text in [
        "7",
        "{}",
        "null",
        r#"{"id":0,"method":"ping"}"#,
        r#"{"jsonrpc":2.0,"id":0,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":0,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":0}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":0,"result":{},"error":{}}"#,
        r#"{"jsonrpc":"2.0","id":0,"method":"ping","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":0,"error":"no object"}"#,
        r#"{"error":"invalid_token"}"#,
    ] {
        check(text, MessageKind::Invalid);
    }
}

#[test]
fn captured_text_is_cut_at_a_character() {
    let long = "\u{e9}\\u00e9".repeat(400);
    let method = one(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x{long}"}}"#)).method.unwrap();
    assert_eq!(method.as_str().len(), 127);
    let call = one(&format!(r#"{{"params":{{"name":"{long}"}},"jsonrpc":"2.0","id":1,"method":"tools/call"}}"#));
    assert_eq!(call.name.unwrap(), "\u{e9}".repeat(128).into());
    let id = one(&format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#));
    assert_eq!((id.kind, id.id), (MessageKind::Request, None));
}

#[test]
fn lone_surrogates_and_broken_utf_8_are_tolerated() {
    let call = one(r#"{"jsonrpc":"2.0","id":"\ud800","method":"tools/call","params":{"name":"a\udc00b"}}"#);
    assert_eq!((call.kind, call.name.as_deref()), (MessageKind::Invalid, Some("a\u{fffd}b")));
    let (envelopes, end, _) = scan_every_way(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\xc3\"}");
    assert_eq!(end, ScanEnd::Complete);
    assert_eq!(envelopes[0].method_str(), Some("\u{fffd}\u{fffd}"));
}

#[test]
fn lists_are_bounded() {
    let tools: Vec<_> = (0..700).map(|n| format!(r#"{{"inputSchema":{{"name":"no"}},"name":"tool{n}"}}"#)).collect();
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"prompts":[{{"name":"{}"}},{{}},7],"tools":[{}]}}}}"#,
        "p".repeat(257),
        tools.join(",")
    );
    let (envelopes, ..) = scan([text.as_bytes()]);
    assert_eq!((envelopes[0].listed.len(), envelopes[0].listed_dropped), (500, 201));
    assert_eq!(&*envelopes[0].listed[499].name, "tool499");
}

#[test]
fn hostile_bodies_pass_in_constant_memory() {
    let deep = [b"{\"params\":{\"arguments\":".as_slice(), &b"[".repeat(100_000), &b"]".repeat(100_000), b"}}"].concat();
    assert_eq!(scan([deep.as_slice()]).1, ScanEnd::Complete);
    assert_eq!(scan(deep.chunks(1)).1, ScanEnd::Complete);
    let deeper = [b"{\"a\":".repeat(100_000).as_slice(), b"1", &b"}".repeat(100_000)].concat();
    assert_eq!(scan([deeper.as_slice()]).0.len(), 1);
    assert_eq!(scan([b"[".repeat(100_000).as_slice()]).1, ScanEnd::Truncated);

    let mut scanner = Scanner::new();
    let mut count = 0;
    let mut sink = |envelope: Envelope| {
        count += 1;
        assert_eq!(envelope.kind, MessageKind::Notification);
    };
    scanner.feed(b"[", &mut sink);
    for _ in 0..20_000 {
        scanner.feed(br#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"x"}},"#, &mut sink);
    }
    scanner.feed(br#"{"method":"x","jsonrpc":"2.0"}]"#, &mut sink);
    assert_eq!(scanner.finish(&mut sink), ScanEnd::Complete);
    assert_eq!(count, 20_001);

    // A key, an id, a method, a number, a name, an escape that go on for 13 MB.
    let piece = vec![b'7'; 65_536];
    for start in ["{\"", "{\"id\":\"", "{\"method\":\"", "{\"id\":", "{\"params\":{\"name\":\"", "{\"params\":{\"arguments\":\"\\"] {
        let pieces = std::iter::once(start.as_bytes()).chain(std::iter::repeat_n(piece.as_slice(), 200));
        assert_eq!(scan(pieces).1, ScanEnd::Truncated, "{start}");
    }
}

#[test]
fn a_scanner_can_be_used_again() {
    let mut scanner = Scanner::new();
    let mut envelopes = Vec::new();
    scanner.feed(br#"[{"jsonrpc":"2.0","id":1,"method":"to"#, &mut |envelope| envelopes.push(envelope));
    scanner.reset();
    scanner.feed(br#"{"jsonrpc":"2.0","method":"x"}"#, &mut |envelope| envelopes.push(envelope));
    assert_eq!(scanner.finish(&mut |_| {}), ScanEnd::Complete);
    assert!(!scanner.is_batch());
    assert_eq!(envelopes.len(), 1);
    assert_eq!((envelopes[0].kind, envelopes[0].bytes), (MessageKind::Notification, 30));
}

fn check_ambiguous(text: &str, expected: bool) {
    let (envelopes, _, _) = scan_every_way(text.as_bytes());
    assert!(envelopes.iter().all(|envelope| envelope.is_ambiguous == expected), "{text}");
}

#[test]
fn repeated_keys_are_ambiguous() {
    check_ambiguous(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"method":"ping"}"#, true);
    check_ambiguous(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#, true);
    check_ambiguous(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"params":{}}"#, true);
    check_ambiguous(r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{}}"#, true);
    // Keys that some receivers take for ours: folded case, a NUL, what decoders disagree about.
    let also = |key: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","{key}":"tools/call","params":{{"name":"a"}}}}"#);
    for key in ["Method", "METHOD", "method\\u0000", "me\\u0000thod", "method\\u0000x", "\\u004dethod", "Param\u{17f}", "ID", "\\ud800"] {
        check_ambiguous(&also(key), true);
    }
    check_ambiguous(&also(&"\\u0000".repeat(200)), true);
    for key in ["methods", "xmethod", "_meta", "extension", &"m".repeat(5000)] {
        check_ambiguous(&also(key), false);
    }
    check_ambiguous(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#, true);
    check_ambiguous("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\",\"tas\u{212a}Id\":\"b\"}}", true);
    check_ambiguous(r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"name":"a","NAME":"b"}}}"#, true);
    check_ambiguous(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"Name":1},"Arguments":{}}}"#, false);
    // Keys of the content are nobody's business.
    check_ambiguous(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"name":1,"name":2}}}"#, false);
    check_ambiguous(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#, false);
}
