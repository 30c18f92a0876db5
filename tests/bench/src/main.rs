//! The benchmark: the gateway beside nginx and nothing, with one load generator and one upstream, in one run.
#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod closed_loop;
mod cpu;
mod gateways;
mod latency;
mod machine;
mod nginx;
mod paced;
mod report;
mod scenarios;
mod upstream;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use crate::report::Report;
use crate::scenarios::{SCENARIOS, Setting, When};

/// How long a row is measured when it is not said.
const ROW: Duration = Duration::from_secs(6);
/// How long the soak lasts when it is not said.
const SOAK: Duration = Duration::from_secs(600);

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures.
    Run(RunArguments),
    /// The upstream, in a process of its own.
    Upstream,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// The folder with the stock plugins.
    #[arg(long, value_name = "DIR")]
    plugins: PathBuf,
    /// The folder with the guests of the tests.
    #[arg(long, value_name = "DIR")]
    guests: PathBuf,
    /// The program nginx.
    #[arg(long, value_name = "FILE")]
    nginx: PathBuf,
    /// How long each row is measured; 6 seconds, and 10 minutes for `soak`, when it is not said.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure only these scenarios.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(arguments) => measure(&arguments),
        Command::Upstream => upstream::serve(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &RunArguments) -> Result<()> {
    for name in &arguments.scenarios {
        let known = SCENARIOS.map(|(known, ..)| known);
        ensure!(known.contains(&name.as_str()), "there is no scenario {name}; there are {}", known.join(", "));
    }
    let setting = Setting {
        plugins: arguments.plugins.clone(),
        guests: arguments.guests.clone(),
        nginx: arguments.nginx.clone(),
        duration: arguments.seconds.map_or(ROW, Duration::from_secs),
        soak: arguments.seconds.map_or(SOAK, Duration::from_secs),
        upstream: upstream::Upstream::start()?,
    };
    let mut report = Report::new(machine::describe(&arguments.nginx));
    println!("{}", machine::in_words(&arguments.nginx));
    for (name, when, scenario) in SCENARIOS {
        let is_named = arguments.scenarios.iter().any(|wanted| wanted == name);
        if is_named || (arguments.scenarios.is_empty() && when == When::Always) {
            let section = scenario(&setting)?;
            println!("{}", section.table());
            report.add(name, &section);
        }
    }
    match &arguments.json {
        Some(file) => report.write(file),
        None => Ok(()),
    }
}
