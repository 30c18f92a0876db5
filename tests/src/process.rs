//! Child processes whose output goes to files, and which never outlive their test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::{DEADLINE, wait_for};

/// A running program with its stdout and stderr in files; dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command` with `NAME.stdout` and `NAME.stderr` in `directory`.
    ///
    /// # Errors
    /// When the program cannot be started or the files not written.
    pub fn start(name: &str, command: &mut Command, directory: &Path) -> Result<Self> {
        let stdout = directory.join(format!("{name}.stdout"));
        let stderr = directory.join(format!("{name}.stderr"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Waits for the first line, of stdout or stderr, that contains `mark`, and gives the word
    /// that follows the mark.
    ///
    /// # Errors
    /// When the program ends before, or [`DEADLINE`] passes.
    pub fn announced(&mut self, mark: &str) -> Result<String> {
        let found = wait_for(DEADLINE, || {
            let ended = self.child.try_wait().ok().flatten();
            let output = self.stdout() + &self.stderr();
            let word = complete_lines(&output)
                .find_map(|line| line.split_once(mark))
                .and_then(|(_, rest)| rest.split_whitespace().next())
                .map(str::to_owned);
            match (word, ended) {
                (Some(word), _) => Some(Ok(word)),
                (None, Some(status)) => Some(Err(status)),
                (None, None) => None,
            }
        });
        match found {
            Some(Ok(word)) => Ok(word),
            Some(Err(status)) => bail!("{} ended ({status}) before it said {mark:?}\n{}", self.name, self.output()),
            None => bail!("{} never said {mark:?}\n{}", self.name, self.output()),
        }
    }

    /// The end of both outputs, for an error message.
    pub fn output(&self) -> String {
        format!("--- {0} stdout\n{1}--- {0} stderr\n{2}", self.name, tail(&self.stdout()), tail(&self.stderr()))
    }

    /// Sends SIGTERM, without waiting.
    ///
    /// # Errors
    /// When the process has ended already.
    pub fn ask_to_end(&mut self) -> Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Sends SIGHUP, without waiting.
    ///
    /// # Errors
    /// When the process has ended already.
    pub fn hang_up(&mut self) -> Result<()> {
        self.signal(libc::SIGHUP)
    }

    fn signal(&mut self, signal: libc::c_int) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended before it was sent a signal ({status})\n{}", self.name, self.output());
        }
        let id = libc::pid_t::try_from(self.child.id()).expect("the kernel hands out process ids that fit");
        // SAFETY: kill takes two integers. The id is that of our own child, which has not been
        // waited for, so it cannot be another process's.
        unsafe { libc::kill(id, signal) };
        Ok(())
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the program to end by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match wait_for(limit, || self.child.try_wait().transpose()) {
            Some(status) => Ok(status?),
            None => bail!("{} still runs after {limit:?}\n{}", self.name, self.output()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.output());
        }
        // Both fail only when the process has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The last lines: enough to see what went wrong last, without burying the message above them.
fn tail(text: &str) -> String {
    const LINES: usize = 30;
    let skipped = text.lines().count().saturating_sub(LINES);
    text.split_inclusive('\n').skip(skipped).collect()
}

/// The lines that have their line end: the last one may still be in the making.
fn complete_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}
