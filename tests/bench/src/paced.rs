//! Requests at a rate: each has its time, and its latency counts from then, whether or not it could be sent in time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::latency::Latencies;
use crate::upstream::now;
use crate::wire::answer_length;

/// A load at a rate.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Connections, each with a thread of its own.
    pub connections: u32,
    /// Requests a second over all of them.
    pub rate: f64,
}

/// What came of it.
#[derive(Default)]
pub struct Paced {
    /// Of every request that was answered.
    pub latencies: Latencies,
    /// Requests that were not answered as they should be, and why the first was not.
    pub failures: Vec<String>,
}

/// Sends `request` at a pace until `stop` is set.
pub fn run_until(address: SocketAddr, pace: Pace, request: &[u8], stop: &AtomicBool) -> Result<Paced> {
    let period = Duration::from_secs_f64(f64::from(pace.connections) / pace.rate);
    let start = now() + Duration::from_millis(20);
    let mut all = Paced::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..pace.connections)
            .map(|number| {
                // Spread over the period, so that the connections do not send all at once.
                let first = start + period * number / pace.connections;
                scope.spawn(move || call_at_times(address, first, period, request, stop))
            })
            .collect();
        for thread in threads {
            let one = thread.join().expect("a thread of the load generator does not panic")?;
            all.latencies.merge(&one.latencies);
            all.failures.extend(one.failures);
        }
        Ok(all)
    })
}

/// Sends `request` at a pace for `duration`.
pub fn run(address: SocketAddr, pace: Pace, duration: Duration, request: &[u8]) -> Result<Paced> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| run_until(address, pace, request, &stop));
        thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
        running.join().expect("the load generator does not panic")
    })
}

fn call_at_times(address: SocketAddr, first: Duration, period: Duration, request: &[u8], stop: &AtomicBool) -> Result<Paced> {
    fine_timer();
    let mut paced = Paced::default();
    let mut stream = connect(address)?;
    let mut due = first;
    while !stop.load(Ordering::Relaxed) {
        sleep_until(due);
        match call(&mut stream, request) {
            Ok(()) => paced.latencies.record(now().saturating_sub(due)),
            Err(error) => {
                paced.failures.push(format!("{error:#}"));
                stream = connect(address)?;
            }
        }
        due += period;
    }
    Ok(paced)
}

/// A connection for [`call`].
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
    stream.set_nodelay(true)?;
    // Nothing that is measured takes this long when all is well.
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

fn call(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request)?;
    let mut buffer = [0; 4096];
    let mut filled = 0;
    while answer_length(&buffer[..filled])?.is_none() {
        let count = stream.read(&mut buffer[filled..])?;
        anyhow::ensure!(count > 0, "the connection was closed before an answer");
        filled += count;
    }
    Ok(())
}

/// Without this the kernel may wake the thread 50 us late, which is as long as a request takes.
fn fine_timer() {
    // SAFETY: PR_SET_TIMERSLACK takes a number of nanoseconds and touches nothing else.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

fn sleep_until(due: Duration) {
    let early = due.saturating_sub(now());
    if !early.is_zero() {
        thread::sleep(early);
    }
}
