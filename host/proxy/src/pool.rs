//! The unused HTTP/1.1 connections of one endpoint.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::reuse::Reuse;
use crate::upstream_connection::UpstreamConnection;

/// Last in, first out: the connection used last is the one least likely to have been closed.
pub(crate) struct Pool {
    idle: Mutex<Vec<UpstreamConnection>>,
    closed: AtomicBool,
    reuse: Reuse,
    max_idle: usize,
    idle_timeout: Duration,
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(max_idle: usize, idle_timeout: Duration) -> Self {
        Self { idle: Mutex::new(Vec::new()), closed: AtomicBool::new(false), reuse: Reuse::new(Instant::now()), max_idle, idle_timeout }
    }

    /// An open, unused connection, if there is one.
    pub(crate) fn take(&self) -> Option<UpstreamConnection> {
        if !self.reuse.is_allowed(Instant::now) {
            return None;
        }
        loop {
            let mut connection = self.idle.lock().pop()?;
            if connection.idle_since.elapsed() < connection.idle_limit.min(self.idle_timeout) && connection.is_reusable() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over, if it can carry another.
    pub(crate) fn put(&self, mut connection: UpstreamConnection) {
        if self.closed.load(Ordering::Acquire) || !self.reuse.is_allowed(Instant::now) || !connection.is_reusable() {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock();
        if idle.len() < self.max_idle {
            idle.push(connection);
        }
    }

    /// A connection taken from here was closed by the server under the request on it. Says for how long none is given out now, if that is new.
    pub(crate) fn note_stale(&self, now: Instant) -> Option<Duration> {
        let pause = self.reuse.note_broken(now)?;
        self.idle.lock().clear();
        Some(pause)
    }

    /// Drops all, and keeps none from now on: another configuration has pools of its own.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.idle.lock().clear();
    }

    /// Drops connections that are too old or were closed by the server. Called every second or so.
    pub(crate) fn sweep(&self) {
        let mut kept = std::mem::take(&mut *self.idle.lock());
        kept.retain_mut(|connection| {
            connection.idle_since.elapsed() < connection.idle_limit.min(self.idle_timeout) && connection.is_reusable()
        });
        if !kept.is_empty() {
            // Oldest first, as before; those put back meanwhile are younger.
            let mut idle = self.idle.lock();
            kept.append(&mut idle);
            kept.truncate(self.max_idle);
            *idle = kept;
        }
    }
}
