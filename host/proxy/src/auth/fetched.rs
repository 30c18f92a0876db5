//! An issuer's public keys, kept fresh in the background: every so often, and when a token names a key that is not among them.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use watchgate_telemetry::task;

use super::jwks::Keys;
use super::key_set::{KeySet, NotKeys};
use super::source::{LoadError, Resource};
use super::{AuthError, Digest};
use crate::JwksStatus;

/// Requests that wait for a refetch at once. Further ones are refused: tokens of unknown keys are easily made up.
const MAX_WAITING: usize = 1_000;

/// No loop is busier than this, whatever is configured.
const MIN_PERIOD: Duration = Duration::from_millis(10);

/// How patient the background is. Tests have less time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two loads that unknown keys ask for. Keys rotate by the hour at most, and an attacker could have the issuer asked at will.
    pub(super) gap: Duration,
    /// How long a token of an unknown key waits for a load.
    pub(super) wait: Duration,
    /// One load.
    pub(super) deadline: Duration,
    /// After a load that failed the next comes this much later, and each time twice as much.
    pub(super) retry: Duration,
    /// But never more than this: nobody is to be locked out for long once the issuer is back.
    pub(super) longest_retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gap: Duration::from_secs(10),
            wait: Duration::from_secs(2),
            deadline: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(30),
        }
    }
}

/// Shared by requests and the background task.
pub(super) struct Issuer {
    /// As configured.
    url: String,
    resource: Resource,
    refresh: Duration,
    pace: Pace,
    current: ArcSwap<Keys>,
    state: Mutex<State>,
    load: Mutex<Load>,
    wanted: Notify,
    /// Counts the loads that are over.
    finished: watch::Sender<u64>,
    waiting: Semaphore,
}

/// What came of loading.
#[derive(Clone, Default)]
struct State {
    /// Of what the keys were read from; `None` before the first time.
    content: Option<Digest>,
    /// When a load last went well, whether or not it brought other keys.
    loaded: Option<SystemTime>,
    /// Why the newest load failed.
    trouble: Option<String>,
    /// Loads that have failed one after another.
    failures: u32,
}

struct Load {
    /// One is running, or will at once.
    is_due: bool,
    /// When the last one began.
    began: Option<Instant>,
}

/// Owns the background task: it ends when this is dropped.
pub(super) struct Fetched {
    issuer: Arc<Issuer>,
    task: AbortHandle,
}

/// Why keys were not replaced.
#[derive(Debug, thiserror::Error)]
enum Unchanged {
    /// Nothing came.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// Something else came.
    #[error("not a set of JSON Web Keys: {0}")]
    NotKeys(#[from] NotKeys),
}

impl Fetched {
    /// Fetches from now on, at once where `earlier` has nothing: one for the same address that is to be replaced.
    ///
    /// # Errors
    /// When the URL is none.
    pub(super) fn start(url: &str, refresh: Duration, pace: Pace, earlier: Option<&Self>) -> Result<Self, AuthError> {
        let (current, state) = match earlier {
            Some(earlier) => (earlier.current(), earlier.issuer.state.lock().clone()),
            None => Default::default(),
        };
        let is_due = state.content.is_none();
        let issuer = Arc::new(Issuer {
            url: url.to_owned(),
            resource: Resource::new(url)?,
            refresh,
            pace,
            current: ArcSwap::new(current),
            load: Mutex::new(Load { is_due, began: earlier.and_then(|earlier| earlier.issuer.load.lock().began) }),
            state: Mutex::new(state),
            wanted: Notify::new(),
            finished: watch::Sender::new(0),
            waiting: Semaphore::new(MAX_WAITING),
        });
        let task = tokio::spawn(task::named("token keys", "", issuer.clone().keep_fresh())).abort_handle();
        Ok(Self { issuer, task })
    }
}

impl Issuer {
    /// The address, as configured.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Time between two loads.
    pub(super) fn refresh(&self) -> Duration {
        self.refresh
    }

    /// The keys in use.
    pub(super) fn current(&self) -> Arc<Keys> {
        self.current.load_full()
    }

    /// How it stands with them.
    pub(super) fn status(&self) -> JwksStatus {
        let state = self.state.lock();
        JwksStatus {
            source: self.resource.shown().to_owned(),
            keys: self.current().set.len(),
            loaded: state.loaded,
            trouble: state.trouble.clone(),
        }
    }

