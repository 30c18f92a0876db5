//! `cargo xtask tidy`: the rules of the house that neither the compiler nor a test can hold.

mod documents;
mod functions;
mod packages;
mod reference;
mod rooms;
mod sources;
mod tracked;
mod wit;

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{output, root};

/// What tidy does about what it finds.
#[derive(Debug, clap::Args)]
pub struct TidyArguments {
    /// Write what is generated (`docs/telemetry.md`, the reference in `docs/proxying.md`) instead of complaining that it is out of date.
    #[arg(long)]
    pub fix: bool,
}

/// A text file that git tracks, or would.
pub struct Source {
    /// Its path in the repository, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// One broken rule and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// A path in the repository.
    pub path: String,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, as a sentence without its full stop.
    pub text: String,
}

impl Complaint {
    /// A complaint about one line, counted from 1.
    pub fn at(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into() }
    }

    /// A complaint about a file as a whole.
    pub fn file(path: &str, text: impl Into<String>) -> Self {
        Self::at(path, 0, text)
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Checks every rule.
///
/// # Errors
/// When one is broken; all broken ones are printed.
pub fn tidy(arguments: &TidyArguments) -> Result<()> {
    let files = tracked_files()?;
    let mut complaints = reference::check(arguments.fix)?;
    complaints.extend(rooms::check(&files)?);
    complaints.extend(packages::check(&files)?);
    for file in &files {
        complaints.extend(tracked::check(file));
        match file.path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("rs") => complaints.extend(sources::check(file).into_iter().chain(functions::check(file))),
            Some("wit") => complaints.extend(wit::check(file)),
            Some("md") => complaints.extend(documents::check(file)),
            _ => {}
        }
    }
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        1 => bail!("one rule is broken"),
        many => bail!("{many} rules are broken"),
    }
}

/// Every text file that is tracked, or that is new and not ignored.
fn tracked_files() -> Result<Vec<Source>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = output(&mut git).context("tidy looks at what git tracks")?;
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    // A file that cannot be read as text is an image, or is deleted and not yet committed.
    let read = |path: &str| Some(Source { path: path.to_owned(), text: fs::read_to_string(absolute(path)).ok()? });
    Ok(paths.into_iter().filter_map(read).collect())
}

/// A path of the repository on this machine.
fn absolute(path: &str) -> PathBuf {
    root().join(path)
}

/// The lines of a text, numbered from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Runs a check over a text and gives the lines that it complains about.
#[cfg(test)]
fn lines_complained_about(check: fn(&Source) -> Vec<Complaint>, path: &str, text: &str) -> Vec<usize> {
    let source = Source { path: path.to_owned(), text: text.to_owned() };
    check(&source).into_iter().map(|complaint| complaint.line).collect()
}
