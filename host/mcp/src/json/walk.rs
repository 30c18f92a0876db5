//! The strict, iterative reader of JSON (RFC 8259) that everything in this module builds on.

use super::special::special;
use std::ops::Range;

/// What is wrong with a text that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The text ends too early.
    #[error("it ends too early")]
    Truncated,
    /// Another token belongs here.
    #[error("another token belongs here")]
    Unexpected,
    /// A number that RFC 8259 does not know.
    #[error("a number is malformed")]
    Number,
    /// An escape that RFC 8259 does not know.
    #[error("an escape is malformed")]
    Escape,
    /// A control character inside a string.
    #[error("a control character stands in a string")]
    Control,
    /// A byte that is not UTF-8.
    #[error("it is not UTF-8")]
    Utf8,
}

/// Why a text is not JSON, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {offset}: {fault}")]
pub struct JsonError {
    /// Bytes before the first one that is wrong.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: JsonFault,
}

/// Checks that `body` is one JSON text of RFC 8259, surrounded by white space at most. A `\u` escape may be a surrogate without its
/// partner. Depth is unlimited: it costs one bit of memory a level.
///
/// # Errors
/// Says where the text stops being JSON.
pub fn validate(body: &[u8]) -> Result<(), JsonError> {
    Walker::new(body).try_for_each(|token| token.map(drop))
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Key,
    String,
    /// A number, `true`, `false` or `null`.
    Scalar,
}

/// One token. The range of a key or string includes its quotes.
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
    /// A string or key that holds an escape.
    pub(super) has_escape: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    CommaOrEnd,
    Nothing,
    /// After the end or an error.
    Done,
}

/// Yields the tokens of one JSON text in order; after an error, nothing more.
pub(super) struct Walker<'a> {
    body: &'a [u8],
    at: usize,
    /// Everything before it is UTF-8.
    utf8_end: usize,
    expect: Expect,
    containers: Containers,
}

