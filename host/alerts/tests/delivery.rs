//! The promise of alerting at work: what fires reaches every live action, whatever those do, and nothing waits for ever.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use watchgate_alerts::{Alerts, AlertsConfig, Moment, Operator, Rule, RuleKind};
use watchgate_hooks::{Alert, AlertAction, AlertState, BoxFuture, FailureReason, HookFailure, HookSet, LiveHooks};
use watchgate_telemetry::{ServerUp, Telemetry, TelemetryConfig};

/// How an action answers; the last answer stands.
#[derive(Clone, Copy)]
enum Answer {
    Take,
    Fail,
    Hang,
    Panic,
}

/// What an action was told, and when.
#[derive(Debug, PartialEq)]
struct Heard {
    action: &'static str,
    state: AlertState,
    is_repeat: bool,
    second: u64,
}

struct Action {
    name: &'static str,
    answers: Mutex<Vec<Answer>>,
    heard: mpsc::UnboundedSender<Heard>,
    begun: Instant,
}

impl AlertAction for Action {
    fn name(&self) -> &str {
        self.name
    }

    fn notify(&self, alert: Alert) -> BoxFuture<'_, Result<(), HookFailure>> {
        let second = (self.begun.elapsed().as_secs_f64() * 10.0).round() as u64 / 10;
        let _closed = self.heard.send(Heard { action: self.name, state: alert.state, is_repeat: alert.is_repeat, second });
        let mut answers = self.answers.lock();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
        Box::pin(async move {
            match answer {
                Answer::Take => Ok(()),
                Answer::Fail => Err(HookFailure::new(FailureReason::GuestError, "no")),
                Answer::Hang => std::future::pending().await,
                Answer::Panic => panic!("on purpose"),
            }
        })
    }
}

