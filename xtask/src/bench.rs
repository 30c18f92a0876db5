//! `cargo xtask bench`: builds what is measured, fetches nginx, then becomes the benchmark.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use watchgate_tests::gateway::target_dir;

use crate::plugins;
use crate::workspace::{build_release, output, release_binary, run};

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
    let nginx = nginx()?;
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

/// nginx as it is installed, else Debian's unpacked under the target folder: as a package it would start a server of its own.
fn nginx() -> Result<PathBuf> {
    let unpacked = target_dir().join("nginx");
    let ours = unpacked.join("usr/sbin/nginx");
    for candidate in [PathBuf::from("nginx"), PathBuf::from("/usr/sbin/nginx"), ours.clone()] {
        if runs(&candidate) {
            return Ok(candidate);
        }
    }
    install(&unpacked).context("the figures are ratios to nginx; install nginx, or run this where apt-get can fetch Debian's")?;
    ensure!(runs(&ours), "Debian's nginx does not run from {}; install nginx", unpacked.display());
    Ok(ours)
}

fn runs(nginx: &PathBuf) -> bool {
    output(Command::new(nginx).arg("-v")).is_ok()
}

fn install(folder: &PathBuf) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let download = || run(Command::new("apt-get").args(["download", "--quiet", "nginx"]).current_dir(folder));
    // A fresh machine has no lists of packages yet; only root may fetch them.
    download().or_else(|_| run(Command::new("apt-get").args(["update", "--quiet"])).and_then(|()| download()))?;
    let mut packages = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    let package = packages.find(is_package).context("apt-get downloaded no package")?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(folder))
}
