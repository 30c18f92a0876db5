//! The examples for logs and collectors say what the gateway says: jq answers on real access lines, and what is configured elsewhere names documented members.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use watchgate_tests::reference::workspace;
use watchgate_tests::{Gateway, Reference, programs, wait_until};
use yaml_rust2::{Yaml, YamlLoader};

use crate::contract::scene::Scene;

fn example(file: &str) -> String {
    fs::read_to_string(workspace().join("examples").join(file)).unwrap()
}

/// The documented members of an access line with their types.
fn members() -> BTreeMap<String, String> {
    let reference = Reference::of_page("telemetry.md");
    reference.rows("Access log").iter().map(|row| (row["member"].clone(), row["type"].clone())).collect()
}

#[track_caller]
fn assert_documented<'a>(names: impl IntoIterator<Item = &'a str>, besides: &[&str]) {
    let members = members();
    let unknown: BTreeSet<&str> = names.into_iter().filter(|name| !members.contains_key(*name) && !besides.contains(name)).collect();
    assert!(unknown.is_empty(), "no members of an access line: {unknown:?}");
}

/// The words of a text that could be members.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// The words of a text that follow a full stop.
fn after_stops(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).filter_map(|rest| words(rest).next())
}

/// What a page asks, each question with the command in the block below it.
fn questions(page: &str) -> Vec<(&str, &str)> {
    let pieces: Vec<&str> = page.split("```sh\n").collect();
    pieces
        .windows(2)
        .map(|pair| {
            let asked = pair[0].trim_end().rsplit("\n\n").next().unwrap_or_default();
            (asked, pair[1].split("\n```").next().unwrap_or_default())
        })
        .collect()
}

/// What the answer to each question of `examples/jq` holds, in one line.
const ANSWERS: [(&str, &[&str]); 9] = [
    ("What did not end well", &["\"server\":\"gone\"", "\"outcome\":\"unreachable\"", "\"fault\":\"upstream\""]),
    ("Share of errors", &["gone\t1\t1"]),
    ("The slowest tools", &["weather\tforecast\t"]),
    ("Where the time", &["narrow\theld\t"]),
    ("JSON-RPC errors", &["weather\t-32603\t1"]),
    ("Which client", &["ci\tbroken\t1"]),
    ("Exchanges a minute", &["T", "\t"]),
    ("One trace", &["\"trace_id\":\"TRACE\""]),
    ("The exchange of an error", &["\"error_id\": \"ERROR\""]),
];

#[test]
fn jq_answers_on_real_access_lines() {
    let Some(jq) = programs::find("jq", "jq") else { return };
    let mut scene = Scene::start();
    scene.play();
    let failed = wait_until("the refused call has its line", || {
        scene.gateway.access_log().into_iter().find(|line| line["outcome"] == "unreachable")
    });
    let page = example("jq/README.md");
    let questions = questions(&page);
    assert_eq!(questions.len(), ANSWERS.len());
    for ((question, command), (about, expected)) in questions.into_iter().zip(ANSWERS) {
        assert!(question.starts_with(about), "{question:?} is not about {about:?}");
        assert_documented(after_stops(command).filter(|word| *word != "log"), &["calls", "p95"]);
        let ids = |text: &str, trace: &str, error: &str| {
            text.replace(trace, failed["trace_id"].as_str().unwrap()).replace(error, failed["error_id"].as_str().unwrap())
        };
        let answer = run(&jq, &ids(command, "0af7651916cd43dd8448eb211c80319c", "0af76519-1"), &scene.gateway);
        let expected: Vec<String> = expected.iter().map(|text| ids(text, "TRACE", "ERROR")).collect();
        let answers = answer.lines().any(|line| expected.iter().all(|text| line.contains(text)));
        assert!(answers, "{question}\n{command}\nhas no line with {expected:?}:\n{answer}");
    }
}

