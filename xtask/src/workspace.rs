//! Where things are in the workspace, and how Cargo is called: always with the same selection of packages, so that `test`, `demo` and
//! `bench` share one build of wasmtime.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub use watchgate_tests::gateway::target_dir;

/// The packages that link wasmtime or are run as programs. Every release build is for all of them, because with another selection Cargo may
/// choose other features and build wasmtime again. The others are tested in the dev profile: linking some forty small test programs with
/// link-time optimisation takes a quarter of an hour and proves nothing more.
pub const RELEASED: [&str; 6] =
    ["watchgate", "watchgate-sandbox", "watchgate-catalog", "watchgate-demo", "watchgate-tests", "watchgate-bench"];

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

/// Builds every program in release, and in such a way that [`release_tests`] afterwards builds no dependency again: a test is among the targets (the
/// end-to-end tests, which link nothing big), because only then do the features that dev-dependencies ask for count.
///
/// # Errors
/// When the build fails.
pub fn build_release() -> Result<()> {
    run(cargo("build").arg("--release").args(each("--package")).args(["--bins", "--test", "e2e"]))
}

/// `cargo test` of the same packages, without examples and documentation tests, which would link wasmtime once more each.
pub fn release_tests() -> Command {
    let mut command = cargo("test");
    command.arg("--release").args(each("--package")).args(["--lib", "--bins", "--tests"]);
    command
}

/// `cargo test` of all other packages, in the dev profile.
pub fn dev_tests() -> Command {
    let mut command = cargo("test");
    command.arg("--workspace").args(each("--exclude"));
    command
}

/// One flag before each of [`RELEASED`].
fn each(flag: &'static str) -> impl Iterator<Item = &'static str> {
    RELEASED.into_iter().flat_map(move |package| [flag, package])
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
