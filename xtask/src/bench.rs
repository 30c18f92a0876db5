//! `cargo xtask bench`: builds what is measured, fetches nginx, then becomes the benchmark.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use crate::debian::Program;
use crate::plugins;
use crate::workspace::{build_release, release_binary};

/// What the gateway is measured against.
const NGINX: Program = Program { package: "nginx", libraries: &[], path: "usr/sbin/nginx", harmless: "-v" };

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct BenchArguments {
    /// Measure only these: `throughput`, `half-load`, `sse`, `neighbours`, `reload`, `idle`; or `soak`, which is measured only when it is named.
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// How long each row of the table is measured; 6 seconds, and 10 minutes for `soak`, when it is not said.
    #[arg(long)]
    pub seconds: Option<u64>,
}

/// Runs the benchmark in the place of this process.
///
/// # Errors
/// When something does not build, or nginx cannot be had.
pub fn bench(arguments: &BenchArguments) -> Result<()> {
    let components = plugins::build()?;
    let nginx = NGINX.find().context("the figures are ratios to nginx")?;
    build_release()?;
    let mut command = Command::new(release_binary("watchgate-bench"));
    command.arg("run").arg("--plugins").arg(components.plugins).arg("--guests").arg(components.guests).arg("--nginx").arg(nginx);
    command.args(&arguments.scenarios);
    if let Some(seconds) = arguments.seconds {
        command.args(["--seconds", &seconds.to_string()]);
    }
    if let Some(file) = &arguments.json {
        command.arg("--json").arg(file);
    }
    Err(anyhow!(command.exec()).context("cannot run the benchmark"))
}
