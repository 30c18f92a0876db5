//! A loader for tests. A component is a line of text: its kinds, a marker, and what is to go wrong.
//!
//! `redaction health v1` is a component of two kinds with the marker `v1`; `redaction v2 !trial` fails its trial,
//! `redaction v3 !no-capacity` is refused with that code, `redaction v4 !hold` loads only when the test says so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify, Semaphore};
use watchgate_catalog::{Candidate, LiveParts, Loader, Upkeep};
use watchgate_hooks::{
    Alert, AlertAction, BoxFuture, Generation, HealthCheck, HealthReport, HookFailure, Interest, KindSet, Message, MetricDerivation,
    Operation, PluginKind, RedactionPolicy, Reply, Verdict,
};
use watchgate_sandbox::{LoadCode, LoadError, PluginSettings};

/// What the loader was asked and what is alive.
#[derive(Default)]
pub struct Ledger {
    /// Every load as `name: component`, in order.
    pub loads: parking_lot::Mutex<Vec<String>>,
    /// Generations, candidates included, that hold resources.
    pub alive: AtomicUsize,
    /// Operations that derivations observed.
    pub observed: AtomicUsize,
    /// Loads that run now, and whether ever two ran at once.
    running: AtomicUsize,
    pub overlapped: AtomicBool,
    /// While true, `!no-capacity` is refused.
    pub is_full: AtomicBool,
    /// Live generations with a number up to this are quarantined.
    quarantined: AtomicU64,
    quarantines: Arc<Notify>,
}

impl Ledger {
    /// Quarantines every live generation with a number up to this; 0 for none.
    pub fn quarantine(&self, up_to: u64) {
        self.quarantined.store(up_to, Ordering::SeqCst);
        self.quarantines.notify_one();
    }
}

/// The loader. Clones share everything.
#[derive(Clone)]
pub struct FakeLoader {
    pub ledger: Arc<Ledger>,
    /// Permits for components with `!hold`.
    pub gate: Arc<Semaphore>,
    /// Settings of the newest load.
    pub settings: Arc<Mutex<Option<PluginSettings>>>,
}

impl FakeLoader {
    pub fn new() -> Self {
        Self { ledger: Arc::default(), gate: Arc::new(Semaphore::new(0)), settings: Arc::default() }
    }
}

/// A generation and its resources, which end with it.
struct FakePlugin {
    name: String,
    number: Generation,
    marker: String,
    kinds: KindSet,
    interest: Interest,
    fails_trial: bool,
    ledger: Arc<Ledger>,
}

impl Drop for FakePlugin {
    fn drop(&mut self) {
        self.ledger.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Loader for FakeLoader {
    fn load<'a>(
        &'a self,
        name: &'a str,
        component: Bytes,
        settings: PluginSettings,
        generation: Generation,
    ) -> BoxFuture<'a, Result<Box<dyn Candidate>, LoadError>> {
        Box::pin(async move {
            let text = String::from_utf8_lossy(&component).into_owned();
            self.ledger.loads.lock().push(format!("{name}: {text}"));
            if self.ledger.running.fetch_add(1, Ordering::SeqCst) > 0 {
                self.ledger.overlapped.store(true, Ordering::SeqCst);
            }
            let _running = Running(&self.ledger);
            let listed = settings.kinds.clone();
            *self.settings.lock().await = Some(settings);
            self.plugin(name, &text, listed, generation).await
        })
    }

    fn quarantines(&self) -> Arc<Notify> {
        Arc::clone(&self.ledger.quarantines)
    }
}