/// Alerting over one server's state, evaluated each 10 s.
struct Scene {
    telemetry: Arc<Telemetry>,
    live: Arc<LiveHooks>,
    alerts: Arc<Alerts>,
    /// Kept, because dropping it ends alerting.
    _shutdown: watch::Sender<bool>,
    begun: Instant,
    heard_by: mpsc::UnboundedSender<Heard>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

/// Says that a server is down.
fn down() -> Rule {
    Rule {
        name: "server down".to_owned(),
        metric: "watchgate_server_up".to_owned(),
        labels: BTreeMap::new(),
        kind: RuleKind::Value,
        op: Operator::Below,
        threshold: 1.0,
        for_: Duration::ZERO,
        severity: "critical".to_owned(),
        extra_labels: BTreeMap::new(),
        summary: String::new(),
    }
}

impl Scene {
    /// The server is down from the start.
    fn begin(actions: &[(&'static str, &[Answer])]) -> Self {
        let config = TelemetryConfig { servers: vec!["weather".to_owned()], ..TelemetryConfig::default() };
        let telemetry = Telemetry::new(config).unwrap();
        let (heard_by, heard) = mpsc::unbounded_channel();
        let begun = Instant::now();
        let live = Arc::new(LiveHooks::new(HookSet::empty()));
        let clock = Arc::new(move || Moment { elapsed: begun.elapsed(), wall: SystemTime::UNIX_EPOCH + begun.elapsed() });
        let (shutdown, ending) = watch::channel(false);
        let config = AlertsConfig { rules: vec![down()], evaluation_interval: Duration::from_secs(10), ..AlertsConfig::default() };
        telemetry.emit(ServerUp { server: "weather", up: false });
        live.swap(set(actions, begun, &heard_by));
        let alerts = Alerts::start(&config, clock, Arc::clone(&live), Arc::clone(&telemetry), ending).unwrap();
        Self { telemetry, live, alerts, _shutdown: shutdown, begun, heard_by, heard }
    }

    fn swap(&self, actions: &[(&'static str, &[Answer])]) {
        self.live.swap(set(actions, self.begun, &self.heard_by));
    }

    /// The next thing an action is told. Time passes as fast as it can.
    async fn next(&mut self) -> Heard {
        tokio::time::timeout(Duration::from_secs(3600), self.heard.recv())
            .await
            .expect("an action is told something within the hour")
            .unwrap()
    }

    /// The next notifications, in whatever order the actions are told: actions do not wait for each other.
    async fn expect_each(&mut self, actions: &[&'static str], state: AlertState, second: u64) {
        let mut heard = Vec::new();
        for _ in actions {
            heard.push(self.next().await);
        }
        heard.sort_by_key(|heard| heard.action);
        let expected: Vec<Heard> = actions.iter().map(|action| Heard { action, state, is_repeat: false, second }).collect();
        assert_eq!(heard, expected);
    }

    async fn expect(&mut self, action: &'static str, state: AlertState, is_repeat: bool, second: u64) {
        assert_eq!(self.next().await, Heard { action, state, is_repeat, second });
    }

    /// `watchgate_alert_notifications_total` of an action.
    fn count(&self, action: &str, result: &str) -> u64 {
        let snapshot = self.telemetry.snapshot();
        let series = snapshot
            .of("watchgate_alert_notifications_total")
            .find(|series| series.label("action") == action && series.label("result") == result);
        series.map_or(0, |series| series.value as u64)
    }
}

fn set(actions: &[(&'static str, &[Answer])], begun: Instant, heard: &mpsc::UnboundedSender<Heard>) -> HookSet {
    let alerts = actions
        .iter()
        .map(|(name, answers)| {
            Arc::new(Action { name, answers: Mutex::new(answers.to_vec()), heard: heard.clone(), begun }) as Arc<dyn AlertAction>
        })
        .collect();
    HookSet { alerts, ..HookSet::empty() }
}

use AlertState::{Firing, Resolved};

#[tokio::test(start_paused = true)]
async fn every_live_action_hears_of_the_beginning_and_the_end() {
    let mut scene = Scene::begin(&[("mail", &[Answer::Take]), ("pager", &[Answer::Take])]);
    scene.expect_each(&["mail", "pager"], Firing, 0).await;
    scene.telemetry.emit(ServerUp { server: "weather", up: true });
    scene.expect_each(&["mail", "pager"], Resolved, 10).await;
    scene.alerts.drain(Duration::from_secs(1)).await;
    assert_eq!((scene.count("mail", "delivered"), scene.count("pager", "delivered")), (2, 2));
    let shown = scene.alerts.snapshot();
    assert_eq!((shown.alerts.len(), shown.resolved.len(), shown.rules[0].series), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_notification_is_tried_again_with_back_off() {
    let mut scene = Scene::begin(&[("mail", &[Answer::Fail, Answer::Panic, Answer::Fail, Answer::Take])]);
    for second in [0, 1, 3, 7] {
        scene.expect("mail", Firing, false, second).await;
    }
    scene.alerts.drain(Duration::from_secs(1)).await;
    assert_eq!((scene.count("mail", "failed"), scene.count("mail", "delivered")), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_notification_that_never_arrives_is_given_up() {
    let mut scene = Scene::begin(&[("mail", &[Answer::Fail])]);
    for second in [0, 1, 3, 7, 15, 31, 63, 123, 183, 243] {
        scene.expect("mail", Firing, false, second).await;
    }
    // The repeat after four hours is the next thing said.
    let repeat = tokio::time::timeout(Duration::from_secs(5 * 3600), scene.heard.recv()).await.unwrap().unwrap();
    assert_eq!((repeat.is_repeat, repeat.second), (true, 4 * 3600));
    assert_eq!(scene.count("mail", "given_up"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_action_holds_up_nobody_else_and_is_cut() {
    let mut scene = Scene::begin(&[("mail", &[Answer::Hang, Answer::Take]), ("pager", &[Answer::Take])]);
    scene.expect_each(&["mail", "pager"], Firing, 0).await;
    scene.expect("mail", Firing, false, 61).await;
    assert_eq!(scene.count("mail", "failed"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_to_the_generation_that_is_live_then() {
    let mut scene = Scene::begin(&[("mail", &[Answer::Fail])]);
    scene.expect("mail", Firing, false, 0).await;
    scene.swap(&[]);
    tokio::time::sleep_until(scene.begun + Duration::from_secs(5)).await;
    assert!(scene.heard.try_recv().is_err(), "nothing is live to be told");
    scene.swap(&[("mail", &[Answer::Take])]);
    scene.expect("mail", Firing, false, 7).await;
    scene.alerts.drain(Duration::from_secs(1)).await;
    assert_eq!((scene.count("mail", "failed"), scene.count("mail", "delivered")), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn an_action_that_goes_live_later_hears_what_fires() {
    let mut scene = Scene::begin(&[]);
    tokio::time::sleep_until(scene.begun + Duration::from_secs(15)).await;
    scene.swap(&[("mail", &[Answer::Take])]);
    scene.expect("mail", Firing, true, 20).await;
    assert_eq!(scene.alerts.snapshot().alerts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_taken_out_ends_its_alerts_and_a_new_one_is_evaluated_at_once() {
    let mut scene = Scene::begin(&[("mail", &[Answer::Take])]);
    scene.expect("mail", Firing, false, 0).await;
    let firing = |scene: &Scene, severity: &str| {
        let snapshot = scene.telemetry.snapshot();
        snapshot.of("watchgate_alerts_firing").find(|series| series.label("severity") == severity).map(|series| series.value)
    };
    assert_eq!(firing(&scene, "critical"), Some(1.0));
    tokio::time::sleep_until(scene.begun + Duration::from_secs(3)).await;
    let rules = vec![Rule { severity: "page".to_owned(), ..down() }];
    scene.alerts.apply(&AlertsConfig { rules, evaluation_interval: Duration::from_secs(5), ..AlertsConfig::default() }).unwrap();
    scene.expect("mail", Resolved, false, 3).await;
    scene.expect("mail", Firing, false, 3).await;
    assert_eq!((firing(&scene, "critical"), firing(&scene, "page")), (Some(0.0), Some(1.0)));
    scene.telemetry.emit(ServerUp { server: "weather", up: true });
    scene.expect("mail", Resolved, false, 8).await;
    let nameless = AlertsConfig { rules: vec![Rule { name: String::new(), ..down() }], ..AlertsConfig::default() };
    assert!(scene.alerts.apply(&nameless).is_err());
    assert_eq!(scene.alerts.snapshot().rules[0].name, "server down");
}

#[tokio::test(start_paused = true)]
async fn draining_tries_what_waits_once_more_and_at_once() {
    let mut scene = Scene::begin(&[("mail", &[Answer::Fail, Answer::Fail, Answer::Fail, Answer::Take]), ("pager", &[Answer::Fail])]);
    for second in [0, 1, 3] {
        scene.expect_each(&["mail", "pager"], Firing, second).await;
    }
    scene.alerts.drain(Duration::from_secs(5)).await;
    scene.expect_each(&["mail", "pager"], Firing, 3).await;
    assert_eq!((scene.count("mail", "delivered"), scene.count("pager", "given_up")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn draining_ends_at_its_deadline() {
    let mut scene = Scene::begin(&[("mail", &[Answer::Hang])]);
    scene.expect("mail", Firing, false, 0).await;
    let begun = Instant::now();
    scene.alerts.drain(Duration::from_secs(5)).await;
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(scene.count("mail", "dropped"), 1);
}
