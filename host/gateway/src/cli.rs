//! The command line. Flags win over the environment, which wins over the file.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::operator::{HealthArguments, LogsArguments, MetricsArguments, TraceArguments};

/// An observability gateway in front of MCP servers, with WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "watchgate", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the gateway until SIGTERM or SIGINT.
    Run(RunArguments),
    /// Draws a trace of a running gateway, or lists the recent ones.
    Trace(TraceArguments),
    /// Prints the logs of a running gateway.
    Logs(LogsArguments),
    /// Prints the metrics of a running gateway, or holds them against a threshold.
    Metrics(MetricsArguments),
    /// Tells how a running gateway stands. Exits with 1 when it fails.
    Health(HealthArguments),
}

/// What `watchgate run` was told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RunArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "WATCHGATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Address for client traffic [default: 127.0.0.1:8080]. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR", env = "WATCHGATE_LISTEN")]
    pub listen: Option<String>,
    /// Address for operators [default: 127.0.0.1:9090]. May be written as the URL by which the other commands are told of it.
    #[arg(long, value_name = "ADDR", env = "WATCHGATE_ADMIN", value_parser = of_url)]
    pub admin: Option<String>,
    /// An MCP server: a URL gets every path; NAME=URL is mounted at /NAME/. Replaces the servers of the file.
    #[arg(long, value_name = "[NAME=]URL", env = "WATCHGATE_UPSTREAM", value_delimiter = ',')]
    pub upstream: Vec<String>,
    /// The plugin folder [default: ./plugins, if it exists].
    #[arg(long, value_name = "DIR", env = "WATCHGATE_PLUGINS")]
    pub plugins: Option<PathBuf>,
    /// A plugin without which no traffic passes. Adds to those of the file.
    #[arg(long, value_name = "NAME", env = "WATCHGATE_REQUIRE", value_delimiter = ',')]
    pub require: Vec<String>,
    /// Where access lines go: a file, `-` for stdout, or `off` [default: -].
    #[arg(long, value_name = "FILE|-|off", env = "WATCHGATE_ACCESS_LOG")]
    pub access_log: Option<String>,
    /// The gateway's own log on stderr: error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL", env = "WATCHGATE_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// Its format: pretty or json [default: pretty].
    #[arg(long, value_name = "FORMAT", env = "WATCHGATE_LOG_FORMAT")]
    pub log_format: Option<String>,
}

/// `HOST:PORT` of `http://HOST:PORT/`; anything else is left for who reads addresses.
#[expect(clippy::unnecessary_wraps, reason = "what clap takes")]
fn of_url(text: &str) -> Result<String, Infallible> {
    Ok(text.strip_prefix("http://").map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest)).to_owned())
}

/// Reads the command line.
///
/// # Errors
/// clap's own, which also stand for `--help` and `--version`.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    Ok(Cli::try_parse_from(arguments)?.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_address_may_be_a_url() {
        let check = |admin: &str, expected: &str| {
            let Ok(Command::Run(arguments)) = parse(["watchgate", "run", "--admin", admin].map(OsString::from)) else { panic!("{admin}") };
            assert_eq!(arguments.admin.as_deref(), Some(expected));
        };
        check("127.0.0.1:9090", "127.0.0.1:9090");
        check("http://127.0.0.1:9090", "127.0.0.1:9090");
        check("http://[::1]:9090/", "[::1]:9090");
        check("https://h:1", "https://h:1");
    }
}
