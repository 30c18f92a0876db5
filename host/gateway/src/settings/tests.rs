//! What flags and file come to together.

use watchgate_settings::{Absent, Key, SECTIONS, Section};

use super::*;

/// What a file comes to without flags. Mistakes that are not about `key` do not matter.
fn assembled(text: &str, key: &str) -> String {
    let (file, complaints) = file::parse(text, Path::new(""), &|_| None);
    let about_it: Vec<_> = complaints.iter().filter(|(_, text)| text.contains(key)).collect();
    assert!(about_it.is_empty(), "{text}: {about_it:?}");
    // Two texts may say the same.
    format!("{:?}", Settings { written: Written::default(), ..assemble(&RunArguments::default(), file, &mut Vec::new()) })
}

/// The beginning of a file in which the keys of a section count.
fn beginning(section: &Section) -> String {
    let server = if section.prefix.starts_with("servers.NAME.") { "[servers.NAME]\nurl = \"https://h\"\n" } else { "" };
    let keys: String = section.keys.iter().filter_map(necessary).collect();
    match section.header().filter(|header| header != "[servers.NAME]") {
        Some(header) => format!("{server}{header}\n{keys}"),
        None => server.to_owned(),
    }
}

/// A line for a key without which its table is not read.
fn necessary(key: &Key) -> Option<String> {
    let value = match key.name {
        "address" => "\"h:1\"",
        "name" | "metric" => "\"up\"",
        "op" => "\">\"",
        "threshold" | "per_second" => "1",
        "jwks_url" => "\"https://h\"",
        "issuers" | "audiences" => "[\"a\"]",
        _ => return None,
    };
    Some(format!("{} = {value}\n", key.name))
}

#[test]
fn every_default_of_the_table_is_true() {
    let mut checked = 0;
    for section in SECTIONS {
        let without = beginning(section);
        for key in section.keys {
            let Absent::Is(default) = key.default else { continue };
            let (path, with) = (format!("`{}{}`", section.prefix, key.name), format!("{without}{} = {default}\n", key.name));
            assert_eq!(assembled(&without, &path), assembled(&with, &path), "{path} = {default}");
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn the_keys_with_a_default_change_something() {
    // Without this the test above could hold for a file that is not read.
    for (section, key, value) in [
        ("servers.NAME.breaker.", "open", "\"7s\""),
        ("servers.NAME.rate.", "by", "\"session\""),
        ("auth.jwt.", "leeway", "\"7s\""),
        ("alerts.rule.", "for", "\"7s\""),
        ("listeners.", "http2", "false"),
        ("proxy.", "probe", "false"),
        ("", "listen", "\"127.0.0.1:1\""),
        ("logs.", "level", "\"warn\""),
    ] {
        let without = beginning(Section::find(section).unwrap());
        assert_ne!(assembled(&without, ""), assembled(&format!("{without}{key} = {value}\n"), ""), "{section}{key}");
    }
}

#[test]
fn no_more_connections_are_let_in_than_there_may_be_files() {
    let check = |text: &str, files: u64, expected: usize, is_said: bool| {
        let mut settings = of_text(text);
        settings.warnings.clear();
        settings.bound_connections(files);
        assert_eq!((settings.proxy.limits.connections, settings.warnings.len()), (expected, usize::from(is_said)), "{text} {files}");
        assert_eq!(settings.document["proxy"]["max_connections"], expected, "operators see what is in force");
    };
    check("", 1 << 20, 10_000, false);
    check("", 200, 75, true);
    check("[proxy]\nmax_connections = 75\n", 200, 75, false);
    check("[proxy]\nmax_connections = 76\n", 200, 75, true);
}

#[test]
fn flags_win_over_the_file() {
    let text = "listen = \"127.0.0.1:1\"\n[proxy]\nhead_timeout = \"7s\"\n[servers.a]\nurl = \"http://a\"\n";
    let (file, complaints) = file::parse(text, Path::new(""), &|_| None);
    assert_eq!(complaints, []);
    let flags =
        RunArguments { listen: Some("127.0.0.1:2".to_owned()), upstream: vec!["http://b/mcp".to_owned()], ..RunArguments::default() };
    let mut complaints = Vec::new();
    let settings = assemble(&flags, file, &mut complaints);
    assert_eq!(complaints, []);
    assert_eq!(settings.listeners, [cleartext("127.0.0.1:2".to_owned())]);
    let [server] = settings.proxy.servers.as_slice() else { panic!("{settings:?}") };
    assert_eq!((&*server.name, &server.mount, server.timeouts.head.as_secs()), ("default", &Mount::Root, 7));
}

#[test]
fn a_server_that_is_not_to_be_probed_is_left_to_its_clients() {
    let check = |text: &str, probed: &[&str]| {
        let settings = of_text(&format!(
            "{text}\n[servers.a]\nurl = \"http://a\"\n[servers.b]\nurl = \"http://b\"\nprobe = false\n[servers.c]\nurl = \"http://c\"\nprobe = true\n"
        ));
        assert_eq!(settings.health.servers, probed, "{text}");
        let asked: Vec<&str> = settings.proxy.servers.iter().filter(|server| server.probe).map(|server| &*server.name).collect();
        assert_eq!(asked, probed, "{text}");
    };
    check("", &["a", "c"]);
    check("[proxy]\nprobe = true", &["a", "c"]);
    check("[proxy]\nprobe = false", &["c"]);
    let (file, _) = file::parse("[proxy]\nprobe = false\n", Path::new(""), &|_| None);
    let flags = RunArguments { upstream: vec!["http://b".to_owned()], ..RunArguments::default() };
    assert!(assemble(&flags, file, &mut Vec::new()).health.servers.is_empty());
}

#[test]
fn servers_given_by_flag_must_go_together() {
    let check = |upstreams: &[&str], expected: &str| {
        let flags = RunArguments { upstream: upstreams.iter().map(|value| (*value).to_owned()).collect(), ..RunArguments::default() };
        let mut complaints = Vec::new();
        assemble(&flags, FileSettings::default(), &mut complaints);
        assert!(complaints.len() == 1 && complaints[0].to_string().contains(expected), "{upstreams:?}: {complaints:?}");
    };
    check(&["http://a", "http://b"], "each needs a name");
    check(&["a=http://a", "a=http://b"], "used twice");
    check(&["a=ftp://a"], "http://");
    check(&[], "no MCP server is configured");
}

#[test]
fn whoever_can_be_reached_from_elsewhere_is_told_what_that_means() {
    let server = "[servers.a]\nurl = \"http://a\"\n";
    let check = |text: &str, expected: bool| assert_eq!(!of_text(&format!("{text}{server}")).warnings.is_empty(), expected, "{text}");
    check("", false);
    check("listen = \"0.0.0.0:1\"\n", true);
    check("listen = \"0.0.0.0:1\"\n[guard]\nhosts = [\"h\"]\n", false);
    check("listen = \"0.0.0.0:1\"\n[guard]\nhosts = [\"*\"]\n", false);
}
