//! `cargo xtask demo`: builds what the demo shows, then becomes it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::plugins;
use crate::workspace::{build_release, release_binary, run};

/// How the demo runs.
#[derive(Debug, clap::Args)]
pub struct DemoArguments {
    /// End by itself, with exit code 0 only if everything happened as it should.
    #[arg(long)]
    pub once: bool,
}

/// Runs the demo in the place of this process, so that Ctrl-C and the exit code are its own.
///
/// # Errors
/// When something does not build.
pub fn demo(arguments: &DemoArguments) -> Result<()> {
    let mut command = prepare(arguments.once)?;
    Err(anyhow!(command.exec()).context("cannot run the demo"))
}

/// Runs the demo once.
///
/// # Errors
/// When something does not build, or did not happen as it should.
pub fn demo_once() -> Result<()> {
    run(&mut prepare(true)?)
}

fn prepare(once: bool) -> Result<Command> {
    let components = plugins::build()?;
    build_release()?;
    let mut command = Command::new(release_binary("watchgate-demo"));
    command.arg("--plugins").arg(components.plugins);
    if once {
        command.arg("--once");
    }
    Ok(command)
}
