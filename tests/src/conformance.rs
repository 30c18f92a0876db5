//! The official conformance suite, run against a server or against a client.

mod checks;
mod passage;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::peers::Peers;
use crate::plugins::PluginFolder;
use crate::process::Process;
use crate::wait::DEADLINE;

pub use checks::{Check, Checks};
pub use passage::Passage;

/// How long a client may take for one scenario, in milliseconds. The suite starts all of them at once, and most wait for their turn.
const SCENARIO_TIMEOUT: &str = "170000";

/// How `conformance-client` begins the one line that it writes when it fails by itself.
pub const WRAPPER_COMPLAINT: &str = "conformance-client: ";

/// A revision of the specification that the suite has scenarios for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// 2025-11-25: the newest of the legacy era.
    Legacy,
    /// 2026-07-28: the modern era.
    Modern,
}

impl Revision {
    fn name(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

/// Runs every scenario for servers against the server at `url`.
///
/// # Errors
/// When the suite cannot be run. What it finds is in the checks.
pub fn of_server(peers: &Peers, revision: Revision, url: &str) -> Result<Checks> {
    run(peers.suite()?.args(["server", "--url", url]), revision)
}

/// What stands between the client and the suite's mock servers.
#[derive(Clone, Copy)]
pub enum Route<'a> {
    /// Nothing.
    Direct,
    /// A gateway that has taken over the server's name, with the plugins of a folder: the client keeps its URL.
    Name(Option<&'a PluginFolder>),
    /// A gateway with a name of its own, which it is told.
    Public(Option<&'a PluginFolder>),
}

impl<'a> Route<'a> {
    /// The first two arguments of `conformance-client`.
    fn words(self) -> [&'a str; 2] {
        let path = |folder: Option<&'a PluginFolder>| folder.map_or("-", PluginFolder::path);
        match self {
            Self::Direct => ["direct", "-"],
            Self::Name(folder) => ["name", path(folder)],
            Self::Public(folder) => ["public", path(folder)],
        }
    }
}

/// Runs every scenario for clients with the Python SDK's client; `wrapper` is the program `conformance-client`.
///
/// # Errors
/// When the suite cannot be run. What it finds is in the checks.
pub fn of_client(peers: &Peers, revision: Revision, wrapper: &str, route: Route<'_>) -> Result<Checks> {
    // A run has some thirty clients at once; two of them at the same time would only meet more deadlines.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = TempDir::new()?;
    let socket = directory.path().join("clients");
    let mut clients = Process::start("clients", &mut peers.conformance_clients(&socket), directory.path())?;
    clients.announced("clients take orders at ")?;
    let socket = socket.to_str().context("folders for temporary files have ASCII names")?;
    let [route, plugins] = route.words();
    // The suite hands the line to a shell, and none of these words needs quotes.
    let command = [wrapper, route, plugins, socket].join(" ");
    run(peers.suite()?.args(["client", "--command", &command, "--timeout", SCENARIO_TIMEOUT]), revision)
}

fn run(suite: &mut Command, revision: Revision) -> Result<Checks> {
    let directory = TempDir::new()?;
    let results = directory.path().join("results");
    suite.args(["--suite", "all", "--spec-version", revision.name(), "--output-dir"]).arg(&results);
    let mut process = Process::start("conformance", suite.current_dir(directory.path()), directory.path())?;
    // A scenario that fails is among the checks; how the suite ends adds nothing to them.
    process.wait(DEADLINE * 10)?;
    ensure!(results.is_dir(), "the suite left no results\n{}", process.output());
    let checks = Checks::read(&results)?;
    if let Some(complaint) = complaint(&results)? {
        bail!("{complaint}");
    }
    ensure!(checks.total() > 0, "no check was made\n{}", process.output());
    Ok(checks)
}

/// What `conformance-client` said when it, and not the client that it runs, was the one to fail.
fn complaint(folder: &Path) -> Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            complaint(&path)?
        } else if path.ends_with("stderr.txt") {
            let text = fs::read_to_string(&path)?;
            text.find(WRAPPER_COMPLAINT).map(|start| format!("{}: {}", path.display(), &text[start..]))
        } else {
            None
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
