//! Random parts that requests and answers share: fields, bodies, and how a body is written.

use std::io::Write;

use watchgate_tests::Random;

/// Characters of tokens (RFC 9110, 5.6.2).
const TOKEN: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789!#$%&'*+-.^_`|~";
/// Characters of field values that have no meaning of their own, bytes beyond ASCII included.
const TEXT: &[u8] = b"abc XYZ\t0123,;=\"()<>@:\\/[]?{}'%&\x80\xa0\xc3\xa9\xff";
/// What stands between letters, in JSON and in events, where parsers trip.
const ODD: &[u8] = b"{}[]\":,\\ \t\r\n0a:\xc3\xa9\xff\x00";

/// A message under way to its wire form.
pub struct Draft {
    pub start: String,
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub framing: Framed,
    pub trailers: Vec<(String, Vec<u8>)>,
}

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framed {
    /// Not at all; fields say what they say.
    Absent,
    Length,
    Chunks,
    /// Until the connection closes.
    Close,
}

impl Draft {
    /// Adds a field, with its name in any case.
    pub fn field(&mut self, random: &mut Random, name: &str, value: impl Into<Vec<u8>>) {
        self.fields.push((cased(random, name), value.into()));
    }

    /// The bytes, in pieces as they are to be written.
    pub fn into_pieces(mut self, random: &mut Random) -> Vec<Vec<u8>> {
        match self.framing {
            Framed::Length => self.field(random, "content-length", self.body.len().to_string()),
            Framed::Chunks => self.field(random, "transfer-encoding", "chunked"),
            Framed::Absent | Framed::Close => {}
        }
        if !self.trailers.is_empty() {
            let names: Vec<&str> = self.trailers.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.join(", ");
            self.field(random, "trailer", names);
        }
        let mut fields = std::mem::take(&mut self.fields);
        random.shuffle(&mut fields);
        let mut bytes = self.start.into_bytes();
        bytes.extend(b"\r\n");
        for (name, value) in &fields {
            write_field(random, &mut bytes, name, value);
        }
        bytes.extend(b"\r\n");
        match self.framing {
            Framed::Absent => {}
            Framed::Length | Framed::Close => bytes.extend(&self.body),
            Framed::Chunks => write_chunks(random, &mut bytes, &self.body, &self.trailers),
        }
        let longest = if bytes.len() > 4096 || random.percent(60) { bytes.len() } else { 1 + random.below(200) };
        random.pieces(&bytes, longest).into_iter().map(<[u8]>::to_vec).collect()
    }
}

fn write_field(random: &mut Random, bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    let before = *random.one_of(&[" ", " ", " ", "", "\t", "  "]);
    let after = *random.one_of(&["", "", "", " ", "\t "]);
    bytes.extend([name.as_bytes(), b":", before.as_bytes(), value, after.as_bytes(), b"\r\n"].concat());
}