    /// Other keys than these, if there are: waits for a load that is running, or for one that is begun for this unless the last was just now.
    pub(super) async fn newer_than(&self, seen: &Arc<Keys>) -> Option<Arc<Keys>> {
        let mut finished = self.finished.subscribe();
        if let Some(newer) = self.if_newer(seen) {
            return Some(newer);
        }
        let _place = self.waiting.try_acquire().ok()?;
        if !self.ask_for_load() {
            // It may have finished in between.
            return self.if_newer(seen);
        }
        // Without an answer in time the token is refused; the next one finds what has come.
        let _ = tokio::time::timeout(self.pace.wait, finished.changed()).await;
        self.if_newer(seen)
    }

    /// Changes with each load that is over.
    #[cfg(test)]
    pub(super) fn loads(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    fn if_newer(&self, seen: &Arc<Keys>) -> Option<Arc<Keys>> {
        Some(self.current()).filter(|current| current.number != seen.number)
    }

    /// Whether a load is running or about to.
    fn ask_for_load(&self) -> bool {
        let mut load = self.load.lock();
        if load.is_due {
            return true;
        }
        if load.began.is_some_and(|began| began.elapsed() < self.pace.gap) {
            return false;
        }
        load.is_due = true;
        self.wanted.notify_one();
        true
    }

    async fn keep_fresh(self: Arc<Self>) {
        let mut next = Instant::now();
        if self.state.lock().content.is_some() {
            next += self.period();
        }
        loop {
            self.wait_until(next).await;
            *self.load.lock() = Load { is_due: true, began: Some(Instant::now()) };
            self.load().await;
            self.load.lock().is_due = false;
            self.finished.send_modify(|count| *count += 1);
            next = Instant::now() + self.period();
        }
    }

    /// Until then, or until a load is asked for.
    async fn wait_until(&self, next: Instant) {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => return,
                // A call may be left from a load that came by itself.
                () = self.wanted.notified() => if self.load.lock().is_due { return },
            }
        }
    }

    fn period(&self) -> Duration {
        period(self.refresh, &self.pace, self.state.lock().failures)
    }

    /// Replaces the keys if there are others, and keeps them if anything is wrong. Says so when that begins, changes or ends.
    async fn load(&self) {
        let loaded = self.resource.load(self.pace.deadline).await.map_err(Unchanged::from);
        let result = loaded.and_then(|content| self.replace(&content));
        let mut state = self.state.lock();
        match result {
            Ok(content) => {
                if state.trouble.is_some() {
                    tracing::info!(jwks = self.resource.shown(), "the JWKS can be loaded again");
                }
                *state = State { content: Some(content), loaded: Some(SystemTime::now()), trouble: None, failures: 0 };
            }
            Err(error) => {
                let text = error.to_string();
                if state.trouble.as_ref() != Some(&text) {
                    let keys = self.current().set.len();
                    let effect = if keys == 0 { "no token is let in until it can" } else { "the keys loaded before stay in use" };
                    tracing::warn!(jwks = self.resource.shown(), reason = text, keys, "the JWKS cannot be loaded; {effect}");
                }
                state.trouble = Some(text);
                state.failures = state.failures.saturating_add(1);
            }
        }
    }

    /// Answers which content is in use now.
    fn replace(&self, content: &[u8]) -> Result<Digest, Unchanged> {
        let digest = Sha256::digest(content).into();
        if self.state.lock().content == Some(digest) {
            return Ok(digest);
        }
        let set = KeySet::parse(content)?;
        let keys = set.len();
        if keys == 0 {
            // An issuer that withdraws all its keys means it.
            tracing::warn!(jwks = self.resource.shown(), "the JWKS has no key to verify tokens with; no token is let in");
        } else {
            tracing::info!(jwks = self.resource.shown(), keys, "the JWKS is loaded");
        }
        let number = self.current().number + 1;
        self.current.store(Arc::new(Keys { set, number }));
        Ok(digest)
    }
}

/// Time from one load to the next, after this many that have failed in a row.
fn period(refresh: Duration, pace: &Pace, failures: u32) -> Duration {
    let after_failures = |failures: u32| pace.retry.saturating_mul(1 << failures.min(16)).min(pace.longest_retry).min(refresh);
    failures.checked_sub(1).map_or(refresh, after_failures).max(MIN_PERIOD)
}

impl Deref for Fetched {
    type Target = Issuer;

    fn deref(&self) -> &Issuer {
        &self.issuer
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_soon_and_then_ever_more_seldom() {
        let check = |refresh: u64, failures: u32, expected: u64| {
            assert_eq!(period(Duration::from_secs(refresh), &Pace::default(), failures), Duration::from_secs(expected), "{failures}");
        };
        for (failures, expected) in [(0, 300), (1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (7, 30), (u32::MAX, 30)] {
            check(300, failures, expected);
        }
        check(7, 9, 7);
        assert_eq!(period(Duration::ZERO, &Pace::default(), 0), MIN_PERIOD);
    }
}
