//! The real MCP peers: installing them into the target folder, and starting them.

mod install;

use std::env::consts::ARCH;
use std::fmt;
use std::path::{Path, PathBuf};
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
    /// Holds the conformance suite, the Node that it runs on and the client that it drives.
    suite: PathBuf,
    /// Holds the virtual environment and the everything-server of `mcp` 2.
    python: PathBuf,
    /// Holds those of `mcp` 1.
    python_v1: PathBuf,
}

/// A real MCP server to put behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// npm `@modelcontextprotocol/server-everything`: legacy era.
    TypeScript,
    /// The everything-server of PyPI `mcp`: both eras.
    Python,
    /// npm `@modelcontextprotocol/server-everything` speaking HTTP+SSE.
    TypeScriptSse,
    /// The everything-server of PyPI `mcp` 1 speaking HTTP+SSE.
    PythonV1Sse,
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
    /// npm `@modelcontextprotocol/sdk` speaking HTTP+SSE.
    TypeScriptV1Sse,
    /// PyPI `mcp` 1 speaking HTTP+SSE.
    PythonV1Sse,
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
    path: &'static str,
    _process: Process,
    _directory: TempDir,
}

impl Server {
    /// Its origin, for `--upstream`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The path of its MCP endpoint.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Its MCP endpoint.
    pub fn url(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }
}

impl ServerKind {
    /// The file of steps that this server understands.
    fn plan(self) -> &'static str {
        match self {
            Self::TypeScript | Self::TypeScriptSse => "everything-typescript.json",
            Self::Python => "everything-python.json",
            Self::PythonV1Sse => "sse-python.json",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::TypeScript | Self::Python => "/mcp",
            Self::TypeScriptSse | Self::PythonV1Sse => "/sse",
        }
    }
}

impl Peers {
    /// Starts a server on a port that the system chooses, and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up; the message has its output.
    pub fn serve(&self, kind: ServerKind) -> Result<Server> {
        self.start(kind, None)
    }

    /// As [`Peers::serve`], for the Python server, which writes the spans it makes to `spans`, one JSON object a line.
    ///
    /// # Errors
    /// When it does not come up; the message has its output.
    pub fn serve_traced(&self, spans: &Path) -> Result<Server> {
        self.start(ServerKind::Python, Some(spans))
    }

    fn start(&self, kind: ServerKind, spans: Option<&Path>) -> Result<Server> {
        let directory = TempDir::new()?;
        let (mut command, mark) = match kind {
            ServerKind::TypeScript | ServerKind::TypeScriptSse => {
                let mut command = Command::new("node");
                let package = "node_modules/@modelcontextprotocol/server-everything";
                command.current_dir(&self.node).env("PORT", "0");
                command.args(["--import", "./loopback.mjs", &format!("{package}/dist/index.js")]);
                command.arg(if kind == ServerKind::TypeScript { "streamableHttp" } else { "sse" });
                (command, "peer listening on ")
            }
            ServerKind::Python => {
                let mut command = self.python(spans, "server");
                command.args(["-m", "mcp_everything_server", "--port", "0"]);
                (command, "Uvicorn running on ")
            }
            ServerKind::PythonV1Sse => {
                let mut command = python(&self.python_v1);
                // Its own command line knows only Streamable HTTP.
                let main = "from mcp_everything_server.server import mcp; mcp.settings.port = 0; mcp.run('sse')";
                command.args(["-c", main]);
                (command, "Uvicorn running on ")
            }
        };
        let mut process = Process::start("server", &mut command, directory.path())?;
        let origin = process.announced(mark)?;
        Ok(Server { origin, path: kind.path(), _process: process, _directory: directory })
    }

    /// Runs a client through the whole plan of `server` at `url`, and gives what it saw.
    ///
    /// # Errors
    /// When the client fails as a program. What the server does to it is an observation.
    pub fn observe(&self, client: ClientKind, era: Era, server: ServerKind, url: &str) -> Result<Observations> {
        self.run(client, era, server, url, None)
    }

    /// As [`Peers::observe`], with the Python client and server; the client writes the spans it makes to `spans`, one JSON object a line.
    ///
    /// # Errors
    /// When the client fails as a program.
    pub fn observe_traced(&self, era: Era, url: &str, spans: &Path) -> Result<Observations> {
        self.run(ClientKind::Python, era, ServerKind::Python, url, Some(spans))
    }

    fn run(&self, client: ClientKind, era: Era, server: ServerKind, url: &str, spans: Option<&Path>) -> Result<Observations> {
        let directory = TempDir::new()?;
        let plan = self.node.join("plans").join(server.plan());
        let mut command = match client {
            ClientKind::TypeScriptV1 | ClientKind::TypeScriptV2 | ClientKind::TypeScriptV1Sse => {
                let mut command = Command::new("node");
                command.arg(self.node.join("client.mjs"));
                command.arg(match client {
                    ClientKind::TypeScriptV2 => "v2",
                    ClientKind::TypeScriptV1Sse => "v1-sse",
                    _ => "v1",
                });
                command
            }
            ClientKind::Python => {
                let mut command = self.python(spans, "client");
                command.arg(self.node.join("client.py"));
                command
            }
            ClientKind::PythonV1Sse => {
                let mut command = python(&self.python_v1);
                command.arg(self.node.join("client_v1.py"));
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

    /// The interpreter with `mcp` 2, which records the spans of `service` where that is wanted.
    fn python(&self, spans: Option<&Path>, service: &str) -> Command {
        let mut command = python(&self.python);
        if let Some(spans) = spans {
            command.arg(self.node.join("traced.py")).arg(spans).arg(service);
        }
        command
    }

    /// The conformance suite, to be given its arguments.
    ///
    /// # Errors
    /// When there is no Node for it on this kind of machine.
    pub fn suite(&self) -> Result<Command> {
        let machine = match ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => bail!("the conformance suite is installed with a Node for x86_64 and aarch64, not for {other}"),
        };
        let modules = self.suite.join("node_modules");
        let mut command = Command::new(modules.join(format!("node-linux-{machine}/bin/node")));
        command.arg("--import").arg(self.node.join("unprobed.mjs"));
        command.arg(modules.join("@modelcontextprotocol/conformance/dist/index.js"));
        command.env("NO_PROXY", "*").env("no_proxy", "*").env("NO_COLOR", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(command)
    }

    /// What runs the SDK's clients for the conformance suite, as peers/clients.py says; it announces itself with
    /// "clients take orders at".
    pub fn conformance_clients(&self, socket: &Path) -> Command {
        let mut command = python(&self.python);
        command.env("NO_PROXY", "*").env("no_proxy", "*");
        command.arg(self.node.join("clients.py")).arg(socket).arg(self.suite.join("client.py"));
        command
    }
}

fn interpreter(directory: &Path) -> PathBuf {
    directory.join("venv/bin/python")
}

/// The interpreter of the virtual environment in `directory`, with the everything-server there for an import.
fn python(directory: &Path) -> Command {
    let mut command = Command::new(interpreter(directory));
    command.current_dir(directory).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