struct Running<'a>(&'a Ledger);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeLoader {
    async fn plugin(&self, name: &str, text: &str, listed: Option<KindSet>, number: Generation) -> Result<Box<dyn Candidate>, LoadError> {
        let refuse = |code: LoadCode| Err(LoadError { code, detail: format!("{name} is {}", code.as_str()) });
        let mut kinds: KindSet = BTreeSet::new();
        let mut marker = String::new();
        let mut fails_trial = false;
        for word in text.split_whitespace() {
            match word {
                "!hold" => self.gate.acquire().await.unwrap().forget(),
                "!trial" => fails_trial = true,
                "!no-capacity" if self.ledger.is_full.load(Ordering::SeqCst) => return refuse(LoadCode::NoCapacity),
                "!no-capacity" => {}
                _ => match PluginKind::ALL.into_iter().find(|kind| kind.as_str() == word) {
                    Some(kind) => drop(kinds.insert(kind)),
                    None => marker = word.to_owned(),
                },
            }
        }
        if kinds.is_empty() {
            return refuse(LoadCode::NoKind);
        }
        if let Some(listed) = listed {
            kinds = kinds.intersection(&listed).copied().collect();
        }
        self.ledger.alive.fetch_add(1, Ordering::SeqCst);
        let ledger = Arc::clone(&self.ledger);
        Ok(Box::new(FakeCandidate(FakePlugin {
            name: name.to_owned(),
            number,
            marker,
            kinds,
            interest: Interest::default(),
            fails_trial,
            ledger,
        })))
    }
}

struct FakeCandidate(FakePlugin);

impl Candidate for FakeCandidate {
    fn kinds(&self) -> &KindSet {
        &self.0.kinds
    }

    fn try_out(&self) -> BoxFuture<'_, Result<(), LoadError>> {
        let failed = LoadError { code: LoadCode::TrialFailed, detail: "a trial call trapped".to_owned() };
        Box::pin(async move { if self.0.fails_trial { Err(failed) } else { Ok(()) } })
    }

    fn go_live(self: Box<Self>) -> LiveParts {
        let plugin = Arc::new(self.0);
        let is = |kind| plugin.kinds.contains(&kind);
        LiveParts {
            redaction: is(PluginKind::Redaction).then(|| Arc::clone(&plugin) as Arc<dyn RedactionPolicy>),
            derivation: is(PluginKind::Derivation).then(|| Arc::clone(&plugin) as Arc<dyn MetricDerivation>),
            health: is(PluginKind::Health).then(|| Arc::clone(&plugin) as Arc<dyn HealthCheck>),
            alerting: is(PluginKind::Alerting).then(|| Arc::clone(&plugin) as Arc<dyn AlertAction>),
            upkeep: Box::new(FakeUpkeep(plugin.number, Arc::clone(&plugin.ledger))),
        }
    }
}

struct FakeUpkeep(Generation, Arc<Ledger>);

impl Upkeep for FakeUpkeep {
    fn drain(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }

    fn is_quarantined(&self) -> bool {
        self.0.0 <= self.1.quarantined.load(Ordering::SeqCst)
    }
}

/// Denies everything and says which plugin and version did.
impl RedactionPolicy for FakePlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn interest(&self) -> &Interest {
        &self.interest
    }

    fn redact(&self, _message: Message) -> BoxFuture<'_, Result<Reply, HookFailure>> {
        let verdict = Verdict::Deny(format!("{} {}", self.name, self.marker));
        Box::pin(async move { Ok(Reply { verdict, edits: Vec::new() }) })
    }
}

impl MetricDerivation for FakePlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn keeps_text(&self) -> bool {
        false
    }

    fn collect_interval(&self) -> Option<Duration> {
        None
    }

    fn observe(&self, _operation: Operation) -> BoxFuture<'_, Result<(), HookFailure>> {
        Box::pin(async move {
            // A real observation takes time, so that a queue has something to drain.
            tokio::task::yield_now().await;
            self.ledger.observed.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }

    fn collect(&self) -> BoxFuture<'_, Result<(), HookFailure>> {
        Box::pin(async { Ok(()) })
    }
}

impl HealthCheck for FakePlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn check(&self) -> BoxFuture<'_, Result<HealthReport, HookFailure>> {
        Box::pin(async { Ok(HealthReport { status: watchgate_hooks::HealthStatus::Ok, detail: String::new() }) })
    }
}

impl AlertAction for FakePlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn notify(&self, _alert: Alert) -> BoxFuture<'_, Result<(), HookFailure>> {
        Box::pin(async { Ok(()) })
    }
}
