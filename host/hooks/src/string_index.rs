//! Answers "inside which JSON string does this byte stand?" without reading the body again for each question.

/// One note is kept for at least this many bytes: about 1 % of the body's size in memory, and at most this much to read for an answer.
const STRIDE: usize = 1024;

/// Where a walk over the body can go on.
#[derive(Clone, Copy, Debug)]
struct Note {
    /// Outside every string, or inside one between two characters.
    at: u32,
    /// Where the content of the string around `at` starts; `OUTSIDE` when there is none.
    content: u32,
}

const OUTSIDE: u32 = u32::MAX;

/// The strings of one body, keys included. Works on any bytes; what it says is meaningful for JSON.
#[derive(Debug)]
pub(crate) struct StringIndex {
    notes: Vec<Note>,
}

impl StringIndex {
    /// Reads `body` once. Bodies are at most 16 MiB, which makes offsets fit 32 bits; what lies beyond 4 GiB is not in the index.
    pub(crate) fn new(body: &[u8]) -> Self {
        let body = &body[..body.len().min(OUTSIDE as usize)];
        let mut walk = Walk { body, at: 0, content: None };
        let mut notes = vec![walk.note()];
        let mut next_note = STRIDE;
        while walk.step() {
            if walk.at >= next_note {
                notes.push(walk.note());
                next_note = walk.at + STRIDE;
            }
        }
        Self { notes }
    }

    /// The start of the content of the string in which an edit may start or end at `offset`: between two characters of the content, or at
    /// either end of it. `None` outside strings and inside an escape, a surrogate pair or a UTF-8 character.
    pub(crate) fn content_at(&self, body: &[u8], offset: usize) -> Option<usize> {
        let note = self.notes[..self.notes.partition_point(|note| note.at as usize <= offset)].last()?;
        let content = (note.content != OUTSIDE).then_some(note.content as usize);
        let mut walk = Walk { body, at: note.at as usize, content };
        while walk.at < offset {
            if !walk.step() {
                return None;
            }
        }
        // An opening quote stands at `offset` while the walk is still outside; its content starts after it.
        (walk.at == offset && offset < body.len()).then_some(walk.content).flatten()
    }
}

/// Goes over a body character by character inside strings and byte by byte outside.
struct Walk<'a> {
    body: &'a [u8],
    at: usize,
    content: Option<usize>,
}

impl Walk<'_> {
    fn note(&self) -> Note {
        // `new` cuts the body so that offsets fit.
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(OUTSIDE);
        Note { at: narrow(self.at), content: self.content.map_or(OUTSIDE, narrow) }
    }

    /// One step; `false` at the end.
    fn step(&mut self) -> bool {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let Some(&first) = rest.first() else { return false };
        let length = match (self.content, first) {
            (None, b'"') => {
                self.content = Some(self.at + 1);
                1
            }
            (None, _) => 1,
            (Some(_), b'"') => {
                self.content = None;
                1
            }
            (Some(_), b'\\') => escape_length(rest),
            (Some(_), 0xc0..) => 1 + rest[1..].iter().take(3).take_while(|byte| matches!(byte, 0x80..=0xbf)).count(),
            (Some(_), _) => 1,
        };
        self.at += length.min(rest.len());
        true
    }
}

/// How many bytes the escape at the start of `rest` takes: two escapes when they are a surrogate pair, because half of one is no character.
fn escape_length(rest: &[u8]) -> usize {
    if rest.get(1) != Some(&b'u') {
        return 2;
    }
    let is_pair = matches!(code_unit(rest), Some(0xd800..=0xdbff)) && matches!(rest.get(6..).and_then(code_unit), Some(0xdc00..=0xdfff));
    if is_pair { 12 } else { 6 }
}

fn code_unit(rest: &[u8]) -> Option<u32> {
    let digits = rest.strip_prefix(br"\u")?.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{STRIDE, StringIndex};
    use proptest::prelude::{any, proptest};

    /// `expected` shows for each byte of `body` whether an edit may start or end there: `|` when it may.
    fn check(body: &str, expected: &str) {
        let index = StringIndex::new(body.as_bytes());
        let found: String = (0..body.len()).map(|at| if index.content_at(body.as_bytes(), at).is_some() { '|' } else { '.' }).collect();
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn edits_stay_between_the_characters_of_one_string() {
        check(r#"{"a":"bc"}"#, "..||..|||.");
        check(r#"["",1,"\n"]"#, "..|....|.|.");
        check(r#"["\u0041b"]"#, "..|.....||.");
        check(r#"["\ud83d\ude00"]"#, "..|...........|.");
        check(r#"["\ud83dx"]"#, "..|.....||.");
        check(r#"["\\"]"#, "..|.|.");
        check(r#"["\"",0]"#, "..|.|...");
        check("[\"\u{e9}\u{1f600}x\"]", "..|.|...||.");
        check(r"[1, true]", ".........");
    }

    #[test]
    fn the_string_is_told_from_its_neighbours() {
        let body = br#"{"a":"b"}"#;
        let index = StringIndex::new(body);
        assert_eq!((2..=3).map(|at| index.content_at(body, at)).collect::<Vec<_>>(), [Some(2), Some(2)]);
        assert_eq!((6..=7).map(|at| index.content_at(body, at)).collect::<Vec<_>>(), [Some(6), Some(6)]);
    }

    #[test]
    fn notes_change_nothing_in_long_strings() {
        let content = r"\\\u0041\ud83d\ude00\nab".repeat(STRIDE / 4);
        let body = format!(r#"["{content}","x"]"#);
        let index = StringIndex::new(body.as_bytes());
        let mut at = 2;
        for step in [2, 6, 12, 2, 1, 1].iter().cycle() {
            assert_eq!(index.content_at(body.as_bytes(), at), Some(2), "{at}");
            if *step > 1 {
                assert_eq!(index.content_at(body.as_bytes(), at + 1), None, "{at}");
            }
            at += step;
            if at >= content.len() + 2 {
                break;
            }
        }
        assert_eq!(index.content_at(body.as_bytes(), content.len() + 5), Some(content.len() + 5));
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(body in any::<Vec<u8>>(), at in 0_usize..300) {
            let _ = StringIndex::new(&body).content_at(&body, at);
            if let Some(content) = StringIndex::new(&body).content_at(&body, at) {
                assert!(content <= at && body[content - 1] == b'"');
            }
        }
    }
}
