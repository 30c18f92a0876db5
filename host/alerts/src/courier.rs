//! Tells one action what waits in its outbox, one notification at a time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use watchgate_hooks::{Alert, AlertAction, LiveHooks};
use watchgate_telemetry::{AlertDelivered, Telemetry};

use crate::moment::Clock;
use crate::outbox::{AfterFailure, Outbox, Patience};

/// A try that takes longer has failed. Actions have deadlines of their own (10 s unless set otherwise); this one only makes sure that an
/// action without one cannot silence alerting.
const TRY_DEADLINE: Duration = Duration::from_secs(60);

/// One action's notifications on their way.
///
/// The action is looked up by name in the live set at each try, so a courier outlives every generation of its plugin and holds none of them.
pub(crate) struct Courier {
    pub action: String,
    pub outbox: Mutex<Outbox>,
    /// Something was added to the outbox.
    pub added: Notify,
    pub live: Arc<LiveHooks>,
    pub telemetry: Arc<Telemetry>,
    pub clock: Clock,
}

impl Courier {
    /// Takes a notification on its way.
    pub fn push(&self, alert: Alert) {
        let name = alert.name.clone();
        let pushed = self.outbox.lock().push((self.clock)().elapsed, alert);
        for _ in 0..pushed.superseded {
            self.count("superseded");
        }
        if pushed.refused {
            self.count("dropped");
            tracing::warn!(action = %self.action, alert = %name, "too many notifications wait for this alert action; one was dropped");
        }
        self.added.notify_one();
    }

    /// Runs until `draining` is true and nothing waits. Draining, each notification is tried once more, at once.
    pub async fn run(self: Arc<Self>, mut draining: watch::Receiver<bool>) {
        loop {
            let patience = if *draining.borrow_and_update() { Patience::LastTry } else { Patience::Retry };
            let now = (self.clock)().elapsed;
            if patience == Patience::LastTry {
                self.outbox.lock().hurry(now);
            }
            let next = self.outbox.lock().take_due(now);
            if let Some(alert) = next {
                self.attempt(alert, &draining).await;
                continue;
            }
            if patience == Patience::LastTry {
                return;
            }
            let wait = self.outbox.lock().next_due().map(|due| due.saturating_sub(now));
            tokio::select! {
                () = self.added.notified() => {}
                () = sleep_or_forever(wait) => {}
                changed = draining.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn attempt(&self, alert: Alert, draining: &watch::Receiver<bool>) {
        let (fingerprint, name, tried) = (alert.fingerprint.clone(), alert.name.clone(), self.tell(alert).await);
        let now = (self.clock)().elapsed;
        let problem = match tried {
            Ok(()) => {
                self.outbox.lock().delivered(&fingerprint, now);
                return self.count("delivered");
            }
            Err(problem) => problem,
        };
        let patience = if *draining.borrow() { Patience::LastTry } else { Patience::Retry };
        let after = self.outbox.lock().failed(&fingerprint, now, patience);
        match after {
            AfterFailure::Retry { after } => {
                self.count("failed");
                tracing::warn!(action = %self.action, alert = %name, %problem, retry_in_seconds = after.as_secs(), "alert not delivered");
            }
            AfterFailure::GivenUp => {
                self.count("failed");
                self.count("given_up");
                tracing::error!(action = %self.action, alert = %name, %problem, "alert not delivered, given up");
            }
            AfterFailure::Superseded => {
                self.count("failed");
                self.count("superseded");
            }
        }
    }

    /// One try. A panic of the action ends the try, not the courier.
    async fn tell(&self, alert: Alert) -> Result<(), String> {
        let action = self.live_action().ok_or("no live plugin of this name is an alert action")?;
        let mut call = JoinSet::new();
        call.spawn(async move { action.notify(alert).await });
        match tokio::time::timeout(TRY_DEADLINE, call.join_next()).await {
            Err(_) => Err(format!("no answer within {TRY_DEADLINE:?}")),
            Ok(None) => Err("the call vanished".to_owned()),
            Ok(Some(Err(panic))) => Err(panic.to_string()),
            Ok(Some(Ok(answer))) => answer.map_err(|failure| failure.to_string()),
        }
    }

    fn live_action(&self) -> Option<Arc<dyn AlertAction>> {
        self.live.load().alerts.iter().find(|action| action.name() == self.action).cloned()
    }

    pub fn count(&self, result: &'static str) {
        self.telemetry.emit(AlertDelivered { action: &self.action, result });
    }
}

async fn sleep_or_forever(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
