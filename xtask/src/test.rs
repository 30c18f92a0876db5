//! `cargo xtask test`: every test of the workspace, with what the tests need.

use anyhow::{Context, Result};
use watchgate_tests::gateway::target_dir;
use watchgate_tests::{peers, programs};

use crate::debian::Program;
use crate::plugins;
use crate::workspace::{build_release, dev_tests, release_tests, run};

/// What tests put the gateway's output through. They are told where it is; otherwise they look around, and check nothing where it is not.
const PROGRAMS: [Program; 3] = [
    Program { package: "prometheus", libraries: &[], path: "usr/bin/promtool", harmless: "--version" },
    Program { package: "prometheus", libraries: &[], path: "usr/bin/prometheus", harmless: "--version" },
    Program { package: "jq", libraries: &["libjq1", "libonig5"], path: "usr/bin/jq", harmless: "--version" },
];

/// The end-to-end tests with official clients and servers.
const WITH_PEERS: [&str; 5] = ["peers::", "peers_guarded::", "conformance::", "http_sse::", "joined_traces::"];

/// Which tests run.
#[derive(Debug, clap::Args)]
pub struct TestArguments {
    /// Leave out the tests with the official MCP clients and servers and with Prometheus and jq, which need Node, Python, npm, PyPI and apt-get.
    #[arg(long)]
    pub no_peers: bool,
}

/// Runs the tests.
///
/// # Errors
/// When the peers cannot be installed, something does not build, or a test fails.
pub fn test(arguments: &TestArguments) -> Result<()> {
    let (mut small, mut tests) = (dev_tests(), release_tests());
    if !arguments.no_peers {
        // Before anything is built: whoever has no Node should not wait for a compiler to hear it.
        let without = "to run all other tests: cargo xtask test --no-peers";
        peers::install(&target_dir()).context(without)?;
        for program in &PROGRAMS {
            let (variable, path) = (programs::variable(program.name()), program.find().context(without)?);
            small.env(&variable, &path);
            tests.env(&variable, &path);
        }
    }
    plugins::build()?;
    build_release()?;
    // All of them even after a failure, so that one run names everything that is broken.
    let small = run(small.arg("--no-fail-fast"));
    tests.arg("--no-fail-fast");
    if arguments.no_peers {
        tests.arg("--");
        for module in WITH_PEERS {
            tests.args(["--skip", module]);
        }
    }
    run(&mut tests).and(small)
}