impl<'a> Walker<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        let utf8_end = str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
        Self { body, at: 0, utf8_end, expect: Expect::Value, containers: Containers::default() }
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> usize {
        self.containers.depth
    }

    fn step(&mut self) -> Result<Option<Token>, JsonError> {
        loop {
            self.skip_white_space();
            let Some(&byte) = self.body.get(self.at) else {
                return if self.expect == Expect::Nothing { Ok(None) } else { Err(self.fault(JsonFault::Truncated)) };
            };
            return match (self.expect, byte) {
                (Expect::CommaOrEnd, b',') => {
                    self.at += 1;
                    self.expect = if self.containers.in_object() { Expect::Key } else { Expect::Value };
                    continue;
                }
                (Expect::Value | Expect::ValueOrEnd, b'{') => Ok(Some(self.open(Kind::ObjectStart))),
                (Expect::Value | Expect::ValueOrEnd, b'[') => Ok(Some(self.open(Kind::ArrayStart))),
                (Expect::CommaOrEnd | Expect::KeyOrEnd, b'}') if self.containers.in_object() => Ok(Some(self.close(Kind::ObjectEnd))),
                (Expect::CommaOrEnd | Expect::ValueOrEnd, b']') if !self.containers.in_object() => Ok(Some(self.close(Kind::ArrayEnd))),
                (Expect::Key | Expect::KeyOrEnd, b'"') => self.key().map(Some),
                (Expect::Value | Expect::ValueOrEnd, b'"') => {
                    let token = self.string(Kind::String)?;
                    self.value_ended();
                    Ok(Some(token))
                }
                (Expect::Value | Expect::ValueOrEnd, _) => self.scalar(byte).map(Some),
                _ => Err(self.fault(JsonFault::Unexpected)),
            };
        }
    }

    fn open(&mut self, kind: Kind) -> Token {
        let is_object = kind == Kind::ObjectStart;
        self.containers.push(is_object);
        self.expect = if is_object { Expect::KeyOrEnd } else { Expect::ValueOrEnd };
        self.one_byte(kind)
    }

    fn close(&mut self, kind: Kind) -> Token {
        self.containers.pop();
        self.value_ended();
        self.one_byte(kind)
    }

    fn one_byte(&mut self, kind: Kind) -> Token {
        self.at += 1;
        Token { kind, range: self.at - 1..self.at, has_escape: false }
    }

    fn key(&mut self) -> Result<Token, JsonError> {
        let token = self.string(Kind::Key)?;
        self.skip_white_space();
        match self.body.get(self.at) {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.fault(JsonFault::Unexpected)),
            None => return Err(self.fault(JsonFault::Truncated)),
        }
        self.expect = Expect::Value;
        Ok(token)
    }

    fn string(&mut self, kind: Kind) -> Result<Token, JsonError> {
        let start = self.at;
        let mut has_escape = false;
        self.at += 1;
        loop {
            self.at += special(&self.body[self.at..]);
            if self.at > self.utf8_end {
                self.at = self.utf8_end;
                return Err(self.fault(JsonFault::Utf8));
            }
            match self.body.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Token { kind, range: start..self.at, has_escape });
                }
                Some(b'\\') => {
                    has_escape = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault(JsonFault::Control)),
                None => return Err(self.fault(JsonFault::Truncated)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let digits = match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            Some(_) => return Err(self.fault(JsonFault::Escape)),
            None => return Err(self.fault(JsonFault::Truncated)),
        };
        let from = self.at + 2;
        for at in from..from + digits {
            match self.body.get(at) {
                Some(byte) if byte.is_ascii_hexdigit() => {}
                Some(_) => return Err(self.fault(JsonFault::Escape)),
                None => return Err(self.fault(JsonFault::Truncated)),
            }
        }
        self.at = from + digits;
        Ok(())
    }

    fn scalar(&mut self, first: u8) -> Result<Token, JsonError> {
        let start = self.at;
        match first {
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => {
                let fault = if self.at == self.utf8_end { JsonFault::Utf8 } else { JsonFault::Unexpected };
                return Err(self.fault(fault));
            }
        }
        self.value_ended();
        Ok(Token { kind: Kind::Scalar, range: start..self.at, has_escape: false })
    }

    fn literal(&mut self, literal: &[u8]) -> Result<(), JsonError> {
        for expected in literal {
            match self.body.get(self.at) {
                Some(byte) if byte == expected => self.at += 1,
                Some(_) => return Err(self.fault(JsonFault::Unexpected)),
                None => return Err(self.fault(JsonFault::Truncated)),
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.body.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.body.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.body.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.body.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.body.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.body[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        match (count, self.body.get(self.at)) {
            (0, None) => Err(self.fault(JsonFault::Truncated)),
            (0, Some(_)) => Err(self.fault(JsonFault::Number)),
            _ => Ok(()),
        }
    }

    fn value_ended(&mut self) {
        self.expect = if self.containers.depth == 0 { Expect::Nothing } else { Expect::CommaOrEnd };
    }

    fn skip_white_space(&mut self) {
        while matches!(self.body.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fault(&self, fault: JsonFault) -> JsonError {
        JsonError { offset: self.at, fault }
    }
}

impl Iterator for Walker<'_> {
    type Item = Result<Token, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.expect == Expect::Done {
            return None;
        }
        let step = self.step().transpose();
        if !matches!(step, Some(Ok(_))) {
            self.expect = Expect::Done;
        }
        step
    }
}

/// Which of the open containers are objects: a stack of one bit a level.
#[derive(Default)]
struct Containers {
    words: Vec<u64>,
    depth: usize,
}

impl Containers {
    fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.words.len() {
            self.words.push(0);
        }
        self.words[word] = self.words[word] & !(1 << bit) | u64::from(is_object) << bit;
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn in_object(&self) -> bool {
        let Some(top) = self.depth.checked_sub(1) else { return false };
        self.words[top / 64] >> (top % 64) & 1 == 1
    }
}
