//! The binary `watchgate`: command line and file -> settings -> rooms -> serve -> drain; and the commands that ask a running one.

mod caution;
mod changes;
mod cli;
mod commands;
mod complaint;
mod config_watch;
mod descriptors;
mod effective;
mod file;
mod guard_defaults;
mod known_series;
mod listeners;
mod operator;
mod own_checks;
mod reload;
mod rooms;
mod run;
mod server_url;
mod settings;
mod signals;

use std::process::ExitCode;

use cli::{Command, RunArguments};

/// jemalloc keeps memory flat over thousands of plugin generations, where glibc's arenas fragment.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by jemalloc before `main`: it can record who allocates, and does so only while an operator takes a heap profile.
// SAFETY: jemalloc declares the symbol as a pointer to a C string, with which a slice begins; nobody else exports it.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8] = b"prof:true,prof_active:false,lg_prof_sample:19\0";

/// `EX_USAGE` of sysexits.h: the command line or the configuration is wrong, and nothing was started.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(Command::Run(arguments)) => serve(arguments),
        Ok(Command::Trace(arguments)) => operator::trace(&arguments),
        Ok(Command::Logs(arguments)) => operator::logs(&arguments),
        Ok(Command::Metrics(arguments)) => operator::metrics(&arguments),
        Ok(Command::Health(arguments)) => operator::health(&arguments),
        Err(error) => {
            // To stdout with success for `--help` and `--version`; a closed pipe there is nobody's problem.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

fn serve(arguments: RunArguments) -> ExitCode {
    // Before the settings, which look at what came of it.
    descriptors::raise();
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
            if run::is_of_configuration(&error) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}