/// Runs a command line of the page where the access log is.
fn run(jq: &Path, command: &str, gateway: &Gateway) -> String {
    let path = [jq.parent().unwrap_or(Path::new("")).as_os_str(), &std::env::var_os("PATH").unwrap_or_default()].join(":".as_ref());
    let output = Command::new("sh").args(["-c", command]).env("PATH", path).current_dir(gateway.directory()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The only document of a YAML file.
fn yaml(file: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(&example(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(documents.len(), 1, "{file}");
    documents.remove(0)
}

/// The keys of a YAML mapping, or the items of a list.
fn keys(yaml: &Yaml) -> BTreeSet<&str> {
    match yaml {
        Yaml::Hash(mapping) => mapping.keys().filter_map(Yaml::as_str).collect(),
        Yaml::Array(items) => items.iter().filter_map(Yaml::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

#[test]
fn the_collector_takes_every_signal_where_the_gateway_sends_it() {
    let config = yaml("otel-collector/config.yaml");
    let pipelines = &config["service"]["pipelines"];
    assert_eq!(keys(pipelines), BTreeSet::from(["logs", "metrics", "traces"]));
    for signal in keys(pipelines) {
        for part in ["receivers", "processors", "exporters"] {
            let used = keys(&pipelines[signal][part]);
            assert!(!used.is_empty() && used.is_subset(&keys(&config[part])), "{signal} {part}: {used:?}");
        }
    }
    let gateway = example("otlp/watchgate.toml");
    let endpoint = config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].as_str().unwrap();
    assert_eq!(gateway.matches(&format!("endpoint = \"http://{endpoint}\"")).count(), 3, "the gateway sends elsewhere");
}

#[test]
fn loki_has_labels_and_queries_of_documented_members() {
    let config = example("loki/config.alloy");
    assert_eq!(config.matches(['{', '[']).count(), config.matches(['}', ']']).count());
    let named: Vec<&str> = config.lines().filter(|line| line.contains("= \"\"")).flat_map(words).collect();
    assert_eq!(named.iter().filter(|name| ["server", "outcome"].contains(name)).count(), 4, "they are read and made labels: {named:?}");
    assert_documented(named, &["expressions", "values"]);
    let page = example("loki/README.md");
    let queries = page.split("```logql\n").nth(1).unwrap().split("```").next().unwrap();
    for line in queries.lines().filter(|line| !line.starts_with('#')) {
        assert_documented(after_stops(line), &[]);
        let outside_quotes: String = line.split('"').step_by(2).collect();
        let language = ["by", "job", "json", "line_format", "m", "quantile_over_time", "rate", "sum", "unwrap"];
        assert_documented(words(&outside_quotes), &language);
    }
}

#[test]
fn elasticsearch_gets_a_type_for_each_member() {
    let template: Value = serde_json::from_str(&example("elk/index-template.json")).unwrap();
    let mapped = template["template"]["mappings"]["properties"]["watchgate"]["properties"].as_object().unwrap();
    let members = members();
    let of = |member: &str, kind: &'static str| (member.to_owned(), kind);
    let expected: BTreeMap<String, &str> = members
        .iter()
        .map(|(member, kind)| match (member.as_str(), kind.as_str()) {
            ("time", _) => of(member, "date"),
            (_, "string") => of(member, "keyword"),
            (_, "integer") => of(member, "long"),
            (_, "number") => of(member, "double"),
            (_, "boolean") => of(member, "boolean"),
            (_, kind) => panic!("{member} is a {kind}"),
        })
        .collect();
    let mapped: BTreeMap<String, &str> = mapped.iter().map(|(name, kind)| (name.clone(), kind["type"].as_str().unwrap())).collect();
    assert_eq!(mapped, expected);
    let filebeat = yaml("elk/filebeat.yml");
    assert_eq!(filebeat["filebeat.inputs"][0]["parsers"][0]["ndjson"]["target"].as_str(), Some("watchgate"));
    let index = filebeat["output.elasticsearch"]["index"].as_str().unwrap();
    let pattern = template["index_patterns"][0].as_str().unwrap();
    assert!(index.starts_with(pattern.trim_end_matches('*')), "{index} is not one of {pattern}");
    let page = example("elk/README.md");
    assert_documented(page.split("`watchgate.").skip(1).filter_map(|rest| words(rest).next()), &[]);
}
