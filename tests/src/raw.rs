//! HTTP/1.1 messages as they are on the wire, byte for byte: for comparing what `http1` is for understanding.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use crate::wait::DEADLINE;

/// A field: its name in lower case, and its value without the whitespace around it.
pub type Field = (Vec<u8>, Vec<u8>);

/// How a message says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has none.
    Nothing,
    /// By `Content-Length`.
    Length,
    /// By chunks.
    Chunks,
    /// By the end of the connection.
    Close,
}

/// A message and how it ended.
#[derive(Clone, PartialEq, Eq)]
pub struct RawMessage {
    /// The first line without its line end.
    pub start: Vec<u8>,
    /// In the order of the wire.
    pub headers: Vec<Field>,
    /// Its transfer coding removed.
    pub body: Vec<u8>,
    /// In the order of the wire.
    pub trailers: Vec<Field>,
    /// How its body is framed.
    pub framing: Framing,
    /// Whether the connection ended before the message did.
    pub is_cut: bool,
}

impl RawMessage {
    /// The first value of a header, looked up by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// The word of the first line at this place.
    pub fn word(&self, place: usize) -> &[u8] {
        self.start.split(|byte| *byte == b' ').nth(place).unwrap_or_default()
    }
}

impl fmt::Debug for RawMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 400;
        const SHOWN_OF_A_FIELD: usize = 80;
        let fields = |f: &mut fmt::Formatter<'_>, fields: &[Field]| {
            fields.iter().try_for_each(|(name, value)| {
                let shown = &value[..value.len().min(SHOWN_OF_A_FIELD)];
                writeln!(f, "  {}: {} ({} bytes)", name.escape_ascii(), shown.escape_ascii(), value.len())
            })
        };
        writeln!(f, "{}", self.start.escape_ascii())?;
        fields(f, &self.headers)?;
        let shown = &self.body[..self.body.len().min(SHOWN)];
        writeln!(f, "  {:?}, {} bytes, cut: {}: {}", self.framing, self.body.len(), self.is_cut, shown.escape_ascii())?;
        fields(f, &self.trailers)
    }
}

/// What a message is, as far as its framing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// An answer to HEAD, which has no body whatever its headers say.
    AnswerToHead,
    /// Another answer.
    Answer,
}

/// One TCP connection. Every read gives up after [`DEADLINE`].
pub struct RawConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl RawConnection {
    /// Connects to `address`.
    ///
    /// # Errors
    /// When nobody accepts.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&address, DEADLINE)?.try_into()
    }

    /// Writes exactly these bytes.
    ///
    /// # Errors
    /// When the peer is gone or does not read for [`DEADLINE`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads the next message; `None` when the peer closed before its first byte. Informational answers are passed over.
    ///
    /// # Errors
    /// When what comes is not HTTP/1.1, or nothing comes.
    pub fn message(&mut self, kind: Kind) -> Result<Option<RawMessage>> {
        loop {
            let Some(head) = self.head()? else { return Ok(None) };
            let mut message = parse_head(&head)?;
            let status = (kind != Kind::Request).then(|| String::from_utf8_lossy(message.word(1)).into_owned());
            if status.as_ref().is_some_and(|status| status.starts_with('1')) {
                continue;
            }
            message.framing = framing(&message, kind, status.as_deref());
            message.is_cut = !self.read_body(&mut message)?;
            return Ok(Some(message));
        }
    }

    /// Whether the peer ends the connection, rather than keep it for [`DEADLINE`].
    pub fn is_ended_by_peer(&mut self) -> bool {
        matches!(self.fill(), Ok(false))
    }

    fn head(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer[..end].to_vec();
                self.buffer.drain(..end + 4);
                return Ok(Some(head));
            }
            if !self.fill().context("while waiting for a head")? {
                return if self.buffer.is_empty() { Ok(None) } else { bail!("half a head: {}", self.buffer.escape_ascii()) };
            }
        }
    }

    /// Reads more; false at the end of the connection, a reset included.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Ok(count > 0)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads the body; false when it is cut.
    fn read_body(&mut self, message: &mut RawMessage) -> Result<bool> {
        match message.framing {
            Framing::Nothing => Ok(true),
            Framing::Close => {
                while self.fill()? {}
                message.body = std::mem::take(&mut self.buffer);
                Ok(true)
            }
            Framing::Length => {
                let length = message.header("content-length").unwrap_or_default();
                let length = std::str::from_utf8(length)?.parse().with_context(|| format!("{message:?}"))?;
                self.take(length, &mut message.body)
            }
            Framing::Chunks => self.read_chunks(message),
        }
    }

    fn read_chunks(&mut self, message: &mut RawMessage) -> Result<bool> {
        loop {
            let Some(line) = self.line()? else { return Ok(false) };
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let size = usize::from_str_radix(std::str::from_utf8(digits)?, 16).with_context(|| line.escape_ascii().to_string())?;
            if size == 0 {
                break;
            }
            if !self.take(size, &mut message.body)? || self.line()?.is_none() {
                return Ok(false);
            }
        }
        loop {
            match self.line()? {
                None => return Ok(false),
                Some(line) if line.is_empty() => return Ok(true),
                Some(line) => message.trailers.push(parse_field(&line)?),
            }
        }
    }

    /// Moves so many bytes to `body`; false when fewer come.
    fn take(&mut self, count: usize, body: &mut Vec<u8>) -> Result<bool> {
        while self.buffer.len() < count && self.fill()? {}
        let count_here = count.min(self.buffer.len());
        body.extend(self.buffer.drain(..count_here));
        Ok(count_here == count)
    }

    /// The next line; `None` when it does not end.
    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n") {
                let line = self.buffer[..end].to_vec();
                self.buffer.drain(..end + 2);
                return Ok(Some(line));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }
}

impl TryFrom<TcpStream> for RawConnection {
    type Error = io::Error;

    fn try_from(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, buffer: Vec::new() })
    }
}

fn parse_head(head: &[u8]) -> Result<RawMessage> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let start = lines.next().unwrap_or_default().to_vec();
    let headers = lines.map(parse_field).collect::<Result<_>>()?;
    Ok(RawMessage { start, headers, body: Vec::new(), trailers: Vec::new(), framing: Framing::Nothing, is_cut: false })
}

fn parse_field(line: &[u8]) -> Result<Field> {
    let colon = memchr::memchr(b':', line).with_context(|| format!("no field: {}", line.escape_ascii()))?;
    Ok((line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec()))
}

fn framing(message: &RawMessage, kind: Kind, status: Option<&str>) -> Framing {
    if kind == Kind::AnswerToHead || matches!(status, Some("204" | "304")) {
        Framing::Nothing
    } else if message.header("transfer-encoding").is_some() {
        Framing::Chunks
    } else if message.header("content-length").is_some() {
        Framing::Length
    } else if kind == Kind::Request {
        Framing::Nothing
    } else {
        Framing::Close
    }
}
