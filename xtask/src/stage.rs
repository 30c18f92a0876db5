//! A run in named stages: says which one is going on, and at the end how long each took.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The stages that are over.
#[derive(Default)]
pub struct Stages {
    done: Vec<(&'static str, Duration)>,
}

impl Stages {
    /// Runs one stage.
    ///
    /// # Errors
    /// The stage's own, with its name.
    pub fn run(&mut self, name: &'static str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let outcome = stage();
        self.done.push((name, start.elapsed()));
        outcome.with_context(|| format!("stage `{name}`"))
    }

    /// One line a stage, and the sum.
    pub fn report(&self) -> String {
        let mut out = String::new();
        let sum = self.done.iter().map(|(_, took)| *took).sum();
        for (name, took) in self.done.iter().copied().chain([("all", sum)]) {
            writeln!(out, "{name:<10} {:>3} m {:>4.1} s", took.as_secs() / 60, took.as_secs_f64() % 60.0).expect("a String takes any text");
        }
        out
    }
}
