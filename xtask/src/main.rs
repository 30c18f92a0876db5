//! `cargo xtask`: everything that is done to this project, in the same words on every machine.
//!
//! | command | what for |
//! |---|---|
//! | `demo` | the whole product at work, with its own set-up |
//! | `test` | every test, with what the tests need |
//! | `ci` | what must pass before a change goes in |
//! | `plugins` | only the components |
//! | `bench` | figures beside nginx's, in one run |
//! | `tidy` | what neither the compiler nor a test looks at |

mod bench;
mod ci;
mod debian;
mod demo;
mod plugins;
mod stage;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds everything and shows the gateway at work, until Ctrl-C.
    Demo(demo::DemoArguments),
    /// Builds everything and runs every test.
    Test(test::TestArguments),
    /// Checks formatting, lints and tidiness, runs the tests, and the demo once.
    Ci,
    /// Builds the plugins and the guests of the tests into `target/plugins` and `target/guests`.
    Plugins,
    /// Measures the gateway beside nginx.
    Bench(bench::BenchArguments),
    /// Checks the rules of the house.
    Tidy(tidy::TidyArguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Test(arguments) => test::test(&arguments),
        Command::Ci => ci::ci(),
        Command::Plugins => plugins::build().map(|_| ()),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Tidy(arguments) => tidy::tidy(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
