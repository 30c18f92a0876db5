//! Where things are in the workspace, and how Cargo is called: always with the same selection of packages, so that `test`, `demo` and
//! `bench` share one build of wasmtime.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub use watchgate_tests::gateway::target_dir;

/// Which packages every release build is for. xtask is left out: it runs in the dev profile, and would be built twice.
const SELECTION: [&str; 3] = ["--workspace", "--exclude", "xtask"];

/// The workspace's own folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// A program that is built by [`build_release`].
pub fn release_binary(name: &str) -> PathBuf {
    target_dir().join("release").join(name)
}

/// Cargo with a subcommand, to be run in the workspace's folder.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).arg(subcommand);
    command
}

/// Builds every program of the workspace in release.
///
/// The end-to-end tests are named because Cargo unifies the features of dev-dependencies only when a test is among the targets:
/// without one, `cargo test` after this would build tokio, and all that depends on it, a second time.
///
/// # Errors
/// When the build fails.
pub fn build_release() -> Result<()> {
    run(cargo("build").arg("--release").args(SELECTION).args(["--bins", "--test", "e2e"]))
}

/// `cargo test` over the same selection.
pub fn release_tests() -> Command {
    let mut command = cargo("test");
    command.arg("--release").args(SELECTION);
    command
}

/// Runs a command with its output on the terminal.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

/// Runs a command and gives its stdout.
///
/// # Errors
/// When it cannot be started or does not succeed; the message has its stderr.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("cannot run {shown}"))?;
    ensure!(output.status.success(), "{shown}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).with_context(|| format!("output of {shown}"))
}

/// The command as somebody would type it: the program without its folder.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
