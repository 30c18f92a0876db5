//! The real MCP peers: installing them into the target folder, and starting them.

mod install;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::observation::Observations;
use crate::process::Process;
use crate::wait::DEADLINE;

pub use install::install;

/// The installed peers.
#[derive(Clone, Debug)]
pub struct Peers {
    /// Holds `node_modules`, the scripts and the plans.
    node: PathBuf,
    /// Holds the virtual environment and the everything-server.
    python: PathBuf,
}

/// A real MCP server to put behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// npm `@modelcontextprotocol/server-everything`: legacy era.
    TypeScript,
    /// The everything-server of PyPI `mcp`: both eras.
    Python,
}

/// An official client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// npm `@modelcontextprotocol/sdk`: legacy era.
    TypeScriptV1,
    /// npm `@modelcontextprotocol/client`: both eras.
    TypeScriptV2,
    /// PyPI `mcp`: both eras.
    Python,
}

/// The era that a client is told to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// `initialize` and a session: 2025-11-25 and before.
    Legacy,
    /// 2026-07-28, without asking first.
    Modern,
    /// Probe the modern era, fall back to the legacy one.
    Auto,
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
            Self::Auto => "auto",
        })
    }
}

/// A running real server; dropping it kills it.
pub struct Server {
    origin: String,
    _process: Process,
    _directory: TempDir,
}

impl Server {
    /// Its origin, for `--upstream`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its MCP endpoint.
    pub fn url(&self) -> String {
        format!("{}/mcp", self.origin)
    }
}

impl ServerKind {
    /// The file of steps that this server understands.
    fn plan(self) -> &'static str {
        match self {
            Self::TypeScript => "everything-typescript.json",
            Self::Python => "everything-python.json",
        }
    }
}

impl Peers {
    /// Starts a server on a port that the system chooses, and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up; the message has its output.
    pub fn serve(&self, kind: ServerKind) -> Result<Server> {
        let directory = TempDir::new()?;
        let (mut command, mark) = match kind {
            ServerKind::TypeScript => {
                let mut command = Command::new("node");
                let package = "node_modules/@modelcontextprotocol/server-everything";
                command.current_dir(&self.node).env("PORT", "0");
                command.args(["--import", "./loopback.mjs", &format!("{package}/dist/index.js"), "streamableHttp"]);
                (command, "peer listening on ")
            }
            ServerKind::Python => {
                let mut command = Command::new(self.interpreter());
                command.current_dir(&self.python).env("PYTHONDONTWRITEBYTECODE", "1");
                command.args(["-m", "mcp_everything_server", "--port", "0"]);
                (command, "Uvicorn running on ")
            }
        };
        let mut process = Process::start("server", &mut command, directory.path())?;
        let origin = process.announced(mark)?;
        Ok(Server { origin, _process: process, _directory: directory })
    }

    /// Runs a client through the whole plan of `server` at `url`, and gives what it saw.
    ///
    /// # Errors
    /// When the client fails as a program. What the server does to it is an observation.
    pub fn observe(&self, client: ClientKind, era: Era, server: ServerKind, url: &str) -> Result<Observations> {
        let directory = TempDir::new()?;
        let plan = self.node.join("plans").join(server.plan());
        let mut command = match client {
            ClientKind::TypeScriptV1 | ClientKind::TypeScriptV2 => {
                let mut command = Command::new("node");
                command.arg(self.node.join("client.mjs"));
                command.arg(if client == ClientKind::TypeScriptV1 { "v1" } else { "v2" });
                command
            }
            ClientKind::Python => {
                let mut command = Command::new(self.interpreter());
                command.arg(self.node.join("client.py"));
                command
            }
        };
        command.arg(url).arg(era.to_string()).arg(&plan);
        // A proxy that this machine may be configured with must not stand between loopback peers.
        command.env("NO_PROXY", "*").env("no_proxy", "*");
        let mut process = Process::start("client", &mut command, directory.path())?;
        // A plan has about forty steps, each with a deadline of its own.
        let status = process.wait(DEADLINE * 6)?;
        if !status.success() {
            bail!("{client:?}, {era} era, {server:?} server: ended with {status}\n{}", process.stderr());
        }
        let plan = std::fs::read_to_string(&plan)?;
        Observations::parse(&process.stdout(), &plan)
            .with_context(|| format!("{client:?}, {era} era, {server:?} server\n{}", process.stderr()))
    }

    fn interpreter(&self) -> PathBuf {
        self.python.join("venv/bin/python")
    }
}
