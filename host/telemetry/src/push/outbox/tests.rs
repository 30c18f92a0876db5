//! An outbox before a destination that does what a script says.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{ExportCounts, Outbox, OutboxSettings};
use crate::buckets::HistogramBuckets;
use crate::families::Families;
use crate::push::{Accepted, DeliveryError, Destination, Patience};
use crate::words::PushLoss;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Tells of each batch, and waits to be told what becomes of it.
struct Scripted {
    batches: Sender<Vec<u32>>,
    verdicts: UnboundedReceiver<Result<Accepted, DeliveryError>>,
}

impl Destination<u32> for Scripted {
    fn name(&self) -> String {
        "script".to_owned()
    }

    async fn deliver(&mut self, batch: &[u32]) -> Result<Accepted, DeliveryError> {
        drop(self.batches.send(batch.to_vec()));
        match self.verdicts.recv().await {
            Some(verdict) => verdict,
            None => std::future::pending().await,
        }
    }
}

struct Scene {
    outbox: Outbox<u32>,
    batches: Receiver<Vec<u32>>,
    verdicts: UnboundedSender<Result<Accepted, DeliveryError>>,
    families: Families,
}

impl Scene {
    fn new(change: impl FnOnce(&mut OutboxSettings)) -> Self {
        let mut settings = OutboxSettings {
            queue: 8,
            queue_bytes: 1000,
            batch: 2,
            batch_bytes: 100,
            interval: LONG,
            patience: Patience { first: Duration::from_millis(1), most: Duration::from_millis(1), give_up: LONG },
        };
        change(&mut settings);
        let families = Families::new(&HistogramBuckets::default());
        let (to_us, batches) = channel();
        let (verdicts, from_us) = unbounded_channel();
        let destination = Scripted { batches: to_us, verdicts: from_us };
        let outbox = Outbox::start("traces", settings, ExportCounts::new("traces", &families), destination).unwrap();
        Self { outbox, batches, verdicts, families }
    }

    fn offer(&self, numbers: impl IntoIterator<Item = u32>) {
        numbers.into_iter().for_each(|number| self.outbox.offer(number, 10));
    }

    fn next(&self) -> Vec<u32> {
        self.batches.recv_timeout(LONG).expect("there is another delivery")
    }

    fn answer(&self, verdict: Result<u64, DeliveryError>) {
        self.verdicts.send(verdict.map(|rejected| Accepted { rejected, said: String::new() })).expect("the worker is there");
    }

    /// Waits until the counter stands there; a worker counts after it has been answered.
    fn check(&self, loss: PushLoss, expected: u64) {
        self.wait_for(&self.families.telemetry_dropped.with(&["traces", loss.as_str()]), expected);
    }

    fn check_exported(&self, expected: u64) {
        self.wait_for(&self.families.telemetry_exported.with(&["traces"]), expected);
    }

    fn wait_for(&self, counter: &IntCounter, expected: u64) {
        let until = Instant::now() + LONG;
        while counter.get() < expected && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(counter.get(), expected);
    }
}

fn unreachable() -> Result<u64, DeliveryError> {
    Err(DeliveryError::Unreachable("scripted".to_owned()))
}

fn soon() -> Instant {
    Instant::now() + LONG
}

#[test]
fn a_full_batch_leaves_at_once() {
    let scene = Scene::new(|_| {});
    scene.offer(0..5);
    assert_eq!(scene.next(), [0, 1]);
    scene.answer(Ok(0));
    assert_eq!(scene.next(), [2, 3]);
    scene.answer(Ok(1));
    scene.check_exported(4);
    scene.check(PushLoss::Rejected, 1);
    assert!(scene.batches.try_recv().is_err(), "the fifth waits for a sixth");
    scene.offer([5]);
    assert_eq!(scene.next(), [4, 5]);
}

#[test]
fn a_part_of_one_leaves_after_the_interval() {
    let scene = Scene::new(|settings| settings.interval = Duration::from_millis(1));
    scene.offer([7]);
    assert_eq!(scene.next(), [7]);
}

#[test]
fn batches_are_bounded_by_bytes_too() {
    let scene = Scene::new(|settings| (settings.batch, settings.batch_bytes) = (8, 25));
    scene.offer(0..3);
    assert_eq!(scene.next(), [0, 1, 2]);
    scene.answer(Ok(0));
    scene.outbox.offer(3, 500);
    assert_eq!(scene.next(), [3], "one that is larger than a batch may be goes alone");
}

#[test]
fn what_does_not_fit_is_lost_and_counted() {
    let scene = Scene::new(|_| {});
    scene.offer(0..2);
    assert_eq!(scene.next(), [0, 1]);
    scene.offer(2..12);
    scene.check(PushLoss::QueueFull, 2);
    scene.answer(Ok(0));
    assert_eq!(scene.next(), [2, 3]);
    scene.outbox.offer(12, 1000 - 50);
    scene.check(PushLoss::QueueFull, 3);
    scene.outbox.offer(13, 1000 - 60);
    scene.outbox.offer(14, 1);
    scene.check(PushLoss::QueueFull, 4);
}

