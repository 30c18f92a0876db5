//! How the story looks on a terminal.

use std::io::{IsTerminal, stdout};

/// Begins a part of the story.
pub fn part(title: &str) {
    println!("\n{}", strong(title));
}

/// A line under a part: what, and what about it. Further lines of `about` are indented alike.
pub fn line(what: &str, about: &str) {
    let mut what = what;
    for row in about.lines() {
        println!("  {what:<26} {row}");
        what = "";
    }
}

/// A check and what came of it.
pub fn verdict(what: &str, outcome: &Result<String, String>) {
    match outcome {
        Ok(proof) => println!("  {} {what} ({proof})", strong("ok  ")),
        Err(problem) => println!("  {} {what}: {problem}", strong("FAIL")),
    }
}

fn strong(text: &str) -> String {
    if stdout().is_terminal() { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}
