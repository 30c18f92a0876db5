//! What goes in coded comes out as it was, whatever the coding and wherever it is cut; what is not coded as it says does no harm.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

/// Ways to code that servers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Gzip,
    Zlib,
    BareDeflate,
    Brotli,
    Zstd,
}

const WAYS: [Way; 5] = [Way::Gzip, Way::Zlib, Way::BareDeflate, Way::Brotli, Way::Zstd];

impl Way {
    fn coding(self) -> Coding {
        match self {
            Self::Gzip => Coding::Gzip,
            Self::Zlib | Self::BareDeflate => Coding::Deflate,
            Self::Brotli => Coding::Brotli,
            Self::Zstd => Coding::Zstd,
        }
    }

    /// Codes the pieces, each flushed; gives what came out for each, and the end.
    fn code(self, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        fn all<W: Write>(
            mut writer: W,
            pieces: &[&[u8]],
            mut out: impl FnMut(&mut W) -> Vec<u8>,
            end: impl FnOnce(W) -> Vec<u8>,
        ) -> Vec<Vec<u8>> {
            let mut coded = Vec::new();
            for piece in pieces {
                writer.write_all(piece).unwrap();
                writer.flush().unwrap();
                coded.push(out(&mut writer));
            }
            coded.push(end(writer));
            coded
        }
        let level = Compression::default();
        match self {
            Self::Gzip => all(GzEncoder::new(Vec::new(), level), pieces, |w| std::mem::take(w.get_mut()), |w| w.finish().unwrap()),
            Self::Zlib => all(ZlibEncoder::new(Vec::new(), level), pieces, |w| std::mem::take(w.get_mut()), |w| w.finish().unwrap()),
            Self::BareDeflate => {
                all(DeflateEncoder::new(Vec::new(), level), pieces, |w| std::mem::take(w.get_mut()), |w| w.finish().unwrap())
            }
            Self::Brotli => {
                let writer = ::brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
                all(writer, pieces, |w| std::mem::take(w.get_mut()), ::brotli::CompressorWriter::into_inner)
            }
            Self::Zstd => {
                let writer = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
                all(writer, pieces, |w| std::mem::take(w.get_mut()), |w| w.finish().unwrap())
            }
        }
    }

    fn whole(self, text: &[u8]) -> Vec<u8> {
        self.code(&[text]).concat()
    }
}

const FREE: OutputCap = OutputCap::Total(usize::MAX);

fn decode(codings: &[Coding], cap: OutputCap, pieces: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(codings, cap);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&decoder.push(piece)?);
    }
    decoder.finish()?;
    Ok(out)
}

/// The same result however the input is cut: whole, byte by byte, and at each single place.
fn check(codings: &[Coding], coded: &[u8], expected: Result<&[u8], DecodeError>) {
    let expected = expected.map(<[u8]>::to_vec);
    assert_eq!(decode(codings, FREE, &[coded]), expected, "whole");
    assert_eq!(decode(codings, FREE, &coded.chunks(1).collect::<Vec<_>>()), expected, "byte by byte");
    for cut in 0..=coded.len() {
        assert_eq!(decode(codings, FREE, &[&coded[..cut], &coded[cut..]]), expected, "cut at {cut}");
    }
}

const TEXT: &[u8] = br#"data: {"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Sunny in Oslo, sunny in Bergen"}]}}"#;

#[test]
fn every_coding_is_undone_wherever_it_is_cut() {
    for way in WAYS {
        check(&[way.coding()], &way.whole(TEXT), Ok(TEXT));
        check(&[way.coding()], &way.whole(b""), Ok(b""));
        check(&[way.coding()], &way.whole(b"x"), Ok(b"x"));
    }
}

#[test]
fn stacked_codings_are_undone_in_reverse() {
    for outer in WAYS {
        for inner in WAYS {
            check(&[inner.coding(), outer.coding()], &outer.whole(&inner.whole(TEXT)), Ok(TEXT));
        }
    }
    let coded = WAYS[..4].iter().fold(TEXT.to_vec(), |coded, way| way.whole(&coded));
    let codings: Vec<_> = WAYS[..4].iter().map(|way| way.coding()).collect();
    check(&codings, &coded, Ok(TEXT));
}

