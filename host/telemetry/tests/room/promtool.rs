//! What Prometheus itself says about a scrape.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use watchgate_telemetry::AccessLogTarget;

use crate::everything::say_everything;
use crate::scene;

/// Where `cargo xtask test` says that the program is; a path that does not work is an error then.
const VARIABLE: &str = "WATCHGATE_PROMTOOL";

/// The program, if the machine has it.
fn promtool() -> Option<PathBuf> {
    if let Some(told) = std::env::var_os(VARIABLE) {
        return Some(told.into());
    }
    // target/debug/deps/THIS
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_path_buf();
    let runs = |path: &PathBuf| Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success());
    [PathBuf::from("promtool"), target.join("prometheus/usr/bin/promtool")].into_iter().find(runs)
}

/// What `promtool check metrics` complains about.
fn complaints(promtool: &PathBuf, text: &str) -> String {
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(output.status.success(), said.is_empty());
    String::from_utf8(said).unwrap()
}

#[test]
fn prometheus_has_nothing_to_complain_about() {
    let Some(promtool) = promtool() else {
        eprintln!("promtool is not here; `cargo xtask test` fetches it");
        return;
    };
    let telemetry = scene::telemetry(AccessLogTarget::Off);
    let _held = say_everything(&telemetry);
    let text = telemetry.render_prometheus();
    assert_eq!(complaints(&promtool, &text), "");
    let bad = text.replace("watchgate_http_requests_total", "watchgate_http_requests");
    assert!(complaints(&promtool, &bad).contains("_total"), "it does complain");
}
