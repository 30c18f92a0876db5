//! The public keys in use, kept fresh in the background: every so often, and when a token names a key that is not among them.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::Validation;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use watchgate_telemetry::task;

use super::key_set::{KeySet, NotKeys};
use super::source::{self, LoadError, Source};
use super::verified::Verified;
use super::{AuthError, Digest};
use crate::config::JwksSource;

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
    /// A file is read again after at most this long: reading is cheap, and nobody expects to wait for `refresh`.
    pub(super) file: Duration,
    /// After a load that failed, the next comes at most this much later.
    pub(super) retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gap: Duration::from_secs(10),
            wait: Duration::from_secs(2),
            deadline: Duration::from_secs(5),
            file: Duration::from_secs(2),
            retry: Duration::from_secs(10),
        }
    }
}

/// The keys of one moment, with the tokens that they have verified: other keys begin with none.
pub(super) struct Snapshot {
    pub(super) keys: KeySet,
    pub(super) verified: Mutex<Verified>,
    /// Of the content that the keys were read from; `None` before the first.
    content: Option<Digest>,
}

/// Shared by requests and the background task.
pub(super) struct Jwks {
    source: Source,
    claims: Validation,
    refresh: Duration,
    pace: Pace,
    current: ArcSwap<Snapshot>,
    load: Mutex<Load>,
    wanted: Notify,
    /// Counts the loads that are over.
    finished: watch::Sender<u64>,
    waiting: Semaphore,
}

struct Load {
    /// One is running, or will at once.
    is_due: bool,
    /// When the last one began.
    began: Option<Instant>,
}

/// Owns the background task: it ends when this is dropped.
pub(super) struct Refresher {
    jwks: Arc<Jwks>,
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

impl Jwks {
    /// Reads a file here and now; a URL is first fetched by the task.
    pub(super) fn start(source: &JwksSource, claims: Validation, refresh: Duration, pace: Pace) -> Result<Refresher, AuthError> {
        let source = Source::new(source)?;
        let first = match &source {
            Source::File(path) => {
                let content = source::read(path).map_err(|reason| AuthError::Unreadable { path: path.clone(), reason })?;
                let first = Snapshot::read(&content, &claims).map_err(|reason| AuthError::NotKeys { path: path.clone(), reason })?;
                if first.keys.len() == 0 {
                    return Err(AuthError::NoUsableKey { path: path.clone() });
                }
                first
            }
            Source::Url(_) => Snapshot { keys: KeySet::default(), verified: Mutex::default(), content: None },
        };
        let is_due = first.content.is_none();
        let jwks = Arc::new(Self {
            source,
            claims,
            refresh,
            pace,
            current: ArcSwap::from_pointee(first),
            load: Mutex::new(Load { is_due, began: None }),
            wanted: Notify::new(),
            finished: watch::Sender::new(0),
            waiting: Semaphore::new(MAX_WAITING),
        });
        let task = tokio::spawn(task::named("token keys", "", jwks.clone().keep_fresh())).abort_handle();
        Ok(Refresher { jwks, task })
    }

    /// The keys in use.
    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Other keys than these, if there are: waits for a load that is running, or for one that is begun for this unless the last was just now.
    pub(super) async fn newer_than(&self, seen: &Arc<Snapshot>) -> Option<Arc<Snapshot>> {
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

    fn if_newer(&self, seen: &Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        Some(self.current()).filter(|current| !Arc::ptr_eq(current, seen))
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
        let mut trouble = None;
        let mut next = Instant::now();
        if self.current().content.is_some() {
            next += self.period(&trouble);
        }
        loop {
            self.wait_until(next).await;
            *self.load.lock() = Load { is_due: true, began: Some(Instant::now()) };
            self.load(&mut trouble).await;
            self.load.lock().is_due = false;
            self.finished.send_modify(|count| *count += 1);
            next = Instant::now() + self.period(&trouble);
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

    fn period(&self, trouble: &Option<String>) -> Duration {
        let period = match (&self.source, trouble) {
            (Source::File(_), _) => self.refresh.min(self.pace.file),
            (Source::Url(_), None) => self.refresh,
            (Source::Url(_), Some(_)) => self.refresh.min(self.pace.retry),
        };
        period.max(MIN_PERIOD)
    }

    /// Replaces the keys if there are others, and keeps them if anything is wrong. Says so when that begins, changes or ends.
    async fn load(&self, trouble: &mut Option<String>) {
        let loaded = self.source.load(self.pace.deadline).await.map_err(Unchanged::from);
        match loaded.and_then(|content| self.replace(&content)) {
            Ok(()) => {
                if trouble.take().is_some() {
                    tracing::info!(jwks = self.source.shown(), "the JWKS can be loaded again");
                }
            }
            Err(error) => {
                let text = error.to_string();
                if trouble.as_ref() != Some(&text) {
                    let keys = self.current().keys.len();
                    let effect = if keys == 0 { "no token is let in until it can" } else { "the keys loaded before stay in use" };
                    tracing::warn!(jwks = self.source.shown(), reason = text, keys, "the JWKS cannot be loaded; {effect}");
                }
                *trouble = Some(text);
            }
        }
    }

    fn replace(&self, content: &[u8]) -> Result<(), Unchanged> {
        if self.current().content == Some(Sha256::digest(content).into()) {
            return Ok(());
        }
        let snapshot = Snapshot::read(content, &self.claims)?;
        let keys = snapshot.keys.len();
        if keys == 0 {
            // An issuer that withdraws all its keys means it.
            tracing::warn!(jwks = self.source.shown(), "the JWKS has no key to verify tokens with; no token is let in");
        } else {
            tracing::info!(jwks = self.source.shown(), keys, "the JWKS is loaded");
        }
        self.current.store(Arc::new(snapshot));
        Ok(())
    }
}

impl Snapshot {
    fn read(content: &[u8], claims: &Validation) -> Result<Self, NotKeys> {
        Ok(Self { keys: KeySet::parse(content, claims)?, verified: Mutex::default(), content: Some(Sha256::digest(content).into()) })
    }
}

impl Deref for Refresher {
    type Target = Jwks;

    fn deref(&self) -> &Jwks {
        &self.jwks
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
