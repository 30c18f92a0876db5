//! HTTP/1.1 by hand over one TCP connection: write any bytes, read heads and bodies as they come.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::wait::DEADLINE;

/// A head of this size has gone wrong.
const MAX_HEAD: usize = 256 * 1024;

/// The start line and headers of a request or response, names in lower case, order kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The first line without its line end.
    pub start: String,
    /// Names (lower case) and values in the order of the wire.
    pub headers: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(':').with_context(|| format!("header line {line:?}"))?;
                Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect::<Result<_>>()?;
        Ok(Self { start, headers })
    }

    fn word(&self, n: usize) -> &str {
        self.start.split(' ').nth(n).unwrap_or_default()
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// The target (path and query) of a request.
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// The status code of a response; 0 when there is none.
    pub fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// The first value of a header, looked up by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn framing(&self) -> Result<Framing> {
        let is_response = self.start.starts_with("HTTP/");
        if is_response && matches!(self.status(), 100..=199 | 204 | 304) {
            return Ok(Framing::Length(0));
        }
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Framing::Chunk(0));
        }
        match self.header("content-length") {
            Some(length) => Ok(Framing::Length(length.parse().context("content-length")?)),
            None if is_response => Ok(Framing::UntilClose),
            None => Ok(Framing::Length(0)),
        }
    }
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status line and headers.
    pub head: Head,
    /// The body with its transfer coding removed.
    pub body: Vec<u8>,
}

impl Reply {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text, invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}

/// What is still to come of the body that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    /// Chunked, with this many bytes of the current chunk to come.
    Chunk(usize),
    UntilClose,
    Done,
}

/// One TCP connection. Every read gives up after [`DEADLINE`].
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    framing: Framing,
}

