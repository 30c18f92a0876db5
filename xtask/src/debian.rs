//! Programs of other people, as Debian packs them: unpacked under the target folder, because installed packages would start servers of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use watchgate_tests::gateway::target_dir;

use crate::workspace::{output, run};

/// A program and the package it is in.
pub struct Program {
    /// The package's name.
    pub package: &'static str,
    /// Where the package puts the program, without the first `/`.
    pub path: &'static str,
    /// An argument with which it succeeds and does nothing.
    pub harmless: &'static str,
}

impl Program {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// The program as it is installed, else as it was unpacked before, else unpacked now.
    ///
    /// # Errors
    /// When it is not installed and cannot be fetched, or does not run here.
    pub fn find(&self) -> Result<PathBuf> {
        let unpacked = target_dir().join(self.package);
        let ours = unpacked.join(self.path);
        for candidate in [PathBuf::from(self.name()), Path::new("/").join(self.path), ours.clone()] {
            if self.runs(&candidate) {
                return Ok(candidate);
            }
        }
        self.unpack(&unpacked).with_context(|| format!("install {}, or run this where apt-get can fetch Debian's", self.package))?;
        ensure!(self.runs(&ours), "Debian's {} does not run from {}; install it", self.package, unpacked.display());
        Ok(ours)
    }

    fn runs(&self, program: &Path) -> bool {
        output(Command::new(program).arg(self.harmless)).is_ok()
    }

    fn unpack(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let download = || run(Command::new("apt-get").args(["download", "--quiet", self.package]).current_dir(folder));
        // A fresh machine has no lists of packages yet; only root may fetch them.
        download().or_else(|_| run(Command::new("apt-get").args(["update", "--quiet"])).and_then(|()| download()))?;
        let mut packages = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
        let package = packages.find(is_package).context("apt-get downloaded no package")?;
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(folder))
    }
}
