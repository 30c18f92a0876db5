//! `cargo xtask ci`: everything that must pass before a change goes in, cheapest first.

use anyhow::Result;

use crate::stage::Stages;
use crate::tidy::{TidyArguments, tidy};
use crate::workspace::{cargo, run};
use crate::{demo, test};

/// Runs all stages up to the first that fails, and says how long each took.
///
/// # Errors
/// The first stage's that fails.
pub fn ci() -> Result<()> {
    let mut stages = Stages::default();
    let outcome = all(&mut stages);
    eprintln!("\n{}", stages.report());
    outcome
}

fn all(stages: &mut Stages) -> Result<()> {
    stages.run("fmt", || run(cargo("fmt").args(["--all", "--check"])))?;
    stages.run("tidy", || tidy(&TidyArguments { fix: false }))?;
    stages.run("clippy", clippy)?;
    stages.run("test", || test::test(&test::TestArguments { no_peers: false }))?;
    stages.run("demo", demo::demo_once)
}

/// In release, so that build scripts and procedural macros are those of the later stages.
fn clippy() -> Result<()> {
    run(cargo("clippy").args(["--release", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))
}
