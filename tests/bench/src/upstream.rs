//! The upstream: a process that answers every request alike, as cheaply as it can, because it shares the machine with what is measured.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use watchgate_tests::process::Process;

use crate::wire::{ANSWER, content_length, head_end};

/// Requests for this path are answered by a stream of events that carry the time of their sending.
pub const STREAM: &str = "/stream";
/// Events of one stream.
pub const EVENTS: u64 = 1000;
/// Between two events.
const PAUSE: Duration = Duration::from_millis(2);
/// What stands before the time in an event; hexadecimal digits follow.
pub const MARK: &str = "sent at ";

/// The answer to what a gateway pushes: everything was taken.
const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";

/// A running upstream; dropping it ends it.
pub struct Upstream {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Upstream {
    /// Starts this program again as an upstream.
    pub fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        let mut command = std::process::Command::new(std::env::current_exe()?);
        let mut process = Process::start("upstream", command.arg("upstream"), folder.path())?;
        let address = process.announced("upstream listening on ")?.parse()?;
        Ok(Self { address, _process: process, _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL with this path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Serves until the process is ended, on one thread.
pub fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("upstream listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            // A connection that ends in the middle of a request is the client's business.
            tokio::spawn(async move { answer_all(stream).await });
        }
    })
}

async fn answer_all(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ANSWER}", ANSWER.len());
    let mut received = Vec::with_capacity(4096);
    loop {
        let (head, length) = loop {
            if let Some(head) = head_end(&received) {
                // A request without a body has no length.
                let length = content_length(&received[..head]).unwrap_or(0);
                if received.len() >= head + length {
                    break (head, head + length);
                }
            }
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        let wants_stream = target(&received[..head]) == STREAM.as_bytes();
        let is_telemetry = target(&received[..head]).starts_with(b"/v1/");
        received.drain(..length);
        if wants_stream {
            send_events(&mut stream).await?;
        } else if is_telemetry {
            stream.write_all(TAKEN.as_bytes()).await?;
        } else {
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

fn target(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

async fn send_events(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    for number in 0..EVENTS {
        tokio::time::sleep(PAUSE).await;
        let notification = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":7,"progress":{number},"message":"{MARK}{:x}"}}}}"#,
            now().as_nanos()
        );
        send_event(stream, &notification).await?;
    }
    send_event(stream, ANSWER).await?;
    Ok(stream.write_all(b"0\r\n\r\n").await?)
}

async fn send_event(stream: &mut TcpStream, data: &str) -> Result<()> {
    let event = format!("data: {data}\n\n");
    Ok(stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?)
}

/// Time since the machine started: the one clock that two processes share.
pub fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes the one value that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).expect("the machine has run for a positive time");
    let nanoseconds = u32::try_from(time.tv_nsec).expect("the kernel keeps nanoseconds under a second");
    Duration::new(seconds, nanoseconds)
}
