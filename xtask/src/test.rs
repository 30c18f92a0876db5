//! `cargo xtask test`: every test of the workspace, with what the tests need.

use anyhow::{Context, Result};
use watchgate_tests::gateway::target_dir;
use watchgate_tests::peers;

use crate::plugins;
use crate::workspace::{build_release, dev_tests, release_tests, run};

/// Which tests run.
#[derive(Debug, clap::Args)]
pub struct TestArguments {
    /// Leave out the tests with the official MCP clients and servers, which need Node, Python, npm and PyPI.
    #[arg(long)]
    pub no_peers: bool,
}

/// Runs the tests.
///
/// # Errors
/// When the peers cannot be installed, something does not build, or a test fails.
pub fn test(arguments: &TestArguments) -> Result<()> {
    if !arguments.no_peers {
        // Before anything is built: whoever has no Node should not wait for a compiler to hear it.
        peers::install(&target_dir()).context("to run all other tests: cargo xtask test --no-peers")?;
    }
    plugins::build()?;
    build_release()?;
    // All of them even after a failure, so that one run names everything that is broken.
    let small = run(dev_tests().arg("--no-fail-fast"));
    let mut tests = release_tests();
    tests.arg("--no-fail-fast");
    if arguments.no_peers {
        tests.args(["--", "--skip", "peers::"]);
    }
    run(&mut tests).and(small)
}
