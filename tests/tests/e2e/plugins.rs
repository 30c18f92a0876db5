//! The plugin folder is live: what is dropped, replaced, renamed, edited or deleted there is in effect without a restart.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::Value;
use watchgate_tests::http1::request;
use watchgate_tests::plugins::{guest, stock};
use watchgate_tests::{Connection, Gateway, PluginFolder, wait_until};

use crate::echo::{WORDS, gateway, heard, probe_says, said_by, upstream};

/// What a change may take on a loaded machine. The figure that users are promised is the benchmark's.
const SOON: Duration = Duration::from_secs(5);

/// Waits until the client hears `expected`, and gives what it heard before that, each once.
#[track_caller]
fn wait_to_hear(gateway: &Gateway, expected: &str) -> Vec<String> {
    let changed = Instant::now();
    let mut before: Vec<String> = Vec::new();
    wait_until(&format!("the client hears {expected:?}"), || {
        let found = heard(gateway);
        if found == expected {
            return Some(());
        }
        if before.last() != Some(&found) {
            before.push(found);
        }
        None
    });
    assert!(changed.elapsed() < SOON, "it took {:?} until the client heard {expected:?}", changed.elapsed());
    before
}

fn post_reload(gateway: &Gateway) -> u16 {
    let mut admin = Connection::open(gateway.admin).unwrap();
    admin.send(&request("POST", "/api/plugins/reload", &[], b"")).unwrap();
    admin.reply().unwrap().status()
}

#[test]
fn a_plugin_from_the_first_copy_to_its_deletion() {
    let (folder, upstream) = (PluginFolder::new(), upstream());
    let gateway = gateway(&upstream, &folder, &[]);
    assert_eq!(heard(&gateway), WORDS);
    let generation = |number: u64| {
        let plugin = gateway.wait_for_generation("p", number);
        assert_eq!(gateway.metrics().metric("watchgate_plugin_generation", &[("plugin", "p")]), plugin["generation"].as_f64().unwrap());
        plugin
    };
    folder.write("p.wasm", &guest("redactor"));
    let before = wait_to_hear(&gateway, &said_by("redactor"));
    assert!(before.iter().all(|heard| heard == WORDS), "{before:?}");
    let first = generation(1);
    assert_eq!(first["kinds"], serde_json::json!(["redaction"]));
    assert_eq!((first["size_bytes"].as_u64(), first["refusal"].is_null()), (Some(guest("redactor").len() as u64), true));

    folder.write("p.wasm", &guest("bare"));
    wait_to_hear(&gateway, &said_by("bare"));
    assert_ne!(generation(2)["hash"], first["hash"], "overwritten");

    folder.rename_over("p.wasm", &guest("redactor"));
    wait_to_hear(&gateway, &said_by("redactor"));
    assert_eq!(generation(3)["hash"], first["hash"], "renamed over");

    folder.write("p.toml", probe_says("[first]").as_bytes());
    folder.rename_over("p.wasm", &guest("probe"));
    wait_to_hear(&gateway, &WORDS.replace("probe-secret", "[first]"));

    folder.write("p.toml", probe_says("[second]").as_bytes());
    wait_to_hear(&gateway, &WORDS.replace("probe-secret", "[second]"));

    folder.remove("p.toml");
    wait_to_hear(&gateway, WORDS);
    assert_eq!(gateway.plugin("p")["state"], "live", "without settings it is still there");

    folder.remove("p.wasm");
    wait_until("the plugin is gone", || gateway.plugin("p").is_null().then_some(()));
    assert_eq!(heard(&gateway), WORDS);
    let metrics = gateway.metrics();
    assert_eq!(metrics.metric("watchgate_reload_total", &[("result", "removed")]), 1.0);
    assert_eq!(metrics.metric("watchgate_reload_total", &[("result", "refused")]), 0.0, "{}", metrics.text());
    assert!(metrics.metric("watchgate_reload_last_success_timestamp_seconds", &[]) > 1.7e9);
    assert_eq!(metrics.find("probe_starts_total", &[]), None, "metrics outlive their plugin");
    assert_eq!(metrics.metric("watchgate_plugin_generation", &[("plugin", "p")]), 0.0);

    folder.write("p.wasm", &guest("bare"));
    wait_to_hear(&gateway, &said_by("bare"));
    assert!(gateway.plugin("p")["generation"].as_u64().unwrap() > 3, "a number was used twice");
}

