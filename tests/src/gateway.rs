//! The real gateway binary as a child process with ports of its own.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::http1::{Connection, MCP_POST, Reply, request};
use crate::metrics::Metrics;
use crate::process::Process;
use crate::wait::{DEADLINE, wait_for};

/// What differs from a gateway that is told everything by its flags.
#[derive(Default)]
pub struct GatewayOptions {
    /// The text of a `watchgate.toml`, passed with `--config`.
    pub config: Option<String>,
    /// Environment variables on top of an otherwise empty environment.
    pub environment: Vec<(String, String)>,
    /// Whether the configuration names the listeners for traffic; else there is one on a free port.
    pub listeners_of_file: bool,
}

impl GatewayOptions {
    /// Only a configuration file.
    pub fn config(text: &str) -> Self {
        Self { config: Some(text.to_owned()), ..Self::default() }
    }
}

/// A running gateway; dropping it kills it.
pub struct Gateway {
    /// Where clients connect.
    pub traffic: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    process: Process,
    directory: TempDir,
}

/// How a gateway that was expected to give up did so.
#[derive(Debug)]
pub struct Exit {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to stdout.
    pub stdout: String,
    /// Everything it wrote to stderr.
    pub stderr: String,
}

impl Gateway {
    /// Starts `watchgate run` with `args`, on ports that the system chooses, in an empty folder of
    /// its own, and waits until both listeners are announced.
    ///
    /// # Panics
    /// When it does not come up; the message has its output.
    #[track_caller]
    pub fn start(args: &[&str], options: GatewayOptions) -> Self {
        match Self::try_start(args, &options) {
            Ok(gateway) => gateway,
            Err(error) => panic!("the gateway does not start: {error:#}"),
        }
    }

    /// Starts a gateway in front of one server and nothing else.
    #[track_caller]
    pub fn before(url: &str) -> Self {
        Self::start(&["--upstream", url], GatewayOptions::default())
    }

    /// As [`Gateway::start`], without the panic.
    ///
    /// # Errors
    /// When it does not come up; the message has its output.
    pub fn try_start(args: &[&str], options: &GatewayOptions) -> Result<Self> {
        let directory = TempDir::new()?;
        let listen: &[&str] = if options.listeners_of_file { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut process = spawn(&[listen, &["--admin", "127.0.0.1:0"], args].concat(), options, directory.path())?;
        let traffic = process.announced("watchgate: traffic listening on ")?;
        let traffic = traffic.trim_start_matches("https://").trim_start_matches("http://");
        let admin = process.announced("watchgate: admin listening on http://")?;
        Ok(Self { traffic: traffic.parse()?, admin: admin.parse()?, process, directory })
    }

    /// Runs `watchgate run` with exactly `args` and waits for it to give up by itself.
    ///
    /// # Errors
    /// When it does not.
    pub fn run_to_exit(args: &[&str], options: &GatewayOptions) -> Result<Exit> {
        let directory = TempDir::new()?;
        let mut process = spawn(args, options, directory.path())?;
        let status = process.wait(DEADLINE)?;
        Ok(Exit { code: status.code(), stdout: process.stdout(), stderr: process.stderr() })
    }

    /// A URL on the traffic listener.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.traffic)
    }

