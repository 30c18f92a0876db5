//! Hands notifications to all live alert actions: one courier for each action name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use watchgate_hooks::{Alert, LiveHooks};
use watchgate_telemetry::{Telemetry, task};

use crate::courier::Courier;
use crate::moment::Clock;
use crate::outbox::Outbox;

/// Bounded retrying delivery.
///
/// Every action is told every notification; for one alert in order, with retries as `Outbox` says. An action that goes live later is told
/// what fires at that time. An action that is gone keeps its waiting notifications until they are given up, so a swap loses none.
pub(crate) struct Delivery {
    live: Arc<LiveHooks>,
    telemetry: Arc<Telemetry>,
    clock: Clock,
    draining: watch::Sender<bool>,
    couriers: Mutex<BTreeMap<String, Route>>,
}

struct Route {
    courier: Arc<Courier>,
    task: JoinHandle<()>,
}

impl Delivery {
    pub fn new(live: Arc<LiveHooks>, telemetry: Arc<Telemetry>, clock: Clock) -> Self {
        Self { live, telemetry, clock, draining: watch::Sender::new(false), couriers: Mutex::default() }
    }

    /// Sends `news` to all live actions, and what is `firing` to those that are new. Runs on a tokio runtime.
    pub fn offer(&self, news: &[Alert], firing: impl FnOnce() -> Vec<Alert>) {
        let actions: BTreeSet<String> = self.live.load().alerts.iter().map(|action| action.name().to_owned()).collect();
        let mut couriers = self.couriers.lock();
        couriers.retain(|name, route| {
            let needed = actions.contains(name) || route.courier.outbox.lock().len() > 0;
            if !needed {
                route.task.abort();
            }
            needed
        });
        for route in couriers.values() {
            for alert in news {
                route.courier.push(alert.clone());
            }
        }
        let new: Vec<String> = actions.into_iter().filter(|name| !couriers.contains_key(name)).collect();
        if !new.is_empty() {
            let resolved = news.iter().filter(|alert| alert.resolved_at.is_some()).cloned();
            let greeting: Vec<Alert> = resolved.chain(greeting(news, firing())).collect();
            for name in new {
                let route = self.open(name.clone());
                for alert in &greeting {
                    route.courier.push(alert.clone());
                }
                couriers.insert(name, route);
            }
        }
        if couriers.is_empty() && !news.is_empty() {
            tracing::warn!(notifications = news.len(), "there are notifications, but no alert action is live");
        }
    }

    /// Notifications that have not arrived yet, by action.
    pub fn waiting(&self) -> BTreeMap<String, usize> {
        self.couriers.lock().iter().map(|(name, route)| (name.clone(), route.courier.outbox.lock().len())).collect()
    }

    /// Tries everything once more and ends. What has not arrived after `deadline` is dropped and counted.
    pub async fn drain(&self, deadline: Duration) {
        self.draining.send_replace(true);
        let routes = std::mem::take(&mut *self.couriers.lock());
        let end = tokio::time::Instant::now() + deadline;
        for Route { courier, mut task } in routes.into_values() {
            if tokio::time::timeout_at(end, &mut task).await.is_ok() {
                continue;
            }
            task.abort();
            let left = courier.outbox.lock().len();
            for _ in 0..left {
                courier.count("dropped");
            }
            tracing::error!(action = %courier.action, notifications = left, "alerts not delivered before the end");
        }
    }

    fn open(&self, action: String) -> Route {
        let name = action.clone();
        let courier = Arc::new(Courier {
            action,
            outbox: Mutex::new(Outbox::default()),
            added: Notify::new(),
            live: Arc::clone(&self.live),
            telemetry: Arc::clone(&self.telemetry),
            clock: Arc::clone(&self.clock),
        });
        let task = tokio::spawn(task::named("alert action", &name, Arc::clone(&courier).run(self.draining.subscribe())));
        Route { courier, task }
    }
}

/// What fires, each as it stands in `news` where it is news.
fn greeting(news: &[Alert], firing: Vec<Alert>) -> impl Iterator<Item = Alert> {
    firing.into_iter().map(|alert| {
        let in_news = news.iter().find(|other| other.fingerprint == alert.fingerprint && other.resolved_at.is_none());
        in_news.cloned().unwrap_or(alert)
    })
}
