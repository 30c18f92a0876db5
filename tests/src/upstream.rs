//! A test upstream: a raw listener whose behaviour for each request is a closure writing bytes.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use crate::http1::{Connection, Head};
use crate::wait::DEADLINE;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and headers.
    pub head: Head,
    /// The whole body, transfer coding removed.
    pub body: Vec<u8>,
}

impl Received {
    /// The JSON-RPC `id` of the body; null where there is none.
    pub fn id(&self) -> serde_json::Value {
        serde_json::from_slice::<serde_json::Value>(&self.body).map(|message| message["id"].clone()).unwrap_or_default()
    }
}

impl Received {
    /// Whether the gateway asks for itself.
    fn is_probe(&self) -> bool {
        self.head.header("user-agent").is_some_and(|agent| agent.starts_with("watchgate/"))
    }
}

#[derive(Default)]
struct Shared {
    answers_probes: bool,
    stopping: AtomicBool,
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: Mutex<Vec<Received>>,
}

/// An upstream server on a port of its own, one thread a connection.
///
/// ```
/// use watchgate_tests::{Connection, Scripted, http1};
///
/// let upstream = Scripted::start(|exchange| exchange.json(200, "{}"));
/// let mut client = Connection::open(upstream.address())?;
/// client.send(&http1::request("POST", "/mcp", &[], b"{}"))?;
/// assert_eq!(client.reply()?.status(), 200);
/// # anyhow::Ok(())
/// ```
pub struct Scripted {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Starts an upstream that answers each request of a client by calling `answer`. An error of `answer`, and
    /// a response that it leaves unfinished, close the connection.
    ///
    /// # Panics
    /// When the loopback interface has no port left.
    pub fn start(answer: impl Fn(&mut Exchange) -> Result<()> + Send + Sync + 'static) -> Self {
        Self::listen(false, answer)
    }

    /// As [`Scripted::start`], and what the gateway asks for itself and for its plugins is answered and recorded in the same way.
    ///
    /// # Panics
    /// When the loopback interface has no port left.
    pub fn start_for_the_gateway_too(answer: impl Fn(&mut Exchange) -> Result<()> + Send + Sync + 'static) -> Self {
        Self::listen(true, answer)
    }

    fn listen(answers_probes: bool, answer: impl Fn(&mut Exchange) -> Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared { answers_probes, ..Shared::default() });
        let accepting = std::thread::spawn({
            let (shared, answer) = (Arc::clone(&shared), Arc::new(answer));
            move || accept(&listener, &shared, &answer)
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its origin, for `--upstream`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The requests so far, in the order in which they were complete.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The accept loop looks at the flag only when somebody connects.
        let _ = TcpStream::connect_timeout(&self.address, DEADLINE);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept<A>(listener: &TcpListener, shared: &Arc<Shared>, answer: &Arc<A>)
where
    A: Fn(&mut Exchange) -> Result<()> + Send + Sync + 'static,
{
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(connection) = stream.and_then(Connection::new) else { continue };
        let (shared, answer) = (Arc::clone(shared), Arc::clone(answer));
        // Not joined: an idle kept-alive connection ends when its client does.
        shared.open.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            let _open = Open(&shared);
            serve(connection, &shared, &*answer);
        });
    }
}

/// Stands for an open connection, however its thread ends.
struct Open<'a>(&'a Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve(mut connection: Connection, shared: &Shared, answer: &dyn Fn(&mut Exchange) -> Result<()>) {
    let mut is_counted = false;
    while let Ok(Some(head)) = connection.next_head() {
        let Ok(body) = connection.body() else { return };
        let request = Received { head, body };
        if request.is_probe() && !shared.answers_probes {
            // The gateway looks by itself whether the server is well; a script is about what clients do.
            let mut exchange = Exchange { request, connection: Some(connection), finished: false };
            match (exchange.respond(404, &[], b""), exchange.connection.take()) {
                (Ok(()), Some(kept)) => connection = kept,
                _ => return,
            }
            continue;
        }
        if !std::mem::replace(&mut is_counted, true) {
            shared.connections.fetch_add(1, Ordering::SeqCst);
        }
        shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let mut exchange = Exchange { request, connection: Some(connection), finished: false };
        let outcome = answer(&mut exchange);
        match exchange.connection.take() {
            Some(kept) if outcome.is_ok() && exchange.finished => connection = kept,
            _ => return,
        }
    }
}

/// One request and the means to answer it.
pub struct Exchange {
    /// The request.
    pub request: Received,
    /// `None` after a reset.
    connection: Option<Connection>,
    finished: bool,
}

impl Exchange {
    fn connection(&mut self) -> io::Result<&mut Connection> {
        self.connection.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }

    /// Writes exactly these bytes. The connection closes after the exchange unless the response is
    /// finished with one of the other functions.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.connection()?.send(bytes)?)
    }

    /// Answers with a whole body.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn respond(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let mut bytes = head(status, headers);
        bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
        bytes.extend(body);
        self.write(&bytes)?;
        self.finished = true;
        Ok(())
    }

    /// Answers with a whole JSON body.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn json(&mut self, status: u16, body: impl AsRef<[u8]>) -> Result<()> {
        self.respond(status, &[("Content-Type", "application/json")], body.as_ref())
    }

    /// Writes the head of an event stream; chunks follow.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn event_stream(&mut self) -> Result<()> {
        self.chunked(200, &[("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])
    }

    /// Writes the head of a chunked response; chunks follow.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn chunked(&mut self, status: u16, headers: &[(&str, &str)]) -> Result<()> {
        let mut bytes = head(status, headers);
        bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
        self.write(&bytes)
    }

    /// Writes one chunk.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let bytes = bytes.as_ref();
        self.write(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
    }

    /// Ends a chunked response.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn end(&mut self) -> Result<()> {
        self.write(b"0\r\n\r\n")?;
        self.finished = true;
        Ok(())
    }

    /// The same with these trailers, each with its line end.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn end_with(&mut self, trailers: &str) -> Result<()> {
        self.write(format!("0\r\n{trailers}\r\n").as_bytes())?;
        self.finished = true;
        Ok(())
    }

    /// Waits until the client has closed the connection, and says how long that took.
    ///
    /// # Errors
    /// When it has not after [`DEADLINE`].
    pub fn client_left(&mut self) -> Result<Duration> {
        self.connection()?.wait_for_end()
    }

    /// Closes the connection in the regular way, at once.
    pub fn close(&mut self) {
        self.connection = None;
    }

    /// Ends the connection with a reset.
    pub fn reset(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.reset();
        }
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} Scripted\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    bytes
}

/// An address on which nobody listens: a port that was free a moment ago, on a loopback address
/// that nothing else in these tests binds, so that it stays free.
///
/// # Panics
/// When that address has no port left.
pub fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(("127.77.0.1", 0)).expect("all of 127.0.0.0/8 is loopback");
    listener.local_addr().expect("a bound listener has an address")
}
