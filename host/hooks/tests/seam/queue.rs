//! Derivations see operations one after the other, cleared, and never hold up who offers them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use watchgate_hooks::{
    BoxFuture, DerivationQueue, FailureReason, HookFailure, HookSet, Interest, LiveHooks, MAX_OPERATIONS, MAX_QUEUED_BYTES, Message,
    MetricDerivation, Operation, Reply, Surface,
};
use watchgate_mcp::{ContentCounts, Direction, Outcome};
use watchgate_telemetry::Telemetry;

use crate::scripted::{Scripted, alone, counted, deny, masking, pass, telemetry};

const LONG: Duration = Duration::from_secs(3600);

#[derive(Clone, Default)]
pub struct Settings {
    pub keeps_text: bool,
    pub collect_interval: Option<Duration>,
    /// Each `observe` needs one permit; absent: none.
    pub gate: Option<Arc<Semaphore>>,
    pub fails: bool,
}

/// A derivation that notes what it is called with.
pub struct Recorder {
    settings: Settings,
    log: Mutex<Vec<String>>,
    changes: watch::Sender<()>,
}

impl Recorder {
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { settings, log: Mutex::default(), changes: watch::Sender::new(()) })
    }

    pub fn queue(self: &Arc<Self>, live: &Arc<LiveHooks>, telemetry: &Telemetry) -> Arc<DerivationQueue> {
        DerivationQueue::spawn(self.clone(), live, telemetry.plugin("recorder"))
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    async fn until(&self, reached: impl Fn(&[String]) -> bool) {
        self.changes.subscribe().wait_for(|()| reached(&self.log.lock())).await.unwrap();
    }

    fn note(&self, entry: String) {
        self.log.lock().push(entry);
        self.changes.send_replace(());
    }
}

impl MetricDerivation for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn keeps_text(&self) -> bool {
        self.settings.keeps_text
    }

    fn collect_interval(&self) -> Option<Duration> {
        self.settings.collect_interval
    }

    fn observe(&self, operation: Operation) -> BoxFuture<'_, Result<(), HookFailure>> {
        Box::pin(async move {
            if let Some(gate) = &self.settings.gate {
                gate.acquire().await.unwrap().forget();
            }
            let text = |text: Option<Bytes>| text.map_or("-".to_owned(), |text| String::from_utf8(text.to_vec()).unwrap());
            let name = operation.name.as_deref().unwrap_or("-");
            self.note(format!("{} {name} {} {}", operation.method, text(operation.request_text), text(operation.response_text)));
            if self.settings.fails { Err(HookFailure::new(FailureReason::Trap, "it trapped")) } else { Ok(()) }
        })
    }

    fn collect(&self) -> BoxFuture<'_, Result<(), HookFailure>> {
        Box::pin(async move {
            self.note("collect".to_owned());
            Ok(())
        })
    }
}

fn operation(method: &str) -> Operation {
    Operation {
        server: "weather".into(),
        direction: Direction::ClientToServer,
        method: method.into(),
        name: None,
        outcome: Outcome::Ok,
        error_code: None,
        duration: Duration::from_millis(3),
        upstream: Duration::from_millis(2),
        request_bytes: 10,
        response_bytes: 20,
        argument_bytes: 1,
        result_bytes: 2,
        content: ContentCounts::default(),
        protocol_version: None,
        request_text: None,
        response_text: None,
    }
}

fn with_texts(name: &str, request: &str, response: &str) -> Operation {
    Operation {
        name: Some(name.into()),
        request_text: Some(request.to_owned().into()),
        response_text: Some(response.to_owned().into()),
        ..operation("tools/call")
    }
}

fn no_plugins() -> Arc<LiveHooks> {
    Arc::new(LiveHooks::new(HookSet::empty()))
}

