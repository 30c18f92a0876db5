//! What settings files mean and how their mistakes are named.

use std::time::Duration;

use watchgate_hooks::PluginKind;
use watchgate_sandbox::Isolation;

use super::Manifest;

fn environment(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "s3cret".to_owned())
}

fn parse(text: &str) -> Manifest {
    Manifest::parse(text, &environment).unwrap()
}

/// Checks that a file is refused with just these complaints.
fn check_refused(text: &str, expected: &[(usize, &str)]) {
    let error = Manifest::parse(text, &environment).unwrap_err();
    let found: Vec<(usize, &str)> = error.complaints.iter().map(|complaint| (complaint.line, complaint.text.as_str())).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn every_key_is_read() {
    let manifest = parse(
        r#"
        required = true
        order = -5
        kinds = ["redaction", "health"]
        isolation = "call"
        interval = "1m"
        collect_interval = "5s"
        [config]
        classes = ["jwt"]
        depth = 3
        ratio = 0.5
        since = 2026-01-02
        token = { env = "TOKEN" }
        [config.nested]
        env = "plain"
        other = true
        [limits]
        cpu = "20ms"
        wall = "2s"
        memory = "32MiB"
        max_instances = 4
        max_calls = 10
        [grants]
        http = ["hooks.example.com:443", "[::1]:80", "127.0.0.1:9999", "example.com"]
        env = ["TOKEN", "NOT_SET"]
        mcp_client = ["weather"]
        "#,
    );
    let settings = &manifest.settings;
    assert!(manifest.required);
    assert_eq!(manifest.order, -5);
    assert_eq!(settings.kinds, Some([PluginKind::Redaction, PluginKind::Health].into()));
    assert_eq!(settings.isolation, Isolation::Call);
    assert_eq!((settings.health_interval, settings.collect_interval), (Duration::from_secs(60), Duration::from_secs(5)));
    assert_eq!((settings.limits.cpu, settings.limits.wall), (Some(Duration::from_millis(20)), Some(Duration::from_secs(2))));
    assert_eq!((settings.limits.memory_bytes, settings.limits.max_instances, settings.limits.max_calls), (32 << 20, 4, 10));
    assert_eq!(settings.grants.http, ["127.0.0.1:9999", "[::1]:80", "example.com", "hooks.example.com:443"]);
    assert_eq!(settings.grants.env, [("TOKEN".to_owned(), "s3cret".to_owned())].into());
    assert_eq!(settings.grants.mcp_client, ["weather"]);
    let config: serde_json::Value = serde_json::from_str(&settings.config_json).unwrap();
    let expected = serde_json::json!({
        "classes": ["jwt"], "depth": 3, "ratio": 0.5, "since": "2026-01-02", "token": "s3cret",
        "nested": {"env": "plain", "other": true},
    });
    assert_eq!(config, expected);
}

#[test]
fn an_empty_file_grants_nothing() {
    let manifest = parse("");
    assert!(!manifest.required);
    assert!(manifest.settings.grants.http.is_empty() && manifest.settings.grants.env.is_empty());
    assert_eq!(manifest.settings.config_json, "{}");
}

#[test]
fn secrets_are_not_shown() {
    let manifest = parse("config = { token = { env = \"TOKEN\" } }\ngrants = { env = [\"TOKEN\"] }");
    assert!(manifest.settings.config_json.contains("s3cret"));
    assert!(!format!("{manifest:?}").contains("s3cret"));
}

#[test]
fn every_mistake_is_named_with_its_line() {
    check_refused(
        "requird = true\norder = \"first\"\n[limits]\ncpu = \"20 ms\"\nmemroy = \"16MiB\"\nwall = 1\n[grants]\nhttp = [\"example.com:0\"]\n",
        &[
            (1, "unknown key `requird`; did you mean `required`?"),
            (2, "`order` must be an integer, not a value of type string"),
            (4, "`limits.cpu` must be a duration such as \"20ms\", \"10s\", \"5m\" or \"1h\", not \"20 ms\""),
            (5, "unknown key `limits.memroy`; did you mean `limits.memory`?"),
            (6, "`limits.wall` must be a duration such as \"20ms\", \"10s\", \"5m\" or \"1h\", not a value of type integer"),
            (8, "`grants.http` names \"example.com:0\", which is neither HOST:PORT nor HOST"),
        ],
    );
}

#[test]
fn values_out_of_range_are_refused() {
    check_refused("limits.cpu = \"0ms\"", &[(1, "`limits.cpu` must lie between 1ms and 10s")]);
    check_refused("limits.max_instances = 0", &[(1, "`limits.max_instances` must lie in 1..=1000")]);
    check_refused("limits.memory = \"99999999999999GiB\"", &[(1, "`limits.memory` must lie between 65536 and 4294967296 bytes")]);
    check_refused("order = 99999999999999999999", &[(1, "`order` must lie in -2147483648..=2147483647")]);
    check_refused("kinds = []", &[(1, "`kinds` must name at least one kind: redaction, derivation, health, alerting")]);
    check_refused(
        "kinds = [\"redactor\"]",
        &[(1, "`kinds` names \"redactor\", which is no kind: redaction, derivation, health, alerting")],
    );
    check_refused("isolation = \"none\"", &[(1, "`isolation` must be \"reuse\" or \"call\", not \"none\"")]);
    check_refused("limits = 3", &[(1, "`limits` must be a table, not a value of type integer")]);
    check_refused("[config]\nx = nan", &[(2, "JSON has no such number as this one in [config]")]);
}

#[test]
fn a_variable_is_read_only_by_grant() {
    let text = "[config]\ntoken = { env = \"TOKEN\" }\nlist = [{ env = \"NOT_SET\" }]\n[grants]\nenv = [\"NOT_SET\"]\n";
    check_refused(
        text,
        &[
            (2, "environment variable `TOKEN` is not granted: add it to `grants.env`"),
            (3, "environment variable `NOT_SET` is granted but not set"),
        ],
    );
}

#[test]
fn required_survives_mistakes_elsewhere() {
    for text in ["required = true\nwrong = 1", "required = true\nlimits = {", "order = = 3\nrequired = true"] {
        let error = Manifest::parse(text, &environment).unwrap_err();
        assert_eq!(error.required, Some(true), "{text}: {error}");
    }
    assert_eq!(Manifest::parse("required = 3", &environment).unwrap_err().required, None);
}

#[test]
fn hostile_texts_are_refused_without_a_panic() {
    let deep = format!("x = {}", "[".repeat(100_000));
    for text in [deep.as_str(), "\u{0}", "= = =", "[[[[", "required = true\nrequired = true"] {
        assert!(Manifest::parse(text, &environment).is_err());
    }
}
