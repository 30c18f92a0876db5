//! A running catalog over a temporary folder, and how tests look at it: they wait for what is published, never for time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::watch;
use watchgate_catalog::{Catalog, CatalogConfig, Loader, WatchMode};
use watchgate_hooks::{ChainResult, HookSet, Kind, LiveHooks, Message, PluginStatus, StatusBoard, Surface};
use watchgate_mcp::Direction;
use watchgate_telemetry::{Series, Telemetry, TelemetryConfig};

use crate::fake_loader::FakeLoader;

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// `L` is the loader, of which the test keeps a clone.
pub struct World<L = FakeLoader> {
    /// The folder's parent, which ends with the test.
    _home: TempDir,
    pub folder: PathBuf,
    pub loader: L,
    pub live: Arc<LiveHooks>,
    pub board: Arc<StatusBoard>,
    pub telemetry: Arc<Telemetry>,
    pub catalog: Catalog,
    shutdown: watch::Sender<bool>,
}

/// How a world begins.
#[derive(Default)]
pub struct Setup {
    pub required: Vec<String>,
    pub watch: WatchMode,
    pub has_no_folder: bool,
}

impl World {
    /// A catalog over an empty folder, after its first scan.
    pub async fn empty() -> Self {
        let world = Self::start(Setup::default(), |_| {});
        world.catalog.first_scan().await;
        world
    }

    /// A catalog over a folder that `fill` filled, not waited for.
    pub fn start(setup: Setup, fill: impl FnOnce(&Path)) -> Self {
        Self::with_loader(setup, |_| FakeLoader::new(), fill)
    }

    /// Every load so far.
    pub fn loads(&self) -> Vec<String> {
        self.loader.ledger.loads.lock().clone()
    }
}

impl<L: Loader + Clone> World<L> {
    /// The same with another loader.
    pub fn with_loader(setup: Setup, loader: impl FnOnce(&Arc<Telemetry>) -> L, fill: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("plugins");
        if !setup.has_no_folder {
            std::fs::create_dir(&folder).unwrap();
            fill(&folder);
        }
        let config = TelemetryConfig::default();
        let telemetry = Telemetry::new(config).unwrap();
        let (live, board) = (Arc::new(LiveHooks::new(HookSet::empty())), Arc::new(StatusBoard::new()));
        let (shutdown, stop) = watch::channel(false);
        let loader = loader(&telemetry);
        let config = CatalogConfig { required: setup.required, watch: setup.watch, ..CatalogConfig::new(relative(&folder)) };
        let catalog = Catalog::start(config, loader.clone(), Arc::clone(&live), Arc::clone(&board), Arc::clone(&telemetry), stop);
        Self { _home: home, folder, loader, live, board, telemetry, catalog, shutdown }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Writes a file in one go, as `cp` does.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(file), content).unwrap();
    }

    /// Writes a file elsewhere and renames it in.
    pub fn rename_in(&self, file: &str, content: &str) {
        let elsewhere = self.path(&format!(".{file}.tmp"));
        std::fs::write(&elsewhere, content).unwrap();
        std::fs::rename(elsewhere, self.path(file)).unwrap();
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.path(file)).unwrap();
    }

    /// Waits until the board shows just these lines (see [`line`]), in this order.
    pub async fn shows(&self, expected: &[&str]) {
        self.until(&format!("{expected:?}"), |lines| lines == expected).await;
    }

    /// Waits until `check` likes what the board shows.
    pub async fn until(&self, what: &str, check: impl Fn(&[String]) -> bool) {
        let mut published = self.catalog.subscribe();
        let lines = || self.board.read().iter().map(line).collect::<Vec<_>>();
        let reached = async {
            loop {
                published.borrow_and_update();
                if check(&lines()) {
                    return;
                }
                published.changed().await.expect("the catalog runs");
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("wanted {what}, but the board shows {:?}", lines());
        }
    }

    /// What the live redaction chain says: `name marker` of the plugin that it comes to first.
    pub async fn verdict(&self) -> Option<String> {
        let set = self.live.load_full();
        let message = Message {
            body: Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#),
            kind: Kind::Request,
            direction: Direction::ClientToServer,
            surface: Surface::Wire,
            server: "weather".into(),
            method: Some("tools/list".into()),
            name: None,
            headers: Vec::new(),
        };
        match set.redaction.run(message).await {
            ChainResult::Denied(denial) => Some(denial.detail),
            ChainResult::Unchanged | ChainResult::Changed(..) => None,
        }
    }

    /// How often reloads ended like this; `reason` is empty for those that were not refused.
    pub fn reloads(&self, result: &str, reason: &str) -> f64 {
        let snapshot = self.telemetry.snapshot();
        let is_wanted = |series: &&Series| series.label("result") == result && series.label("reason") == reason;
        snapshot.of("watchgate_reload_total").find(is_wanted).map_or(0.0, |series| series.value)
    }

    /// Stops the catalog and ends its plugins.
    pub async fn end(self) -> L {
        self.shutdown.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.catalog.drain()).await.unwrap();
        self.loader
    }
}

/// A status as `name state kinds #generation !refusal`, as far as there is each.
fn line(status: &PluginStatus) -> String {
    let mut line = format!("{} {}", status.name, status.state.as_str());
    let kinds: Vec<&str> = status.kinds.iter().map(|kind| kind.as_str()).collect();
    if !kinds.is_empty() {
        line += &format!(" {}", kinds.join("+"));
    }
    if let Some(generation) = status.generation {
        line += &format!(" #{}", generation.0);
    }
    if let Some(refusal) = status.refusal {
        line += &format!(" !{refusal}");
    }
    if status.required { line + " required" } else { line }
}

/// The same path as seen from the working folder, which is how operators name theirs.
fn relative(path: &Path) -> PathBuf {
    let up = std::env::current_dir().unwrap().components().count() - 1;
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    std::iter::repeat_n("..", up).collect::<PathBuf>().join(path.strip_prefix("/").unwrap())
}
