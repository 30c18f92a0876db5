//! A long walk: many clients at an easy pace, half of them on streams, and what the gateway holds meanwhile.

mod clients;
mod server;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::gateway::Gateway;
use crate::vitals::{descriptors, resident};
use crate::wait::pause;

pub use server::server;

/// Between two looks at the gateway.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Failures of which the text is kept.
const KEPT_FAILURES: usize = 20;

/// How long, and with how many.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Clients at once; every other one is on streams.
    pub clients: usize,
    /// Until caches, pools and buffers have their size.
    pub warm_up: Duration,
    /// From the end of the warm-up to the end.
    pub duration: Duration,
}

/// What the clients have done so far.
#[derive(Debug, Default)]
pub struct Tally {
    calls: AtomicU64,
    streams: AtomicU64,
    events: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    /// Calls that were answered with one document.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Streams that were opened and read as far as their client wanted.
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// Events that were read.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Everything that did not go as it should, and the first of them in words.
    pub fn failures(&self) -> (u64, Vec<String>) {
        (self.failed.load(Ordering::Relaxed), self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn fail(&self, error: &anyhow::Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < KEPT_FAILURES {
            failures.push(format!("{error:#}"));
        }
    }
}

/// What the gateway held at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What the clients did.
    pub tally: Tally,
    /// What the gateway held from the end of the warm-up on, twice a second.
    pub samples: Vec<Sample>,
}

impl Report {
    /// The median of what the gateway held in the first fifth after the warm-up, and in the last fifth.
    ///
    /// # Panics
    /// When it was looked at less than five times.
    pub fn first_and_last(&self) -> (Sample, Sample) {
        let fifth = self.samples.len() / 5;
        assert!(fifth > 0, "{} samples are too few", self.samples.len());
        (middle(&self.samples[..fifth]), middle(&self.samples[self.samples.len() - fifth..]))
    }
}

fn middle(samples: &[Sample]) -> Sample {
    let mut resident: Vec<u64> = samples.iter().map(|sample| sample.resident).collect();
    let mut descriptors: Vec<usize> = samples.iter().map(|sample| sample.descriptors).collect();
    resident.sort_unstable();
    descriptors.sort_unstable();
    Sample { resident: resident[resident.len() / 2], descriptors: descriptors[descriptors.len() / 2] }
}

/// Walks: `gateway` must be in front of a [`server`].
///
/// # Panics
/// When the gateway has ended.
pub fn walk(gateway: &Gateway, plan: &Plan) -> Report {
    let (tally, is_over) = (Tally::default(), AtomicBool::new(false));
    let samples = std::thread::scope(|scope| {
        for number in 0..plan.clients {
            let (tally, is_over) = (&tally, &is_over);
            // A client needs little, and there are hundreds.
            let client = std::thread::Builder::new().stack_size(256 << 10);
            let walks = move || clients::walk(number, gateway.traffic, tally, is_over);
            client.spawn_scoped(scope, walks).expect("the system has room for a thread");
        }
        pause(plan.warm_up);
        let samples = sample(gateway, plan.duration);
        is_over.store(true, Ordering::SeqCst);
        samples
    });
    Report { tally, samples }
}

fn sample(gateway: &Gateway, duration: Duration) -> Vec<Sample> {
    let end = Instant::now() + duration;
    let mut samples = Vec::new();
    while Instant::now() < end {
        let descriptors = descriptors(gateway.id()).expect("the gateway runs").len();
        samples.push(Sample { resident: resident(gateway.id()).expect("the gateway runs"), descriptors });
        pause(LOOK_EVERY);
    }
    samples
}
