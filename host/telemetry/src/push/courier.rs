//! Delivers bodies one after the other: tries again while that makes sense, counts what is lost, and says once what is wrong.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::config::PushConfig;
use super::error::{DeliveryError, PushConfigError};
use super::haste::Haste;
use super::pusher::{Pusher, Transport};
use crate::words::{CounterByWord, PushLoss};

/// Between the first two tries; then twice as long each time ...
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A body is tried so long. What comes meanwhile waits in its queue, and is dropped there when that is full.
const PATIENCE: Duration = Duration::from_secs(60);

/// A body, and how many spans, points or records it holds.
pub(crate) struct Payload {
    pub body: Bytes,
    pub items: u64,
}

/// The way of one signal to its collector.
pub(crate) struct Courier {
    pusher: Pusher,
    signal: &'static str,
    endpoint: String,
    losses: CounterByWord<PushLoss>,
    /// Items lost since it was said that something is wrong.
    trouble: Option<u64>,
}

impl Courier {
    /// `losses` are the counters of `signal`.
    pub fn new(
        config: &PushConfig,
        transport: Transport,
        signal: &'static str,
        losses: CounterByWord<PushLoss>,
    ) -> Result<Self, PushConfigError> {
        let pusher = Pusher::new(config, transport)?;
        Ok(Self { endpoint: pusher.endpoint(), pusher, signal, losses, trouble: None })
    }

    /// Delivers a body, or gives it up after a minute, or when somebody waits no longer for it.
    pub(super) async fn deliver(&mut self, payload: &Payload, haste: &Haste) {
        let patience = Instant::now() + PATIENCE;
        let end = || haste.until().map_or(patience, |until| until.min(patience));
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match tokio::time::timeout_at(end(), self.pusher.push(payload.body.clone())).await {
                Ok(Ok(accepted)) => {
                    self.note_delivery();
                    if accepted.rejected > 0 || !accepted.said.is_empty() {
                        self.note_rejection(accepted.rejected, &accepted.said);
                    }
                    return;
                }
                Ok(Err(failure)) => failure,
                Err(_) => DeliveryError::TimedOut,
            };
            self.say(&failure);
            let next = Instant::now() + failure.retry_after().unwrap_or(pause).min(LONGEST_PAUSE);
            if !failure.is_passing() || next >= end() {
                return self.lose(failure.loss(), payload.items);
            }
            haste.pause(next + jitter(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn lose(&mut self, why: PushLoss, items: u64) {
        self.losses.count_many(why, items);
        self.trouble = self.trouble.map(|lost| lost.saturating_add(items));
    }

    fn say(&mut self, failure: &DeliveryError) {
        if self.trouble.is_none() {
            let (signal, endpoint) = (self.signal, &self.endpoint);
            tracing::warn!(signal, endpoint, why = %failure, "telemetry cannot be pushed; it is tried on, and what is lost is counted");
            self.trouble = Some(0);
        }
    }

    fn note_delivery(&mut self) {
        if let Some(lost) = self.trouble.take() {
            tracing::info!(signal = self.signal, endpoint = self.endpoint, lost, "telemetry is pushed again");
        }
    }

    fn note_rejection(&mut self, rejected: u64, said: &str) {
        self.losses.count_many(PushLoss::Rejected, rejected);
        tracing::debug!(signal = self.signal, endpoint = self.endpoint, rejected, said, "the collector did not take all of it");
    }
}

/// Up to a quarter of a pause, so that gateways that failed at one moment do not all try again at another.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0);
    pause.mul_f64(f64::from(u32::try_from(random >> 40).unwrap_or(0)) / f64::from(1 << 26))
}
