//! As many requests as go through: each connection sends the next request when it has the answer to the last.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::latency::Latencies;
use crate::wire::answer_length;

/// What came of it.
#[derive(Default)]
pub struct Throughput {
    /// Of every request.
    pub latencies: Latencies,
    /// How long it took.
    pub elapsed: Duration,
}

impl Throughput {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.elapsed.as_secs_f64()
    }

    /// Adds another measurement of the same.
    pub fn merge(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        self.elapsed += other.elapsed;
    }
}

/// Sends `request` over `connections` connections for `duration`, on one thread: what the load costs is taken from the same cores.
///
/// # Errors
/// When a connection breaks or an answer is not the upstream's: figures of failures are no figures.
pub fn run(address: SocketAddr, connections: usize, duration: Duration, request: &[u8]) -> Result<Throughput> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await.with_context(|| address.to_string())?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for stream in streams {
            tasks.spawn(call_until(stream, start + duration, request.to_vec()));
        }
        let mut throughput = Throughput::default();
        while let Some(latencies) = tasks.join_next().await {
            throughput.latencies.merge(&latencies??);
        }
        throughput.elapsed = start.elapsed();
        Ok(throughput)
    })
}

async fn call_until(mut stream: TcpStream, end: Instant, request: Vec<u8>) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut received = Vec::with_capacity(4096);
    let mut sent = Instant::now();
    while sent < end {
        stream.write_all(&request).await?;
        received.clear();
        while answer_length(&received)?.is_none() {
            anyhow::ensure!(stream.read_buf(&mut received).await? > 0, "the connection was closed before an answer");
        }
        let answered = Instant::now();
        latencies.record(answered - sent);
        sent = answered;
    }
    Ok(latencies)
}
