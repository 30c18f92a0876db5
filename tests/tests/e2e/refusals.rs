//! A file that cannot be a plugin changes nothing but the status that says why; unless traffic depends on it.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use watchgate_tests::plugins::guest;
use watchgate_tests::{Gateway, GatewayOptions, PluginFolder, wait_until};

use crate::broken::{Broken, all};
use crate::echo::{WORDS, gateway, heard, probe_says, said_by, say, upstream};
use crate::messages::assert_own_error;

fn count(gateway: &Gateway, result: &str) -> f64 {
    gateway.metrics().metric("watchgate_reload_total", &[("result", result)])
}

#[test]
fn each_broken_file_has_its_own_reason_and_leaves_the_old_generation_as_it_was() {
    let good = probe_says("[good]");
    let folder = PluginFolder::with("p", &guest("probe"), &good);
    let upstream = upstream();
    let gateway = gateway(&upstream, &folder, &[]);
    let before = gateway.plugin("p");
    let masked = WORDS.replace("probe-secret", "[good]");
    for Broken { what, component, settings, reason } in all() {
        let refusals = count(&gateway, "refused");
        folder.rename_over("p.wasm", &component);
        if settings.is_empty() {
            folder.rename_over("p.toml", good.as_bytes());
        } else {
            folder.rename_over("p.toml", settings.as_bytes());
        }
        let plugin = gateway.wait_for_plugin("p", &format!("refused as {reason}: {what}"), |plugin| {
            plugin["refusal"] == reason && count(&gateway, "refused") > refusals
        });
        assert!(gateway.metrics().metric("watchgate_reload_total", &[("result", "refused"), ("reason", reason)]) > 0.0, "{what}");
        assert_eq!(plugin["state"], "live_stale", "{what}: {plugin}");
        for unchanged in ["generation", "hash", "kinds", "live_since_ms"] {
            assert_eq!(plugin[unchanged], before[unchanged], "{what}: {plugin}");
        }
        assert!(plugin["refusal_detail"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {plugin}");
        gateway.wait_for_log(reason);
        assert_eq!(heard(&gateway), masked, "{what}");
        assert_eq!(gateway.admin_get("/health/ready").status(), 200, "{what}");
        let health = gateway.admin_get("/health").json().unwrap();
        assert_ne!(health["status"], "failing", "{what}: {health}");
    }
    assert_eq!(count(&gateway, "live"), 1.0);
    folder.write("p.toml", good.as_bytes());
    folder.write("p.wasm", &guest("probe"));
    let after = gateway.wait_for_plugin("p", "live again", |plugin| plugin["state"] == "live" && plugin["refusal"].is_null());
    assert_eq!(after["hash"], before["hash"]);
    assert_eq!(heard(&gateway), masked);
}

#[test]
fn a_broken_file_that_nobody_requires_stops_no_traffic() {
    let folder = PluginFolder::with("p", &guest("redactor"), "");
    let upstream = upstream();
    for (n, Broken { component, settings, .. }) in all().into_iter().enumerate() {
        folder.add(&format!("broken-{n}"), &component, settings);
    }
    let gateway = gateway(&upstream, &folder, &[]);
    assert_eq!(heard(&gateway), said_by("redactor"));
    for (n, Broken { what, reason, .. }) in all().into_iter().enumerate() {
        let plugin = gateway.plugin(&format!("broken-{n}"));
        assert_eq!((&plugin["state"], &plugin["refusal"]), (&json!("refused"), &json!(reason)), "{what}: {plugin}");
    }
    assert_eq!(gateway.admin_get("/health/ready").status(), 200);
}

#[test]
fn a_broken_file_that_is_required_stops_traffic_until_it_is_replaced() {
    let upstream = upstream();
    for Broken { what, component, settings, reason } in all() {
        let folder = PluginFolder::with("p", &component, settings);
        let gateway = gateway(&upstream, &folder, &["--require", "p"]);
        assert_stopped(&gateway, what);
        let plugin = gateway.plugin("p");
        assert_eq!(
            (&plugin["state"], &plugin["refusal"], &plugin["required"]),
            (&json!("refused"), &json!(reason), &json!(true)),
            "{what}"
        );
        let ready = gateway.admin_get("/health/ready").text();
        assert!(ready.contains(reason), "{what}: readiness does not say why: {ready}");
        folder.write("p.toml", b"");
        folder.write("p.wasm", &guest("redactor"));
        gateway.wait_for_generation("p", 1);
        assert_eq!(heard(&gateway), said_by("redactor"), "{what}");
        assert_eq!(gateway.admin_get("/health/ready").status(), 200, "{what}");
    }
}

/// No request passes, readiness is red and names the plugin, the process lives.
#[track_caller]
fn assert_stopped(gateway: &Gateway, what: &str) {
    for target in ["/mcp", "/events"] {
        let reply = say(gateway, target, WORDS);
        assert_own_error(&reply, 503, -31005, &json!(1));
        assert_eq!(reply.json().unwrap()["error"]["data"]["reason"], "required_plugin_not_live", "{what}");
    }
    let ready = gateway.admin_get("/health/ready");
    assert_eq!(ready.status(), 503, "{what}");
    assert!(ready.text().contains("`p`"), "{what}: {}", ready.text());
    assert_eq!(gateway.admin_get("/health/live").status(), 200, "{what}");
    assert_eq!(gateway.admin_get("/health/startup").status(), 200, "{what}");
    assert_eq!(gateway.admin_get("/health").status(), 503, "{what}");
}

#[test]
fn a_required_plugin_that_is_missing_stops_traffic() {
    let (folder, upstream) = (PluginFolder::new(), upstream());
    let gateway = gateway(&upstream, &folder, &["--require", "p"]);
    assert_stopped(&gateway, "missing");
    assert_eq!(gateway.plugin("p")["state"], "missing");
    folder.write("p.wasm", &guest("redactor"));
    gateway.wait_for_generation("p", 1);
    assert_eq!(heard(&gateway), said_by("redactor"));
    folder.remove("p.wasm");
    gateway.wait_for_plugin("p", "missing", |plugin| plugin["state"] == "missing");
    assert_stopped(&gateway, "deleted");
    assert_eq!(upstream.requests().len(), 1, "a request passed without the required plugin");
}

#[test]
fn settings_can_require_their_plugin() {
    let folder = PluginFolder::with("p", b"broken", "required = true\n");
    let upstream = upstream();
    let gateway = gateway(&upstream, &folder, &[]);
    assert_stopped(&gateway, "required by its settings");
    folder.write("p.wasm", &guest("redactor"));
    gateway.wait_for_generation("p", 1);
    assert_eq!(heard(&gateway), said_by("redactor"));
}

#[test]
fn the_configuration_file_can_require_a_plugin() {
    let (folder, upstream) = (PluginFolder::new(), upstream());
    let config = format!("[servers.s]\nurl = \"{}\"\n[plugins]\nfolder = \"{}\"\nrequired = [\"p\"]\n", upstream.url(), folder.path());
    let gateway = Gateway::start(&[], GatewayOptions::config(&config));
    assert_own_error(&say(&gateway, "/s/mcp", WORDS), 503, -31005, &json!(1));
    folder.write("p.wasm", &guest("redactor"));
    gateway.wait_for_generation("p", 1);
    assert_eq!(say(&gateway, "/s/mcp", WORDS).status(), 200);
}

#[test]
fn a_component_with_fewer_kinds_is_refused_unless_its_settings_list_them() {
    let folder = PluginFolder::with("p", &guest("probe"), &probe_says("[good]"));
    let upstream = upstream();
    let gateway = gateway(&upstream, &folder, &[]);
    let before = gateway.plugin("p");
    folder.write("p.wasm", &guest("redactor"));
    let plugin = gateway.wait_for_refusal("p", "kind-lost");
    assert_eq!((&plugin["state"], &plugin["hash"]), (&json!("live_stale"), &before["hash"]));
    assert!(plugin["refusal_detail"].as_str().unwrap().contains("derivation, health, alerting"), "{plugin}");
    assert_eq!(heard(&gateway), WORDS.replace("probe-secret", "[good]"));
    folder.write("p.toml", b"kinds = [\"redaction\"]\n");
    let plugin = gateway.wait_for_generation("p", 2);
    assert_eq!((&plugin["kinds"], &plugin["refusal"]), (&json!(["redaction"]), &Value::Null));
    assert_eq!(heard(&gateway), said_by("redactor"));
}

/// Where the sections of a component end.
fn section_ends(component: &[u8]) -> Vec<usize> {
    let mut ends = vec![8];
    let mut at = 8;
    while at < component.len() {
        // The section's id, then its length in LEB128.
        at += 1;
        let digits = component[at..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let length = component[at..at + digits].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        at += digits + length;
        ends.push(at);
    }
    assert_eq!(at, component.len());
    ends
}

#[test]
fn a_component_cut_between_two_sections_never_goes_live() {
    let component = guest("probe");
    let folder = PluginFolder::with("p", &component, &probe_says("[good]"));
    let upstream = upstream();
    let gateway = gateway(&upstream, &folder, &[]);
    let before = gateway.plugin("p");
    let mut ends = section_ends(&component);
    assert_eq!(ends.pop(), Some(component.len()));
    // What comes after the last export is only names; a file without them is a whole plugin.
    let whole = ends.iter().rposition(|end| !is_harmless(&component[*end..])).unwrap() + 1;
    let cuts: Vec<usize> = ends[..whole].iter().rev().take(12).chain(ends.iter().take(4)).copied().collect();
    let mut reasons = std::collections::BTreeSet::new();
    for cut in cuts {
        let refusals = count(&gateway, "refused");
        folder.write("p.wasm", &component[..cut]);
        wait_until(&format!("a component cut at {cut} of {} is refused", component.len()), || {
            (count(&gateway, "refused") > refusals).then_some(())
        });
        let plugin = gateway.plugin("p");
        assert_eq!((&plugin["hash"], &plugin["state"]), (&before["hash"], &json!("live_stale")), "cut at {cut}");
        reasons.insert(plugin["refusal"].as_str().unwrap().to_owned());
        assert_eq!(heard(&gateway), WORDS.replace("probe-secret", "[good]"), "cut at {cut}");
    }
    assert!(reasons.contains("kind-lost"), "no cut made a smaller plugin: {reasons:?}");
}

/// Whether only custom sections are left.
fn is_harmless(rest: &[u8]) -> bool {
    rest.first().is_none_or(|id| *id == 0)
}

#[test]
fn what_is_no_file_is_refused() {
    let (folder, upstream) = (PluginFolder::new(), upstream());
    fs::create_dir(folder.file("directory.wasm")).unwrap();
    symlink("nowhere", folder.file("dangling.wasm")).unwrap();
    symlink("loop.wasm", folder.file("loop.wasm")).unwrap();
    File::create(folder.file("huge.wasm")).unwrap().set_len((64 << 20) + 1).unwrap();
    folder.add("wide", &guest("redactor"), &"#".repeat((1 << 20) + 1));
    folder.write("bad name.wasm", &guest("redactor"));
    let _socket = std::os::unix::net::UnixListener::bind(folder.file("socket.wasm")).unwrap();
    folder.write("p.wasm", &guest("redactor"));
    let gateway = gateway(&upstream, &folder, &[]);
    for (name, reason) in [
        ("directory", "not-a-file"),
        ("dangling", "unreadable"),
        ("loop", "unreadable"),
        ("socket", "not-a-file"),
        ("huge", "too-large"),
        ("wide", "too-large"),
        ("bad name", "bad-name"),
    ] {
        let plugin = gateway.wait_for_refusal(name, reason);
        assert_eq!(plugin["state"], "refused", "{plugin}");
    }
    assert_eq!(heard(&gateway), said_by("redactor"));
}

#[test]
fn reasons_are_shown_without_the_values_of_settings() {
    let folder = PluginFolder::with(
        "p",
        &guest("probe"),
        "[config]\nstart = \"s3cret-value\"\nwhen = { env = \"TOKEN\" }\n[grants]\nenv = [\"TOKEN\"]\n",
    );
    let upstream = upstream();
    let args = ["--upstream", &upstream.url(), "--plugins", folder.path()];
    let environment = vec![("TOKEN".to_owned(), "t0ken-of-the-environment".to_owned())];
    let mut gateway = Gateway::start(&args, GatewayOptions { environment, ..GatewayOptions::default() });
    gateway.wait_for_refusal("p", "start-error");
    folder.write(
        "p.toml",
        b"[config]\nstart = \"ok\"\nwhen = { env = \"TOKEN\" }\nbroken = { env = \"OTHER\" }\n[grants]\nenv = [\"TOKEN\"]\n",
    );
    gateway.wait_for_refusal("p", "bad-settings");
    for page in ["/api/plugins", "/health", "/metrics"] {
        assert!(!gateway.admin_get(page).text().contains("t0ken-of"), "{page}");
    }
    assert!(!gateway.whole_log().contains("t0ken-of"));
}
