//! The binary `watchgate`: command line and file -> settings -> rooms -> serve -> drain.

mod changes;
mod cli;
mod commands;
mod complaint;
mod config_watch;
mod effective;
mod file;
mod guard_defaults;
mod listeners;
mod reload;
mod rooms;
mod run;
mod server_url;
mod settings;
mod signals;

use std::process::ExitCode;

/// jemalloc keeps memory flat over thousands of plugin generations, where glibc's arenas fragment.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// `EX_USAGE` of sysexits.h: the command line or the configuration is wrong, and nothing was started.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match cli::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // To stdout with success for `--help` and `--version`; a closed pipe there is nobody's problem.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let settings = match settings::load(&arguments).settings {
        Ok(settings) => settings,
        Err(complaints) => {
            for complaint in complaints {
                eprintln!("watchgate: {complaint}");
            }
            return ExitCode::from(USAGE);
        }
    };
    match run::run(arguments, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watchgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
