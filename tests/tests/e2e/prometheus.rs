//! A real Prometheus scrapes the gateway by the configuration of the example, and answers the queries of the documentation.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use watchgate_tests::reference::workspace;
use watchgate_tests::wait::wait_for;
use watchgate_tests::{DEADLINE, Prometheus, programs};

use crate::contract::scene::Scene;

/// The example's configuration.
fn config() -> String {
    fs::read_to_string(workspace().join("examples/prometheus/prometheus.yml")).unwrap()
}

/// The queries of `docs/operations.md`: what stands in its `promql` block, lines that are indented belonging to the one before.
fn queries() -> Vec<String> {
    let page = fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    let block = page.split("```promql\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the page has queries");
    let mut queries: Vec<String> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match queries.last_mut() {
            Some(last) if line.starts_with(' ') => last.push_str(line),
            _ => queries.push(line.to_owned()),
        }
    }
    queries
}

#[test]
fn the_documented_queries_are_answered() {
    let Some(program) = programs::find("prometheus", "prometheus") else { return };
    let mut scene = Scene::start();
    let config = config().replace("127.0.0.1:9090", &scene.gateway.admin.to_string()).replace("15s", "200ms");
    let prometheus = Prometheus::start(&program, &config).unwrap();
    scene.play();
    fs::write(scene.gateway.config_file(), "no_such_key = 1\n").unwrap();
    assert_eq!(scene.gateway.admin_post("/api/config/reload", "").status(), 422);
    let queries = queries();
    assert!(queries.len() > 10, "{queries:?}");
    let mut silent: Vec<&String> = queries.iter().collect();
    let answered = wait_for(DEADLINE, || {
        // A rate is of what has risen between two scrapes, not of what was there at the first.
        scene.play_what_repeats();
        silent.retain(|query| !prometheus.query(query).unwrap().iter().any(|value| value.is_finite()));
        silent.is_empty().then_some(())
    });
    assert!(answered.is_some(), "Prometheus has no answer to {silent:#?}");
}

/// What `promtool check` complains about.
fn complaints(promtool: &Path, args: &[&str], stdin: Stdio) -> String {
    let checked = Command::new(promtool).arg("check").args(args).stdin(stdin).output().unwrap();
    assert_eq!(checked.status.success(), checked.stderr.is_empty(), "{checked:?}");
    String::from_utf8(checked.stderr).unwrap()
}

#[test]
fn promtool_has_nothing_to_complain_about() {
    let Some(promtool) = programs::find("promtool", "prometheus") else { return };
    let example = workspace().join("examples/prometheus/prometheus.yml");
    assert_eq!(complaints(&promtool, &["config", example.to_str().unwrap()], Stdio::null()), "");
    // What a gateway with all kinds of plugins serves, their own metrics included.
    let mut scene = Scene::start();
    scene.play();
    let scrape = scene.gateway.directory().join("scrape");
    fs::write(&scrape, scene.gateway.metrics().text()).unwrap();
    assert_eq!(complaints(&promtool, &["metrics"], File::open(&scrape).unwrap().into()), "");
}