    /// The gateway's working folder: its config file, access log and outputs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// A new connection to the traffic listener.
    ///
    /// # Panics
    /// When it does not accept.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        match Connection::open(self.traffic) {
            Ok(connection) => connection,
            Err(error) => panic!("the gateway does not accept: {error}"),
        }
    }

    /// One request on a connection of its own, and its whole answer.
    ///
    /// # Panics
    /// When no whole answer comes.
    #[track_caller]
    pub fn call(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        exchange(self.traffic, &request(method, target, headers, body))
    }

    /// Posts one JSON-RPC message as an MCP client does.
    ///
    /// # Panics
    /// When no whole answer comes.
    #[track_caller]
    pub fn post(&self, target: &str, message: &serde_json::Value) -> Reply {
        self.call("POST", target, &MCP_POST, message.to_string().as_bytes())
    }

    /// Gets a page of the admin listener.
    ///
    /// # Panics
    /// When no whole answer comes.
    #[track_caller]
    pub fn admin_get(&self, target: &str) -> Reply {
        exchange(self.admin, &request("GET", target, &[], b""))
    }

    /// Posts to the admin listener.
    ///
    /// # Panics
    /// When no whole answer comes.
    #[track_caller]
    pub fn admin_post(&self, target: &str, body: &str) -> Reply {
        exchange(self.admin, &request("POST", target, &[], body.as_bytes()))
    }

    /// The configuration file that it was started with, if the options had a text for it.
    pub fn config_file(&self) -> PathBuf {
        config_file(self.directory.path())
    }

    /// The addresses of all traffic listeners announced so far, in their order.
    ///
    /// # Panics
    /// When one of them is none.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        let stdout = self.stdout();
        let announced = stdout.lines().filter_map(|line| line.strip_prefix("watchgate: traffic listening on ")?.split_once("://"));
        announced.map(|(_, address)| address.parse().unwrap_or_else(|_| panic!("announced {address}"))).collect()
    }

    /// Sends SIGHUP and returns at once.
    ///
    /// # Panics
    /// When it has already ended.
    #[track_caller]
    pub fn hang_up(&mut self) {
        if let Err(error) = self.process.hang_up() {
            panic!("{error:#}");
        }
    }

    /// Scrapes `/metrics`.
    ///
    /// # Panics
    /// When it does not answer 200.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let reply = self.admin_get("/metrics");
        assert_eq!(reply.status(), 200, "{}", reply.text());
        Metrics::parse(&reply.text())
    }

    /// The access lines written so far.
    ///
    /// # Panics
    /// When a line is not one JSON object.
    #[track_caller]
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(access_log(self.directory.path())).unwrap_or_default();
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(|line| match serde_json::from_str(line) {
                Ok(value @ serde_json::Value::Object(_)) => value,
                _ => panic!("not a JSON object in the access log: {line}"),
            })
            .collect()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Waits until the log on standard error holds `text`. Lines are written by a thread of their own, so they may come after what they tell of.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let found = wait_for(DEADLINE, || self.stderr().contains(text).then_some(()));
        assert!(found.is_some(), "the log does not say {text:?}: {}", self.stderr());
    }

    /// Ends the gateway, and gives all that it has logged.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn whole_log(&mut self) -> String {
        self.terminate(DEADLINE);
        self.stderr()
    }

    /// Sends SIGTERM and returns at once.
    ///
    /// # Panics
    /// When it has already ended.
    #[track_caller]
    pub fn ask_to_end(&mut self) {
        if let Err(error) = self.process.ask_to_end() {
            panic!("{error:#}");
        }
    }

    /// Waits for the process to end, at most `limit`.
    ///
    /// # Panics
    /// When it runs on.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        match self.process.wait(limit) {
            Ok(status) => status,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Sends SIGTERM and waits for the process to end, at most `limit`.
    ///
    /// # Panics
    /// When it has already ended, or runs on.
    #[track_caller]
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.ask_to_end();
        self.wait(limit)
    }
}

fn config_file(directory: &Path) -> PathBuf {
    directory.join("watchgate.toml")
}

fn access_log(directory: &Path) -> PathBuf {
    directory.join("access.log")
}

fn spawn(args: &[&str], options: &GatewayOptions, directory: &Path) -> Result<Process> {
    let mut command = Command::new(binary()?);
    command.arg("run").current_dir(directory).env_clear();
    // Only what finding shared libraries and writing back traces needs: no WATCHGATE_* or OTEL_*
    // of the machine reaches a test.
    for name in ["PATH", "HOME", "LD_LIBRARY_PATH", "RUST_BACKTRACE", "TMPDIR"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    // Which exchange is traced is left to chance otherwise, and what is traced is shown to the redaction policies.
    command.env("OTEL_TRACES_SAMPLER", "always_off");
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    if !args.contains(&"--access-log") {
        command.arg("--access-log").arg(access_log(directory));
    }
    if let Some(text) = &options.config {
        let file = config_file(directory);
        fs::write(&file, text)?;
        command.arg("--config").arg(file);
    }
    Process::start("watchgate", command.args(args), directory)
}

/// `WATCHGATE_BIN`, else the release build in the workspace's target folder.
pub(crate) fn binary() -> Result<PathBuf> {
    let path = match env::var_os("WATCHGATE_BIN") {
        Some(path) => PathBuf::from(path),
        None => target_dir().join("release").join("watchgate"),
    };
    ensure!(path.is_file(), "no gateway binary at {}; build it with `cargo build --release -p watchgate-gateway`", path.display());
    path.canonicalize().with_context(|| path.display().to_string())
}

/// The workspace's target folder.
pub fn target_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the workspace");
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace.join(directory),
        None => workspace.join("target"),
    }
}

#[track_caller]
fn exchange(address: SocketAddr, bytes: &[u8]) -> Reply {
    let reply = Connection::open(address).map_err(Into::into).and_then(|mut connection| {
        // A server may answer before it has read everything (413): what counts is the answer.
        let sent = connection.send(bytes);
        connection.reply().with_context(|| format!("sent: {sent:?}"))
    });
    match reply {
        Ok(reply) => reply,
        Err(error) => panic!("no answer from {address}: {error:#}"),
    }
}