#[test]
fn what_is_cut_off_is_broken() {
    for way in WAYS {
        let coded = way.whole(TEXT);
        for length in 1..coded.len() {
            let cut = decode(&[way.coding()], FREE, &[&coded[..length]]);
            assert_eq!(cut, Err(DecodeError::Broken), "{way:?} {length}");
        }
        assert_eq!(decode(&[way.coding()], FREE, &[]), Ok(Vec::new()), "an answer without a body");
    }
}

#[test]
fn flushed_events_come_out_of_the_push_that_brought_them() {
    let events: Vec<Vec<u8>> = (0..50).map(|number| format!("id: {number}\ndata: {{\"n\":{number}}}\n\n").into_bytes()).collect();
    let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
    for way in WAYS {
        let mut decoder = Decoder::new(&[way.coding()], OutputCap::PerPush(64));
        let coded = way.code(&events);
        for (event, coded) in events.iter().zip(&coded) {
            assert_eq!(decoder.push(coded).unwrap(), *event, "{way:?}");
        }
        assert_eq!(decoder.push(&coded[events.len()]).unwrap(), "", "{way:?}");
        assert_eq!(decoder.finish(), Ok(()), "{way:?}");
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    for way in [Way::Gzip, Way::Zstd] {
        let coded = [way.whole(b"one "), way.whole(b""), way.whole(b"two")].concat();
        check(&[way.coding()], &coded, Ok(b"one two"));
        check(&[way.coding()], &coded[..coded.len() - 1], Err(DecodeError::Broken));
    }
    let skipped = [&[0x57, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &Way::Zstd.whole(b"text")].concat();
    check(&[Coding::Zstd], &skipped, Ok(b"text"));
}

#[test]
fn what_follows_the_end_is_ignored() {
    for way in WAYS {
        for garbage in [&b"\0\0\0"[..], b"\x1f", b"(", b"garbage"] {
            check(&[way.coding()], &[&way.whole(TEXT), garbage].concat(), Ok(TEXT));
        }
    }
}

#[test]
fn the_optional_fields_of_a_gzip_head_are_passed_over() {
    let plain = Way::Gzip.whole(TEXT);
    let fields = b"\x04\0\x01\x02\x03\x04name.json\0a comment\0\xab\xcd";
    let coded = [&[0x1f, 0x8b, 8, 0x1f, 0, 0, 0, 0, 0, 255][..], fields, &plain[10..]].concat();
    check(&[Coding::Gzip], &coded, Ok(TEXT));
    let no_extra = [&[0x1f, 0x8b, 8, 0x04, 0, 0, 0, 0, 0, 255, 0, 0][..], &plain[10..]].concat();
    check(&[Coding::Gzip], &no_extra, Ok(TEXT));
}

#[test]
fn other_bytes_are_broken() {
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
        check(&[coding], b"{\"jsonrpc\":\"2.0\"}", Err(DecodeError::Broken));
    }
    let mut checksum = Way::Gzip.whole(TEXT);
    let at = checksum.len() - 8;
    checksum[at] ^= 1;
    check(&[Coding::Gzip], &checksum, Err(DecodeError::Broken));
    let mut checksum = Way::Zlib.whole(TEXT);
    *checksum.last_mut().unwrap() ^= 1;
    check(&[Coding::Deflate], &checksum, Err(DecodeError::Broken));
}

/// A bomb is noticed before it has been decoded to more than a step beyond the cap.
fn check_bomb(codings: &[Coding], bomb: &[u8], cap: OutputCap) {
    let mut decoder = Decoder::new(codings, cap);
    assert_eq!(decoder.push(bomb), Err(DecodeError::TooLarge));
    let limit = match cap {
        OutputCap::Total(limit) | OutputCap::PerPush(limit) => limit,
    };
    for stage in &decoder.stages {
        assert!(stage.produced <= 2 * limit + 2 * STEP_BYTES, "{}", stage.produced);
    }
    assert_eq!(decoder.push(b""), Err(DecodeError::TooLarge));
    assert_eq!(decoder.finish(), Err(DecodeError::TooLarge));
}

#[test]
fn bombs_are_stopped_by_the_cap() {
    let zeros = vec![0; 8 << 20];
    for way in WAYS {
        let bomb = way.whole(&zeros);
        assert!(bomb.len() < 16 << 10);
        for cap in [OutputCap::Total(1 << 20), OutputCap::PerPush(1 << 20), OutputCap::Total(0)] {
            check_bomb(&[way.coding()], &bomb, cap);
            for outer in WAYS {
                check_bomb(&[way.coding(), outer.coding()], &outer.whole(&bomb), cap);
            }
        }
    }
    // Endless coded data that decodes to nothing.
    let nothing = Way::Gzip.whole(b"").repeat(100_000);
    check_bomb(&[Coding::Gzip, Coding::Brotli], &Way::Brotli.whole(&nothing), OutputCap::Total(1000));
}

#[test]
fn caps_count_the_whole_or_each_push() {
    for way in WAYS {
        let pieces = [&[b'a'; 100][..], &[b'b'; 100], &[b'c'; 100]];
        let coded = way.code(&pieces);
        let coded: Vec<&[u8]> = coded.iter().map(Vec::as_slice).collect();
        let codings = [way.coding()];
        assert_eq!(decode(&codings, OutputCap::Total(300), &coded), Ok(pieces.concat()));
        assert_eq!(decode(&codings, OutputCap::Total(299), &coded), Err(DecodeError::TooLarge));
        assert_eq!(decode(&codings, OutputCap::PerPush(100), &coded), Ok(pieces.concat()));
        assert_eq!(decode(&codings, OutputCap::PerPush(99), &coded), Err(DecodeError::TooLarge));
    }
}

#[test]
fn windows_beyond_the_standard_are_refused() {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&vec![7; 1 << 20]).unwrap();
    let coded = encoder.finish().unwrap();
    assert_eq!(decode(&[Coding::Zstd], FREE, &[&coded]), Err(DecodeError::Broken));
}