fn write_chunks(random: &mut Random, bytes: &mut Vec<u8>, body: &[u8], trailers: &[(String, Vec<u8>)]) {
    let longest = 1 + random.below(body.len().max(16));
    for chunk in random.pieces(body, longest) {
        let extension = *random.one_of(&["", "", "", ";a=b", ";x", " ; y=\"z\""]);
        let zeros = *random.one_of(&["", "", "00"]);
        write!(bytes, "{zeros}{:x}{extension}\r\n", chunk.len()).unwrap();
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n");
    for (name, value) in trailers {
        write_field(random, bytes, name, value);
    }
    bytes.extend(b"\r\n");
}

fn cased(random: &mut Random, name: &str) -> String {
    match random.below(3) {
        0 => name.to_ascii_lowercase(),
        1 => name.to_ascii_uppercase(),
        _ => name.to_owned(),
    }
}

/// A field that nobody knows.
pub fn unknown_field(random: &mut Random) -> (String, Vec<u8>) {
    let count = 1 + random.below(12);
    let name = format!("x-{}", String::from_utf8(random.text(TOKEN, count)).unwrap());
    (name, value(random))
}

/// Any value: empty, short, or long.
pub fn value(random: &mut Random) -> Vec<u8> {
    let count = match random.below(10) {
        0 => 0,
        1 => random.below(2000),
        _ => random.below(40),
    };
    random.text(TEXT, count).trim_ascii().to_vec()
}

/// Fields that nobody knows, some of them several times, not side by side.
pub fn unknown_fields(random: &mut Random, draft: &mut Draft) {
    for _ in 0..random.below(8) {
        let (name, first) = unknown_field(random);
        for _ in 0..random.below(3) {
            let further = value(random);
            draft.field(random, &name, further);
        }
        draft.field(random, &name, first);
    }
}

/// Trailers, for bodies in chunks.
pub fn trailers(random: &mut Random) -> Vec<(String, Vec<u8>)> {
    (0..1 + random.below(3)).map(|_| unknown_field(random)).collect()
}

/// A JSON-RPC message, or something that nearly is one.
pub fn json(random: &mut Random) -> Vec<u8> {
    let id = *random.one_of(&["0", "1", "-7", "\"a\"", "\"\\u00e6\"", "null", "1.5", "99999999999999999999"]);
    let text = padding(random);
    let message = match random.below(9) {
        0 => format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{id}}}}}"),
        1 => format!(
            "{{\"method\":\"tools/call\",\"params\":{{\"name\":\"t\",\"arguments\":{{\"q\":\"{text}\"}}}},\"jsonrpc\":\"2.0\",\"id\":{id}}}"
        ),
        2 => format!(
            "{{\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}],\"isError\":true}},\"jsonrpc\":\"2.0\",\"id\":{id}}}"
        ),
        3 => {
            format!(" \r\n{{ \"jsonrpc\" : \"2.0\" , \"id\" : {id} , \"error\" : {{ \"code\" : -32601, \"message\" : \"{text}\" }} }}\n\n")
        }
        4 => format!("[{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}},{{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"{text}\"}}]"),
        5 => {
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"id\":2,\"method\":\"initialize\",\"params\":{{\"protocolVersion\":\"{text}\"}}}}")
        }
        6 => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"tools\":[{{\"name\":\"{text}\"}}],\"resultType\":\"complete\"}}}}"),
        7 => "[".repeat(random.below(300)),
        _ => text,
    };
    let mut bytes = message.into_bytes();
    if random.percent(10) {
        let place = random.below(bytes.len() + 1);
        let odd = 1 + random.below(4);
        let odd = random.text(ODD, odd);
        bytes.splice(place..place, odd);
    }
    bytes
}

/// Text of any length that is still JSON between quotes.
fn padding(random: &mut Random) -> String {
    let count = match random.below(30) {
        0 => random.below(200_000),
        1..5 => random.below(5000),
        _ => random.below(60),
    };
    String::from_utf8(random.text(b"abcdefgh 0123456789-_/.:;{}[]'", count)).unwrap()
}

/// An event stream: any line end, comments, fields of any kind, events in several lines, the last one perhaps not finished.
pub fn events(random: &mut Random) -> Vec<u8> {
    let usual = *random.one_of(&["\n", "\n", "\r\n", "\r"]);
    let mut stream = if random.percent(10) { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
    for _ in 0..random.below(12) {
        let end = if random.percent(10) { *random.one_of(&["\n", "\r\n", "\r"]) } else { usual };
        let line = line(random);
        stream.extend(line);
        stream.extend(end.as_bytes());
        if random.percent(40) {
            stream.extend(end.as_bytes());
        }
    }
    stream
}

fn line(random: &mut Random) -> Vec<u8> {
    let (name, value): (&[u8], Vec<u8>) = match random.below(9) {
        0 => (b": ", text_line(random)),
        1 => (b"id: ", text_line(random)),
        2 => (b"retry: ", random.below(10_000).to_string().into_bytes()),
        3 => (b"event:", random.one_of(&["message", "endpoint-ish", "", "ping"]).as_bytes().to_vec()),
        4 => (b"data", Vec::new()),
        5 => (b"", text_line(random)),
        _ => (*random.one_of::<&[u8]>(&[b"data: ", b"data:"]), json(random)),
    };
    let value = value.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    name.iter().copied().chain(value).collect()
}

fn text_line(random: &mut Random) -> Vec<u8> {
    let count = random.below(30);
    random.text(ODD, count)
}
