//! The loop that ties clock, metrics, evaluator and delivery together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Interval, MissedTickBehavior};
use watchgate_hooks::{Alert, AlertState, LiveHooks, unix_ms};
use watchgate_telemetry::{AlertsFiring, MetricSnapshot, Telemetry, task};

use crate::config::{AlertsConfig, AlertsConfigError};
use crate::delivery::Delivery;
use crate::evaluator::Evaluator;
use crate::moment::{Clock, Moment};
use crate::status::{ActiveAlert, AlertPhase, AlertsSnapshot};

/// Resolved alerts kept for `/api/alerts`.
const RESOLVED_KEPT: usize = 100;

/// Alerting at work. Dropping it does not stop it; `shutdown` and [`Alerts::drain`] do.
pub struct Alerts {
    delivery: Delivery,
    shown: Mutex<Shown>,
    config: watch::Sender<AlertsConfig>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shown {
    snapshot: AlertsSnapshot,
    resolved: VecDeque<ActiveAlert>,
}

impl Alerts {
    /// Starts evaluating, at once and then at each interval, until `shutdown` is true. Runs on a tokio runtime.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn start(
        config: &AlertsConfig,
        clock: Clock,
        live: Arc<LiveHooks>,
        telemetry: Arc<Telemetry>,
        shutdown: watch::Receiver<bool>,
    ) -> Result<Arc<Self>, Vec<AlertsConfigError>> {
        config.validate()?;
        let delivery = Delivery::new(live, Arc::clone(&telemetry), Arc::clone(&clock));
        let alerts =
            Arc::new(Self { delivery, shown: Mutex::default(), config: watch::Sender::new(config.clone()), task: Mutex::default() });
        let work = Arc::clone(&alerts).work(clock, telemetry, shutdown);
        *alerts.task.lock() = Some(tokio::spawn(task::named("alert rules", "", work)));
        Ok(alerts)
    }

    /// Evaluates these rules from now on. Alerts that only an earlier configuration knows are resolved.
    ///
    /// # Errors
    /// Everything that is wrong with `config`; nothing has changed then.
    pub fn apply(&self, config: &AlertsConfig) -> Result<(), Vec<AlertsConfigError>> {
        config.validate()?;
        self.config.send_if_modified(|current| {
            let is_new = *current != *config;
            *current = config.clone();
            is_new
        });
        Ok(())
    }

    /// Everything about alerts now.
    pub fn snapshot(&self) -> AlertsSnapshot {
        let shown = self.shown.lock();
        AlertsSnapshot { resolved: shown.resolved.iter().cloned().collect(), waiting: self.delivery.waiting(), ..shown.snapshot.clone() }
    }

    /// Ends the loop and has every waiting notification tried once more, within `deadline` in all. The alert plugins must still be live.
    pub async fn drain(&self, deadline: Duration) {
        let task = self.task.lock().take();
        if let Some(task) = task {
            // Whatever point the loop is cut at, an evaluation has either not begun or is over.
            task.abort();
            if let Err(end) = task.await
                && end.is_panic()
            {
                tracing::error!(%end, "the alert loop had ended early");
            }
        }
        self.delivery.drain(deadline).await;
    }

    async fn work(self: Arc<Self>, clock: Clock, telemetry: Arc<Telemetry>, mut shutdown: watch::Receiver<bool>) {
        let mut wanted = self.config.subscribe();
        let mut config = wanted.borrow_and_update().clone();
        let mut evaluator = Evaluator::new(&config);
        let mut ticks = ticks(config.evaluation_interval);
        loop {
            tokio::select! {
                biased;
                // A closed channel means that nobody is left who could ask for the end: the process is ending.
                _ = shutdown.wait_for(|stop| *stop) => return,
                // `self` holds the sender, so the channel is never closed.
                _ = wanted.changed() => {
                    let before = std::mem::replace(&mut config, wanted.borrow_and_update().clone());
                    self.reconfigure(&mut evaluator, (&before, &config), clock(), &telemetry);
                    ticks = self::ticks(config.evaluation_interval);
                    continue;
                }
                _ = ticks.tick() => {}
            }
            match metrics(&evaluator, &telemetry).await {
                Ok(snapshot) => self.evaluate(&mut evaluator, &snapshot, clock(), &telemetry),
                Err(end) => tracing::error!(%end, "the metrics could not be read; alerts stay as they are"),
            }
        }
    }

    fn reconfigure(&self, evaluator: &mut Evaluator, (before, after): (&AlertsConfig, &AlertsConfig), now: Moment, telemetry: &Telemetry) {
        let news = evaluator.reconfigure(after, now);
        for rule in before.rules.iter().filter(|rule| after.rules.iter().all(|other| other.severity != rule.severity)) {
            telemetry.emit(AlertsFiring { severity: &rule.severity, count: 0 });
        }
        self.say(evaluator, news, now);
    }

    fn evaluate(&self, evaluator: &mut Evaluator, snapshot: &MetricSnapshot, now: Moment, telemetry: &Telemetry) {
        let news = evaluator.step(now, snapshot);
        for (severity, count) in evaluator.firing_by_severity() {
            telemetry.emit(AlertsFiring { severity, count });
        }
        self.say(evaluator, news, now);
    }

    /// Tells the log, the actions and whoever looks at the snapshot.
    fn say(&self, evaluator: &Evaluator, news: Vec<Alert>, now: Moment) {
        for alert in &news {
            log(alert);
        }
        self.delivery.offer(&news, || evaluator.firing());
        let mut shown = self.shown.lock();
        shown.snapshot.evaluated_at_ms = unix_ms(now.wall);
        shown.snapshot.rules = evaluator.rule_status();
        shown.snapshot.alerts = evaluator.active();
        for alert in news.into_iter().filter(|alert| alert.state == AlertState::Resolved) {
            shown.resolved.push_front(ActiveAlert::new(alert, AlertPhase::Resolved));
        }
        shown.resolved.truncate(RESOLVED_KEPT);
    }
}

/// The first at once.
fn ticks(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Reading tens of thousands of series takes milliseconds, which traffic on this worker should not wait for.
async fn metrics(evaluator: &Evaluator, telemetry: &Arc<Telemetry>) -> Result<MetricSnapshot, JoinError> {
    if evaluator.has_no_rules() {
        return Ok(MetricSnapshot::default());
    }
    let telemetry = Arc::clone(telemetry);
    tokio::task::spawn_blocking(move || telemetry.snapshot()).await
}

fn log(alert: &Alert) {
    let Alert { name, severity, value, threshold, labels, .. } = alert;
    match alert.state {
        AlertState::Resolved => tracing::info!(alert = %name, severity, value, threshold, ?labels, "alert resolved"),
        AlertState::Firing if alert.is_repeat => tracing::warn!(alert = %name, severity, value, threshold, ?labels, "alert still fires"),
        AlertState::Firing => tracing::warn!(alert = %name, severity, value, threshold, ?labels, "alert fires"),
    }
}
