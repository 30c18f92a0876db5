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
use crate::scenarios::{SCENARIOS, Setting};

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
    /// How long each row is measured.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure only this scenario. May be repeated.
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<String>,
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
    for name in &arguments.only {
        let known = SCENARIOS.map(|(known, _)| known);
        ensure!(known.contains(&name.as_str()), "there is no scenario {name}; there are {}", known.join(", "));
    }
    let setting = Setting {
        plugins: arguments.plugins.clone(),
        guests: arguments.guests.clone(),
        nginx: arguments.nginx.clone(),
        duration: Duration::from_secs(arguments.seconds),
        upstream: upstream::Upstream::start()?,
    };
    let mut report = Report::new(machine::describe(&arguments.nginx));
    println!("{}", machine::in_words(&arguments.nginx));
    for (name, scenario) in SCENARIOS {
        if arguments.only.is_empty() || arguments.only.iter().any(|wanted| wanted == name) {
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
