//! The commands that ask a running gateway, and how they end.

mod client;
mod exposition;
mod failure;
mod health;
mod logs;
mod metrics;
mod metrics_view;
mod printable;
mod scrapes;
mod threshold;
mod trace;
mod trace_list;
mod waterfall;

use std::process::ExitCode;

use failure::Failure;
pub use health::HealthArguments;
pub use logs::LogsArguments;
pub use metrics::MetricsArguments;
pub use trace::TraceArguments;

/// `watchgate trace`.
pub fn trace(arguments: &TraceArguments) -> ExitCode {
    run(trace::run(arguments))
}

/// `watchgate logs`.
pub fn logs(arguments: &LogsArguments) -> ExitCode {
    run(logs::run(arguments))
}

/// `watchgate metrics`.
pub fn metrics(arguments: &MetricsArguments) -> ExitCode {
    run(metrics::run(arguments))
}

/// `watchgate health`.
pub fn health(arguments: &HealthArguments) -> ExitCode {
    run(health::run(arguments))
}

fn run(command: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("watchgate: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command) {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("watchgate: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
