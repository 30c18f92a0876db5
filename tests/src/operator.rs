//! The commands with which an operator asks a running gateway.

use std::env;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::gateway::{Exit, Gateway, binary};
use crate::process::Process;
use crate::wait::DEADLINE;

/// A command that runs on; dropping it kills it.
pub struct Following {
    /// Its output so far, and its end.
    pub process: Process,
    _directory: TempDir,
}

/// Starts `watchgate ARGS` against whatever answers at this address.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
pub fn keep_asking_at(admin: SocketAddr, args: &[&str]) -> Following {
    start(&admin.to_string(), None, args).unwrap_or_else(|error| panic!("watchgate {args:?}: {error:#}"))
}

impl Gateway {
    /// Runs `watchgate ARGS` against this gateway to its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn ask(&self, args: &[&str]) -> Exit {
        self.ask_as(None, args)
    }

    /// As [`Gateway::ask`], with the admin token.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn ask_as(&self, token: Option<&str>, args: &[&str]) -> Exit {
        let ended = start(&self.admin.to_string(), token, args).and_then(|mut following| {
            let status = following.process.wait(DEADLINE)?;
            Ok(Exit { code: status.code(), stdout: following.process.stdout(), stderr: following.process.stderr() })
        });
        ended.unwrap_or_else(|error| panic!("watchgate {args:?}: {error:#}"))
    }

    /// Starts `watchgate ARGS` against this gateway.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn keep_asking(&self, args: &[&str]) -> Following {
        keep_asking_at(self.admin, args)
    }
}

fn start(admin: &str, token: Option<&str>, args: &[&str]) -> Result<Following> {
    let directory = TempDir::new()?;
    let mut command = Command::new(binary()?);
    command.current_dir(directory.path()).env_clear().env("WATCHGATE_ADMIN", admin);
    for name in ["PATH", "LD_LIBRARY_PATH", "RUST_BACKTRACE"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(token.map(|token| ("WATCHGATE_ADMIN_TOKEN", token)));
    let process = Process::start("operator", command.args(args), directory.path())?;
    Ok(Following { process, _directory: directory })
}
