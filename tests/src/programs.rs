//! Programs of other people that tests put the gateway's output through: `prometheus`, `promtool`, `jq`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::gateway::target_dir;

/// The program that `cargo xtask test` names in `WATCHGATE_PROMETHEUS` and the like, else the one that is installed or was unpacked from Debian's
/// package of this name. `None`, and a line that says so, where there is neither.
pub fn find(program: &str, package: &str) -> Option<PathBuf> {
    if let Some(told) = env::var_os(variable(program)) {
        return Some(told.into());
    }
    let unpacked = target_dir().join(package);
    let candidates = [PathBuf::from(program), unpacked.join("bin").join(program), unpacked.join("usr/bin").join(program)];
    let found = candidates.into_iter().find(|path| runs(path));
    if found.is_none() {
        eprintln!("{program} is not here; `cargo xtask test` fetches it");
    }
    found
}

/// The environment variable that names a program.
pub fn variable(program: &str) -> String {
    format!("WATCHGATE_{}", program.to_ascii_uppercase())
}

fn runs(program: &Path) -> bool {
    let quiet = |mut command: Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let mut command = Command::new(program);
    command.arg("--version");
    quiet(command).is_ok_and(|status| status.success())
}