#[test]
fn what_does_not_concern_plugins_changes_nothing() {
    let folder = PluginFolder::with("p", &guest("redactor"), "");
    let upstream = upstream();
    let gateway = gateway(&upstream, &folder, &[]);
    folder.write("README.md", b"not a plugin");
    folder.write(".hidden.wasm", &guest("bare"));
    folder.write("q.wasm.part", &guest("bare"));
    fs::create_dir(folder.file("below")).unwrap();
    fs::write(folder.file("below/r.wasm"), guest("bare")).unwrap();
    // Written again as it was: nothing to do either.
    folder.write("p.wasm", &guest("redactor"));
    folder.write("z.wasm", &guest("redactor"));
    gateway.wait_for_generation("z", 1);
    let page = gateway.admin_get("/api/plugins").json().unwrap();
    let names: Vec<&Value> = page["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["name"]).collect();
    assert_eq!(names, ["p", "z"]);
    assert_eq!(gateway.plugin("p")["generation"], 1, "the same bytes are the same generation");
    assert_eq!(post_reload(&gateway), 202);
    assert_eq!(heard(&gateway), said_by("redactor"));
}

#[test]
fn a_file_that_is_written_slowly_waits_until_it_is_closed() {
    let folder = PluginFolder::with("p", &guest("redactor"), "");
    let upstream = upstream();
    let gateway = gateway(&upstream, &folder, &[]);
    let component = guest("bare");
    let mut file = File::create(folder.file("p.wasm")).unwrap();
    for piece in component.chunks(component.len() / 20) {
        file.write_all(piece).unwrap();
        file.sync_all().unwrap();
        // Each call gives the gateway time to be hasty.
        assert_eq!(heard(&gateway), said_by("redactor"));
        assert_eq!(post_reload(&gateway), 202);
    }
    assert_eq!(gateway.plugin("p")["generation"], 1);
    drop(file);
    wait_to_hear(&gateway, &said_by("bare"));
    assert_eq!(gateway.metrics().metric("watchgate_reload_total", &[("result", "refused")]), 0.0);
}

/// What is heard when the request was redacted as `one` shows, and the answer as `other` does.
fn both(one: &str, other: &str) -> String {
    let words = WORDS.split(' ').zip(one.split(' ').zip(other.split(' ')));
    words.map(|(word, (one, other))| if one == word { other } else { one }).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_config_map_is_swapped_by_its_link() {
    let (folder, upstream) = (PluginFolder::new(), upstream());
    let version = |name: &str, component: &[u8], settings: &str| {
        fs::create_dir(folder.file(name)).unwrap();
        fs::write(folder.file(name).join("p.wasm"), component).unwrap();
        fs::write(folder.file(name).join("p.toml"), settings).unwrap();
    };
    let point_at = |name: &str| {
        symlink(name, folder.file("..data_tmp")).unwrap();
        fs::rename(folder.file("..data_tmp"), folder.file("..data")).unwrap();
    };
    version("..1", &guest("probe"), &probe_says("[one]"));
    point_at("..1");
    symlink("..data/p.wasm", folder.file("p.wasm")).unwrap();
    symlink("..data/p.toml", folder.file("p.toml")).unwrap();
    let gateway = gateway(&upstream, &folder, &[]);
    assert_eq!(heard(&gateway), WORDS.replace("probe-secret", "[one]"));
    let mut last = WORDS.replace("probe-secret", "[one]");
    for (name, component, settings, expected) in [
        ("..2", guest("probe"), probe_says("[two]"), WORDS.replace("probe-secret", "[two]")),
        ("..3", guest("redactor"), "kinds = [\"redaction\"]\n".to_owned(), said_by("redactor")),
        ("..4", guest("probe"), probe_says("[four]"), WORDS.replace("probe-secret", "[four]")),
    ] {
        version(name, &component, &settings);
        point_at(name);
        // Never the new component with the old settings. The swap may come between a request and its answer.
        for before in wait_to_hear(&gateway, &expected) {
            assert!([&last, &both(&last, &expected)].contains(&&before), "{before}");
        }
        last = expected;
    }
    assert_eq!(gateway.metrics().metric("watchgate_reload_total", &[("result", "refused")]), 0.0);
    fs::remove_file(folder.file("..data")).unwrap();
    gateway.wait_for_refusal("p", "unreadable");
    assert_eq!(heard(&gateway), last, "a link that leads nowhere unloads nothing");
}

#[test]
fn a_folder_that_is_gone_unloads_nothing() {
    let folder = PluginFolder::new();
    let inner = folder.file("plugins");
    let put = |name: &str| {
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("p.wasm"), guest(name)).unwrap();
    };
    put("redactor");
    let upstream = upstream();
    let args = ["--upstream", &upstream.url(), "--plugins", inner.to_str().unwrap(), "--require", "p"];
    let gateway = Gateway::start(&args, watchgate_tests::GatewayOptions::default());
    assert_eq!(heard(&gateway), said_by("redactor"));
    let aside = folder.file("aside");
    fs::rename(&inner, &aside).unwrap();
    wait_until("the gateway says that the folder is gone", || gateway.stderr().contains("the plugin folder cannot be read").then_some(()));
    assert_eq!(heard(&gateway), said_by("redactor"));
    assert_eq!(gateway.admin_get("/health/ready").status(), 200);
    put("bare");
    wait_to_hear(&gateway, &said_by("bare"));
    fs::remove_dir_all(&inner).unwrap();
    wait_until("the gateway says so again", || (gateway.stderr().matches("the plugin folder cannot be read").count() == 2).then_some(()));
    fs::rename(&aside, &inner).unwrap();
    wait_to_hear(&gateway, &said_by("redactor"));
    // It is watched again, not only found by chance.
    fs::write(inner.join("p.wasm"), guest("bare")).unwrap();
    wait_to_hear(&gateway, &said_by("bare"));
}

#[test]
fn every_plugin_of_the_stock_is_accepted() {
    let folder = PluginFolder::new();
    folder.add("redact-secrets", &stock("redact-secrets"), "");
    folder.add("tool-sizes", &stock("tool-sizes"), "");
    folder.add(
        "expected-tools",
        &stock("expected-tools"),
        "[config]\nserver = \"default\"\ntools = [\"say\"]\n[grants]\nmcp_client = [\"default\"]\n",
    );
    folder.add("alert-webhook", &stock("alert-webhook"), "[config]\nurl = \"http://127.0.0.1:9/\"\n[grants]\nhttp = [\"127.0.0.1:9\"]\n");
    let upstream = upstream();
    let gateway = gateway(&upstream, &folder, &[]);
    for (name, kind) in
        [("redact-secrets", "redaction"), ("tool-sizes", "derivation"), ("expected-tools", "health"), ("alert-webhook", "alerting")]
    {
        let plugin = gateway.wait_for_generation(name, 1);
        assert_eq!(plugin["kinds"], serde_json::json!([kind]), "{plugin}");
    }
}