#[test]
fn a_batch_is_tried_again_until_it_gets_through() {
    let scene = Scene::new(|_| {});
    scene.offer(0..4);
    for _ in 0..3 {
        assert_eq!(scene.next(), [0, 1]);
        scene.answer(unreachable());
    }
    assert_eq!(scene.next(), [0, 1]);
    scene.answer(Ok(0));
    assert_eq!(scene.next(), [2, 3]);
    scene.answer(Ok(0));
    scene.check_exported(4);
    for loss in PushLoss::ALL {
        scene.check(*loss, 0);
    }
}

#[test]
fn a_batch_that_will_never_get_through_is_given_up() {
    let scene = Scene::new(|settings| settings.patience.give_up = Duration::ZERO);
    scene.offer(0..8);
    for (batch, error, loss) in [
        ([0, 1], DeliveryError::TimedOut, PushLoss::Timeout),
        ([2, 3], DeliveryError::Refused("400".to_owned()), PushLoss::Refused),
        ([4, 5], DeliveryError::NotACollector("page".to_owned()), PushLoss::NotACollector),
        ([6, 7], DeliveryError::Busy { answer: "503".to_owned(), retry_after: None }, PushLoss::Busy),
    ] {
        assert_eq!(scene.next(), batch);
        scene.answer(Err(error));
        scene.check(loss, 2);
    }
    scene.check_exported(0);
}

#[test]
fn a_flush_delivers_everything_without_waiting_for_its_time() {
    let scene = Scene::new(|settings| settings.patience.first = LONG);
    scene.offer([0]);
    (0..2).for_each(|_| scene.answer(Ok(0)));
    assert!(scene.outbox.flush(soon()));
    assert_eq!(scene.next(), [0]);
    scene.offer([1]);
    assert!(scene.outbox.flush(soon()));
    assert_eq!(scene.next(), [1]);
    assert!(scene.outbox.flush(soon()), "nothing is left to do");
    scene.check_exported(2);
}

#[test]
fn a_flush_during_a_wait_tries_at_once_and_tells_of_failure() {
    let scene = Scene::new(|settings| (settings.patience.first, settings.patience.most) = (LONG * 9, LONG * 9));
    scene.offer(0..2);
    assert_eq!(scene.next(), [0, 1]);
    scene.answer(unreachable());
    scene.answer(unreachable());
    assert!(!scene.outbox.flush(soon()));
    assert_eq!(scene.next(), [0, 1]);
    scene.answer(Ok(0));
    assert!(scene.outbox.flush(soon()));
    assert_eq!(scene.next(), [0, 1]);
    scene.check_exported(2);
}

#[test]
fn a_flush_of_a_destination_that_hangs_ends_at_its_deadline() {
    let scene = Scene::new(|_| {});
    scene.offer(0..5);
    assert_eq!(scene.next(), [0, 1]);
    let (began, most) = (Instant::now(), Duration::from_millis(50));
    assert!(!scene.outbox.flush(began + most));
    assert!(began.elapsed() < LONG / 2);
    assert!(!scene.outbox.shutdown(Instant::now() + most));
    scene.check(PushLoss::Shutdown, 5);
    scene.offer([5]);
    scene.check(PushLoss::Shutdown, 6);
    assert!(began.elapsed() < LONG / 2);
}

#[test]
fn a_shutdown_makes_one_attempt_and_counts_the_rest() {
    let scene = Scene::new(|settings| (settings.patience.first, settings.patience.most) = (LONG * 9, LONG * 9));
    scene.offer(0..5);
    assert_eq!(scene.next(), [0, 1]);
    scene.answer(Ok(0));
    // One for the attempt that may be made before it.
    (0..2).for_each(|_| scene.answer(unreachable()));
    let began = Instant::now();
    assert!(!scene.outbox.shutdown(soon()));
    assert!(began.elapsed() < LONG / 2, "it does not wait for its deadline where nothing gets through");
    scene.check_exported(2);
    scene.check(PushLoss::Shutdown, 3);
}

#[test]
fn dropping_an_outbox_delivers_what_is_left() {
    let Scene { outbox, batches, verdicts, families } = Scene::new(|_| {});
    outbox.offer(1, 1);
    verdicts.send(Ok(Accepted::default())).unwrap();
    drop(outbox);
    assert_eq!(batches.recv_timeout(LONG).unwrap(), [1]);
    assert!(batches.recv_timeout(LONG).is_err(), "the worker has ended");
    assert_eq!(families.telemetry_exported.with(&["traces"]).get(), 1);
}

#[test]
fn offering_never_waits() {
    let scene = Scene::new(|settings| settings.queue = 100);
    let began = Instant::now();
    scene.offer(0..200_000);
    assert!(began.elapsed() < LONG / 2);
    // The queue holds 100, and one batch of 2 is out.
    let lost = scene.families.telemetry_dropped.with(&["traces", "queue_full"]).get();
    assert!((200_000 - 102..=200_000 - 100).contains(&lost), "{lost}");
}
