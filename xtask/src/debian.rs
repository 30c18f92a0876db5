//! Programs of other people, as Debian packs them: unpacked under the target folder, because installed packages would start servers of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use watchgate_tests::gateway::target_dir;

use crate::workspace::{output, run};

/// A program and the package it is in.
pub struct Program {
    /// The package's name.
    pub package: &'static str,
    /// The packages with the libraries that it is linked with and a bare machine lacks.
    pub libraries: &'static [&'static str],
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
        // With libraries of its own it is started by a script of the same name.
        let ours = unpacked.join(if self.libraries.is_empty() { self.path.to_owned() } else { format!("bin/{}", self.name()) });
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
        for package in [self.package].iter().chain(self.libraries) {
            let download = || run(Command::new("apt-get").args(["download", "--quiet", package]).current_dir(folder));
            // A fresh machine has no lists of packages yet; only root may fetch them.
            download().or_else(|_| run(Command::new("apt-get").args(["update", "--quiet"])).and_then(|()| download()))?;
        }
        let packages = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let packages: Vec<PathBuf> = packages.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect();
        ensure!(packages.len() > self.libraries.len(), "apt-get downloaded no package");
        for package in &packages {
            run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder))?;
        }
        if self.libraries.is_empty() { Ok(()) } else { self.write_script(folder) }
    }

    fn write_script(&self, folder: &Path) -> Result<()> {
        let script = folder.join("bin").join(self.name());
        fs::create_dir_all(folder.join("bin"))?;
        let libraries = folder.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let program = folder.join(self.path);
        fs::write(&script, format!("#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n", libraries.display(), program.display()))?;
        Ok(fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?)
    }
}