fn check_codings(values: &[&'static str], expected: Result<&[Coding], UnknownCoding>) {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
    }
    assert_eq!(parse_codings(&headers), expected.map(<[Coding]>::to_vec), "{values:?}");
}

#[test]
fn codings_are_read_in_order() {
    check_codings(&[], Ok(&[]));
    check_codings(&["identity, ,"], Ok(&[]));
    check_codings(&["X-GZIP , br", "identity", "Zstd,deflate"], Ok(&[Coding::Gzip, Coding::Brotli, Coding::Zstd, Coding::Deflate]));
    check_codings(&["gzip", "compress"], Err(UnknownCoding));
    check_codings(&["gzip;q=1"], Err(UnknownCoding));
    check_codings(&["gzip,gzip,gzip,gzip,gzip"], Err(UnknownCoding));
}

fn ways() -> impl Strategy<Value = Vec<Way>> {
    prop::collection::vec(prop::sample::select(&WAYS[..]), 1..=3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_survives_any_codings_and_cuts(
        text in prop::collection::vec(any::<u8>(), 0..40_000),
        repeats in 1usize..4,
        ways in ways(),
        size in 1usize..3000,
    ) {
        let text = text.repeat(repeats);
        let coded = ways.iter().fold(text.clone(), |coded, way| way.whole(&coded));
        let codings: Vec<_> = ways.iter().map(|way| way.coding()).collect();
        prop_assert_eq!(decode(&codings, OutputCap::Total(text.len()), &coded.chunks(size).collect::<Vec<_>>()), Ok(text));
    }

    #[test]
    fn nothing_panics_or_grows(bytes in prop::collection::vec(any::<u8>(), 0..2000), ways in ways(), size in 1usize..200) {
        let codings: Vec<_> = ways.iter().map(|way| way.coding()).collect();
        if let Ok(decoded) = decode(&codings, OutputCap::Total(10_000), &bytes.chunks(size).collect::<Vec<_>>()) {
            prop_assert!(decoded.len() <= 10_000);
        }
    }

    #[test]
    fn a_changed_byte_gives_a_verdict_that_no_cut_changes(
        text in prop::collection::vec(b'a'..b'f', 1..3000),
        // The decoder of Brotli is stricter with data that comes in pieces: it misses an overlong last block when it has all of it at once.
        way in prop::sample::select(WAYS.into_iter().filter(|way| *way != Way::Brotli).collect::<Vec<_>>()),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        size in 1usize..50,
    ) {
        let mut coded = way.whole(&text);
        let at = at.index(coded.len());
        coded[at] = value;
        let cap = OutputCap::Total(1 << 20);
        let whole = decode(&[way.coding()], cap, &[&coded]);
        prop_assert_eq!(decode(&[way.coding()], cap, &coded.chunks(size).collect::<Vec<_>>()), whole);
    }
}