fn dropped(telemetry: &Telemetry, reason: &str) -> f64 {
    counted(telemetry, "watchgate_plugin_operations_dropped_total", &format!(r#"plugin="recorder",reason="{reason}""#))
}

#[tokio::test]
async fn operations_are_seen_in_order_and_counted() {
    let (live, telemetry) = (no_plugins(), telemetry());
    let recorder = Recorder::new(Settings { fails: true, ..Settings::default() });
    let queue = recorder.queue(&live, &telemetry);
    for method in ["a", "b", "c"] {
        queue.offer(operation(method));
    }
    queue.close(LONG).await;
    assert_eq!(recorder.log(), ["a - - -", "b - - -", "c - - -"]);
    assert_eq!(counted(&telemetry, "watchgate_plugin_calls_total", r#"kind="derivation",plugin="recorder""#), 3.0);
    assert_eq!(counted(&telemetry, "watchgate_plugin_failures_total", r#"kind="derivation",plugin="recorder",reason="trap""#), 3.0);
    assert_eq!(queue.backlog(), 0);

    queue.offer(operation("late"));
    queue.close(LONG).await;
    assert_eq!(recorder.log().len(), 3);
    assert_eq!(dropped(&telemetry, "closed"), 1.0);
}

#[tokio::test]
async fn what_does_not_fit_by_count_is_dropped_and_counted() {
    let (live, telemetry, gate) = (no_plugins(), telemetry(), Arc::new(Semaphore::new(0)));
    let recorder = Recorder::new(Settings { gate: Some(gate.clone()), ..Settings::default() });
    let queue = recorder.queue(&live, &telemetry);
    for number in 0..MAX_OPERATIONS + 10 {
        queue.offer(operation(&number.to_string()));
    }
    // The worker has not run yet: nothing but the queue has taken any.
    assert_eq!(queue.backlog(), MAX_OPERATIONS);
    assert_eq!(dropped(&telemetry, "queue_count"), 10.0);
    gate.add_permits(MAX_OPERATIONS);
    queue.close(LONG).await;
    assert_eq!(recorder.log().len(), MAX_OPERATIONS);
    assert_eq!(recorder.log().last().unwrap(), &format!("{} - - -", MAX_OPERATIONS - 1));
}

#[tokio::test]
async fn what_does_not_fit_by_bytes_is_dropped_and_counted() {
    let (live, telemetry) = (no_plugins(), telemetry());
    let recorder = Recorder::new(Settings { keeps_text: true, ..Settings::default() });
    let queue = recorder.queue(&live, &telemetry);
    let text = Bytes::from(vec![b'x'; MAX_QUEUED_BYTES / 4]);
    for _ in 0..5 {
        queue.offer(Operation { request_text: Some(text.clone()), ..operation("a") });
    }
    assert_eq!((queue.backlog(), dropped(&telemetry, "queue_bytes")), (3, 2.0));
    // Small ones still fit, and what was seen makes room again.
    queue.offer(operation("small"));
    recorder.until(|log| log.len() == 4).await;
    queue.offer(Operation { request_text: Some(text), ..operation("a") });
    queue.close(LONG).await;
    assert_eq!((recorder.log().len(), dropped(&telemetry, "queue_bytes")), (5, 2.0));

    // Texts nobody keeps take no room.
    let plain = Recorder::new(Settings::default());
    let queue = plain.queue(&live, &telemetry);
    for _ in 0..5 {
        queue.offer(Operation { request_text: Some(vec![0; MAX_QUEUED_BYTES / 4].into()), ..operation("a") });
    }
    queue.close(LONG).await;
    assert_eq!(plain.log(), vec!["a - - -"; 5]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_drain_in_time_is_cut_off() {
    let (live, telemetry, gate) = (no_plugins(), telemetry(), Arc::new(Semaphore::new(1)));
    let recorder = Recorder::new(Settings { gate: Some(gate), ..Settings::default() });
    let queue = recorder.queue(&live, &telemetry);
    for method in ["seen", "stuck", "left", "left"] {
        queue.offer(operation(method));
    }
    queue.close(Duration::from_secs(5)).await;
    tokio::task::yield_now().await;
    assert_eq!(recorder.log(), ["seen - - -"]);
    assert_eq!(dropped(&telemetry, "closed"), 2.0);
    assert_eq!(queue.backlog(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_timer_ticks_between_observations() {
    let (live, telemetry, gate) = (no_plugins(), telemetry(), Arc::new(Semaphore::new(0)));
    let settings = Settings { collect_interval: Some(Duration::from_secs(15)), gate: Some(gate.clone()), ..Settings::default() };
    let recorder = Recorder::new(settings);
    let queue = recorder.queue(&live, &telemetry);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(recorder.log(), ["collect", "collect"]);
    // While an operation is being observed no collection begins; one that is due follows.
    queue.offer(operation("a"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(recorder.log().len(), 2);
    gate.add_permits(1);
    recorder.until(|log| log.len() >= 4).await;
    assert_eq!(recorder.log(), ["collect", "collect", "a - - -", "collect"]);
    queue.close(LONG).await;
}

fn live_with(
    interest: Interest,
    answer: impl Fn(&Message) -> Result<Reply, HookFailure> + Send + Sync + 'static,
) -> (Arc<LiveHooks>, Arc<Scripted>) {
    let policy = Scripted::new("policy", interest, answer);
    let live = LiveHooks::new(HookSet { redaction: alone(&policy), ..HookSet::empty() });
    (Arc::new(live), policy)
}

/// What a derivation that keeps text is called with when `answer` clears.
async fn check(answer: impl Fn(&Message) -> Result<Reply, HookFailure> + Send + Sync + 'static, expected: &[&str]) -> Arc<Telemetry> {
    let (live, policy) = live_with(Interest { surfaces: vec![Surface::Telemetry], ..Interest::default() }, answer);
    let telemetry = telemetry();
    let recorder = Recorder::new(Settings { keeps_text: true, ..Settings::default() });
    let queue = recorder.queue(&live, &telemetry);
    queue.offer(with_texts("get", r#"{"a":"AKIA1"}"#, r#"{"b":"\u0041KIA1"}"#));
    queue.close(LONG).await;
    assert_eq!(recorder.log(), expected);
    assert_eq!(policy.bodies(), [r#"{"name":"get","request":"{\"a\":\"AKIA1\"}","response":"{\"b\":\"AKIA1\"}"}"#]);
    telemetry
}

#[tokio::test]
async fn texts_are_cleared_in_one_call() {
    check(masking("AKIA1", "***"), &[r#"tools/call get {"a":"***"} {"b":"***"}"#]).await;
    check(|_| pass(Vec::new()), &[r#"tools/call get {"a":"AKIA1"} {"b":"AKIA1"}"#]).await;
}

#[tokio::test]
async fn texts_that_cannot_be_cleared_are_dropped_and_counted() {
    let telemetry = check(|_| Err(HookFailure::new(FailureReason::Trap, "")), &["tools/call - - -"]).await;
    let lost = counted(&telemetry, "watchgate_telemetry_dropped_total", r#"reason="not_cleared",signal="operation_text""#);
    assert_eq!((lost, dropped(&telemetry, "denied")), (1.0, 0.0));
    let telemetry = check(|_| deny("no"), &[]).await;
    assert_eq!(dropped(&telemetry, "denied"), 1.0);
}

#[tokio::test]
async fn the_chain_that_is_live_at_that_moment_clears() {
    let (live, policy) = live_with(Interest::default(), masking("secret", "***"));
    let (telemetry, gate) = (telemetry(), Arc::new(Semaphore::new(0)));
    let recorder = Recorder::new(Settings { gate: Some(gate.clone()), ..Settings::default() });
    let queue = recorder.queue(&live, &telemetry);
    queue.offer(with_texts("secret", "", ""));
    queue.offer(with_texts("secret", "", ""));
    gate.add_permits(1);
    recorder.until(|log| log.len() == 1).await;
    live.swap(HookSet::empty());
    queue.offer(with_texts("secret", "", ""));
    gate.add_permits(2);
    queue.close(LONG).await;
    let log = recorder.log();
    assert_eq!((&*log[0], &*log[2]), ("tools/call *** - -", "tools/call secret - -"));
    assert_eq!(policy.bodies()[0], r#"{"name":"secret"}"#);

    // Nothing can be cleared any more, so nothing is shown.
    let queue = recorder.queue(&live, &telemetry);
    drop(live);
    queue.offer(with_texts("secret", "", ""));
    gate.add_permits(1);
    queue.close(LONG).await;
    assert_eq!(recorder.log()[3], "tools/call - - -");
}

#[tokio::test]
async fn a_dropped_queue_ends_its_task() {
    let (live, telemetry) = (no_plugins(), telemetry());
    let recorder = Recorder::new(Settings::default());
    let queue = recorder.queue(&live, &telemetry);
    queue.offer(operation("a"));
    drop(queue);
    recorder.until(|log| log.len() == 1).await;
    while Arc::strong_count(&recorder) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(recorder.log(), ["a - - -"]);
}
