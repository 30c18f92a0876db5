//! The whole product at work: a sample MCP server, the gateway with the stock plugins in front of it, real clients, and a check of
//! everything that this shows.
#![expect(clippy::print_stdout, reason = "telling what happens is the purpose of a demo")]

mod alert_receiver;
mod calls;
mod checks;
mod clients;
mod loopback;
mod recorder;
mod sample_server;
mod secrets;
mod set_up;
mod story;
mod swap;
mod telling;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Shows Watchgate at work.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder with the four stock plugins.
    #[arg(long, value_name = "DIR")]
    plugins: PathBuf,
    /// End by itself, with exit code 0 only if everything happened as it should.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match story::tell(&arguments.plugins, arguments.once).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
