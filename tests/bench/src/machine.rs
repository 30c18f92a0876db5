//! On what the figures were measured: a figure without its machine says nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// For the JSON report.
pub fn describe(nginx: &Path) -> Value {
    json!({
        "processor": processor(),
        "cores": cores(),
        "kernel": first_line("/proc/sys/kernel/osrelease"),
        "load_at_start": first_line("/proc/loadavg"),
        "nginx": nginx_version(nginx),
        "gateway": env!("CARGO_PKG_VERSION"),
    })
}

/// For people.
pub fn in_words(nginx: &Path) -> String {
    let (kernel, load) = (first_line("/proc/sys/kernel/osrelease"), first_line("/proc/loadavg"));
    format!("{} ({} cores), Linux {kernel}, {}, load {load}", processor(), cores(), nginx_version(nginx))
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

fn nginx_version(nginx: &Path) -> String {
    let output = Command::new(nginx).arg("-v").output();
    output.map(|output| String::from_utf8_lossy(&output.stderr).trim().replace("nginx version: ", "")).unwrap_or_default()
}