impl Connection {
    /// Connects to `address`.
    ///
    /// # Errors
    /// When nobody accepts.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_timeout(&address, DEADLINE)?)
    }

    /// Takes over a connected stream.
    ///
    /// # Errors
    /// When the socket refuses its options.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, buffer: Vec::new(), framing: Framing::Done })
    }

    /// Writes exactly these bytes.
    ///
    /// # Errors
    /// When the peer is gone or does not read for [`DEADLINE`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be written, and keeps reading.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn finish_sending(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Ends the connection with a reset, so that the peer sees an error and not a clean end.
    pub fn reset(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = libc::socklen_t::try_from(size_of::<libc::linger>()).expect("a linger is a few bytes");
        // SAFETY: the descriptor is open for as long as `self`, and the pointer is to a value of
        // the size given, which setsockopt only reads.
        unsafe {
            libc::setsockopt(
                std::os::fd::AsRawFd::as_raw_fd(&self.stream),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                std::ptr::from_ref(&linger).cast(),
                size,
            );
        }
    }

    /// Reads more bytes into the buffer; 0 is the end of the stream.
    fn fill(&mut self, limit: Duration) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        self.stream.set_read_timeout(Some(limit))?;
        let n = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..n]);
        Ok(n)
    }

    fn fill_some(&mut self) -> Result<()> {
        let n = self.fill(DEADLINE).context("while reading")?;
        ensure!(n > 0, "the peer closed in the middle, after {:?}", String::from_utf8_lossy(&self.buffer));
        Ok(())
    }

    /// Waits for the next byte and leaves it where it is; false when the peer closes instead.
    ///
    /// # Errors
    /// When neither happens within [`DEADLINE`], or the connection breaks.
    pub fn has_more(&mut self) -> io::Result<bool> {
        Ok(!self.buffer.is_empty() || self.fill(DEADLINE)? > 0)
    }

    /// Reads the next head; `None` when the peer closed before its first byte.
    ///
    /// # Errors
    /// When what comes is not an HTTP/1.1 head.
    pub fn next_head(&mut self) -> Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = Head::parse(std::str::from_utf8(&self.buffer[..end])?)?;
                self.buffer.drain(..end + 4);
                self.framing = head.framing()?;
                return Ok(Some(head));
            }
            ensure!(self.buffer.len() < MAX_HEAD, "endless head");
            if self.buffer.is_empty() {
                match self.fill(DEADLINE) {
                    Ok(0) => return Ok(None),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                    Err(error) => return Err(error).context("while waiting for a head"),
                }
            } else {
                self.fill_some()?;
            }
        }
    }

    /// Reads the next head, which must come.
    ///
    /// # Errors
    /// When the peer closes instead, or sends something else.
    pub fn head(&mut self) -> Result<Head> {
        self.next_head()?.context("the peer closed without a word")
    }

    /// Reads the body bytes that are there, at least one, its transfer coding removed; `None` at
    /// the end of the body.
    ///
    /// # Errors
    /// When the body is cut off.
    pub fn body_piece(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match self.framing {
                Framing::Done | Framing::Length(0) => {
                    self.framing = Framing::Done;
                    return Ok(None);
                }
                Framing::Chunk(0) => self.next_chunk()?,
                Framing::UntilClose if self.buffer.is_empty() => {
                    if self.fill(DEADLINE)? == 0 {
                        self.framing = Framing::Done;
                    }
                }
                Framing::UntilClose => return Ok(Some(std::mem::take(&mut self.buffer))),
                Framing::Length(_) | Framing::Chunk(_) if self.buffer.is_empty() => self.fill_some()?,
                Framing::Length(left) => {
                    let piece = self.take(left);
                    self.framing = Framing::Length(left - piece.len());
                    return Ok(Some(piece));
                }
                Framing::Chunk(left) => {
                    let piece = self.take(left);
                    if piece.len() == left {
                        self.line()?;
                    }
                    self.framing = Framing::Chunk(left - piece.len());
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// Reads a chunk's size line; after the last chunk, the trailer section too.
    fn next_chunk(&mut self) -> Result<()> {
        let line = self.line()?;
        let digits = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(digits.trim(), 16).with_context(|| format!("chunk size {line:?}"))?;
        self.framing = Framing::Chunk(size);
        if size == 0 {
            while !self.line()?.is_empty() {}
            self.framing = Framing::Done;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8(self.buffer[..end].to_vec())?;
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            self.fill_some()?;
        }
    }

    fn take(&mut self, at_most: usize) -> Vec<u8> {
        let n = at_most.min(self.buffer.len());
        self.buffer.drain(..n).collect()
    }

    /// Reads the body on until what was read of it contains `pattern`; gives all of that.
    ///
    /// # Errors
    /// When the body ends before.
    pub fn body_until(&mut self, pattern: &str) -> Result<Vec<u8>> {
        let mut seen = Vec::new();
        while find(&seen, pattern.as_bytes()).is_none() {
            match self.body_piece()? {
                Some(piece) => seen.extend(piece),
                None => bail!("{pattern:?} never came, only {:?}", String::from_utf8_lossy(&seen)),
            }
        }
        Ok(seen)
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// When it is cut off.
    pub fn body(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = self.body_piece()? {
            body.extend(piece);
        }
        Ok(body)
    }

    /// Reads a whole response.
    ///
    /// # Errors
    /// When none comes, or not all of it.
    pub fn reply(&mut self) -> Result<Reply> {
        let head = self.head()?;
        let body = self.body()?;
        Ok(Reply { head, body })
    }

    /// How long it takes the peer to end the connection; bytes that still come are thrown away.
    ///
    /// # Errors
    /// When it has not ended after [`DEADLINE`].
    pub fn wait_for_end(&mut self) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let left = DEADLINE.checked_sub(start.elapsed()).context("the peer never ended the connection")?;
            match self.fill(left.max(Duration::from_millis(1))) {
                Ok(0) => return Ok(start.elapsed()),
                Ok(_) => self.buffer.clear(),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Ok(start.elapsed()),
            }
        }
    }
}

/// A request as bytes. `Host` and `Content-Length` are added where they are not given.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    if !given("host") {
        bytes.extend(b"Host: localhost\r\n");
    }
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    if !given("content-length") && !given("transfer-encoding") && (method != "GET" || !body.is_empty()) {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

/// The headers that an MCP client sends with every POST.
pub const MCP_POST: [(&str, &str); 2] = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
