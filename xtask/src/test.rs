//! `cargo xtask test`: every test of the workspace, with what the tests need.

use anyhow::{Context, Result};
use watchgate_tests::gateway::target_dir;
use watchgate_tests::peers;

use crate::debian::Program;
use crate::plugins;
use crate::workspace::{build_release, dev_tests, release_tests, run};

/// Checks what `/metrics` serves, in a test of `watchgate-telemetry`.
const PROMTOOL: Program = Program { package: "prometheus", path: "usr/bin/promtool", harmless: "--version" };
/// Tells that test where it is; without the variable it looks around, and without the program it checks nothing.
const PROMTOOL_VARIABLE: &str = "WATCHGATE_PROMTOOL";

/// Which tests run.
#[derive(Debug, clap::Args)]
pub struct TestArguments {
    /// Leave out the tests with the official MCP clients and servers and with Prometheus, which need Node, Python, npm, PyPI and apt-get.
    #[arg(long)]
    pub no_peers: bool,
}

/// Runs the tests.
///
/// # Errors
/// When the peers cannot be installed, something does not build, or a test fails.
pub fn test(arguments: &TestArguments) -> Result<()> {
    let mut small = dev_tests();
    if !arguments.no_peers {
        // Before anything is built: whoever has no Node should not wait for a compiler to hear it.
        let without = "to run all other tests: cargo xtask test --no-peers";
        peers::install(&target_dir()).context(without)?;
        small.env(PROMTOOL_VARIABLE, PROMTOOL.find().context(without)?);
    }
    plugins::build()?;
    build_release()?;
    // All of them even after a failure, so that one run names everything that is broken.
    let small = run(small.arg("--no-fail-fast"));
    let mut tests = release_tests();
    tests.arg("--no-fail-fast");
    if arguments.no_peers {
        tests.args(["--", "--skip", "peers::", "--skip", "conformance::", "--skip", "http_sse::"]);
    }
    run(&mut tests).and(small)
}
