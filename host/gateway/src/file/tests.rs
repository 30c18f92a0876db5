//! What a file comes to, and what is said about its mistakes.

mod telemetry;

use std::time::Duration;

use watchgate_proxy::{Forwarded, HostHeader, JwksSource, Mount, RateKey};
use watchgate_settings::SECTIONS;

use super::*;

fn no_environment(_: &str) -> Option<String> {
    None
}

fn parsed(text: &str) -> (FileSettings, Vec<(usize, String)>) {
    parse(text, Path::new(""), &no_environment)
}

#[track_caller]
fn sound(text: &str) -> FileSettings {
    let (settings, complaints) = parsed(text);
    assert_eq!(complaints, [], "{text}");
    settings
}

/// Checks that a file is refused with these complaints: a line, and a part of its sentence.
#[track_caller]
fn check_refused(text: &str, expected: &[(usize, &str)]) {
    let (_, complaints) = parsed(text);
    assert_eq!(complaints.len(), expected.len(), "{complaints:#?}");
    for ((line, text), (expected_line, part)) in complaints.iter().zip(expected) {
        assert!(line == expected_line && text.contains(part), "{line}: {text}");
    }
}

#[test]
fn all_mistakes_are_named_with_their_lines() {
    let text = "listen = \"nowhere\"\n[proxy]\nhead_timeout = 5\nidle_timout = \"5s\"\n[servers.a]\nurl = \"ftp://h\"\n";
    check_refused(
        text,
        &[(1, "HOST:PORT"), (3, "`proxy.head_timeout` must be a duration"), (4, "did you mean `proxy.idle_timeout`"), (6, "http://")],
    );
    check_refused("[servers.a]\n[alerts]\nrule = 3\n", &[(1, "has no `url`"), (3, "[[alerts.rule]]")]);
    let rule = "[[alerts.rule]]\nname = \"r\"\nmetric = \"up\"\nop = \">\"\nthreshold = 1\n";
    check_refused(&format!("[plugins]\nfolder = \"none\"\n{rule}{rule}"), &[(2, "names no folder"), (9, "used by an earlier rule")]);
    check_refused("[logs]\nlevel = \"loud\"\n[logs\n", &[(2, "error, warn, info"), (3, "unclosed table"), (3, "duplicate")]);
}

#[test]
fn rules_about_what_there_is_not() {
    let rule = |metric: &str, labels: &str| {
        format!("[[alerts.rule]]\nname = \"r\"\nop = \">\"\nthreshold = 1\nmetric = \"{metric}\"\nlabels = {labels}\n")
    };
    check_refused(&rule("watchgate_sever_up", "{}"), &[(5, "did you mean watchgate_server_up?")]);
    check_refused(&rule("mcp_server_operation_duration_seconds", "{}"), &[(5, "_count and")]);
    check_refused(
        &rule("watchgate_server_up", "{ sever = \"a\" }"),
        &[(6, "`alerts.rule.labels`: watchgate_server_up has no label sever; did you mean server?")],
    );
    check_refused(&rule("watchgate_http_requests_total", "{ outcome = \"timout\" }"), &[(6, "did you mean \"timeout\"?")]);
    sound(&rule("watchgate_plugin_failures_total", "{ reason = \"trap\" }"));
    sound(&rule("mcp_server_operation_duration_seconds_count", "{ rpc_response_status_code = \"\" }"));
    sound(&rule("tool_sizes_bytes_total", "{ whatever = \"x\" }"));
}

#[test]
fn a_whole_file() {
    let text = r#"
listen = "0.0.0.0:1"
[proxy]
drain_timeout = "3s"
max_request_body = "1MiB"
max_held_bytes = "64MiB"
max_connections_per_client = 9
[servers.b]
url = "http://h:1/mcp"
[servers.a]
url = "http://h:2"
[plugins]
folder = "p"
required = ["redact-secrets"]
[health]
probe_interval = "1s"
[[alerts.rule]]
name = "r"
metric = "watchgate_mcp_tool_calls_total"
labels = { outcome = "tool_error" }
rate_over = "1m"
op = ">"
threshold = 0.1
for = "30s"
severity = "warning"
"#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("p")).unwrap();
    let (settings, complaints) = parse(text, folder.path(), &no_environment);
    assert_eq!(complaints, []);
    assert_eq!(settings.listeners, Some(vec![listeners::cleartext("0.0.0.0:1".to_owned())]));
    assert_eq!(settings.servers.iter().map(|server| &*server.name).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(settings.proxy.timeouts.drain, Duration::from_secs(3));
    assert_eq!((settings.proxy.limits.held_bytes, settings.proxy.limits.connections_per_client), (64 << 20, Some(9)));
    assert_eq!(settings.servers[0].limits.message, 1 << 20);
    assert_eq!(settings.plugins, Some(folder.path().join("p")));
    assert_eq!(settings.alerts.rules.len(), 1);
}

#[test]
fn a_server_takes_from_proxy_what_it_does_not_say() {
    let text = r#"
[servers.a]
urls = ["https://h:1/mcp", "https://h:2/mcp"]
head_timeout = "1s"
hosts = ["A.example"]
host = "b.example:80"
forwarded = "both"
public_url = "https://a.example/"
max_concurrency = 7
slow_start = "0s"
rate = { per_second = 2.5, by = "header:X-Team" }
breaker = { error_share = 1, open = "1m" }
ejection.base = "1s"
retry = { max = 0, backoff = "1s" }
tls.server_name = "h.internal"
[servers.b]
url = "http://h:3"
mount = "root"
[proxy]
head_timeout = "9s"
connect_timeout = "8s"
"#;
    let settings = sound(text);
    let [a, b] = settings.servers.as_slice() else { panic!("{settings:?}") };
    assert_eq!(a.endpoints.iter().map(|endpoint| (endpoint.port, endpoint.tls)).collect::<Vec<_>>(), [(1, true), (2, true)]);
    assert_eq!(
        (a.timeouts.head, a.timeouts.connect, b.timeouts.head),
        (Duration::from_secs(1), Duration::from_secs(8), Duration::from_secs(9))
    );
    assert_eq!((&a.mount, &b.mount), (&Mount::Hosts(vec!["a.example".to_owned()]), &Mount::Root));
    assert_eq!((&a.host, a.forwarded), (&HostHeader::Fixed("b.example:80".to_owned()), Forwarded::Both));
    assert_eq!(a.public_url.as_deref(), Some("https://a.example"));
    let rate = a.limits.rate.as_ref().unwrap();
    assert_eq!((rate.burst, &rate.by), (3, &RateKey::Header("x-team".parse().unwrap())));
    assert_eq!((a.limits.concurrency, a.retry.max, a.breaker.open), (Some(7), 0, Duration::from_secs(60)));
    assert_eq!(a.retry.backoff, Duration::from_secs(1));
    assert_eq!(a.tls.server_name.as_deref(), Some("h.internal"));
}

#[test]
fn what_does_not_go_together_is_named() {
    let one = |rest: &str| format!("[servers.a]\nurl = \"http://h\"\n{rest}\n");
    check_refused(&one("urls = [\"http://h\"]"), &[(3, "exclude each other")]);
    check_refused(&one("mount = \"root\"\nhosts = [\"h\"]"), &[(4, "exclude each other")]);
    check_refused(&one("hosts = []"), &[(3, "`servers.a.hosts` must name at least one")]);
    check_refused("[servers.b]\nurl = \"h\"\n", &[(2, "`servers.b.url` ")]);
    check_refused("[servers._other]\nurl = \"http://h\"\n", &[(2, "belongs to no server")]);
    check_refused(&one("hosts = [\"h:80\"]"), &[(3, "no host name without port")]);
    check_refused(&one("tls = { server_name = \"h\" }"), &[(3, "https URLs")]);
    check_refused(&one("host = \"upstrem\""), &[(3, "\"upstream\"")]);
    check_refused(&one("rate = { burst = 3 }"), &[(3, "`servers.a.rate.per_second` is missing")]);
    check_refused(&one("rate = { per_second = 0 }"), &[(3, "above 0")]);
    check_refused(&one("breaker = { error_share = 1.5 }"), &[(3, "above 0, up to 1")]);
    check_refused(&one("retry = { budget = -1 }"), &[(3, "0 to 1")]);
    check_refused(&one("public_url = \"h\""), &[(3, "http://")]);
    check_refused("[servers.a]\nurls = [\"http://h/a\", \"http://h/b\"]\n", &[(2, "same path")]);
    check_refused("[servers.a]\nurls = [\"http://h/a\", \"http://h/a\"]\n", &[(2, "twice")]);
    check_refused("[servers.a]\nurls = []\n", &[(2, "at least one URL")]);
    let two = |rest: &str| format!("[servers.a]\nurl = \"http://h\"\n{rest}\n[servers.b]\nurl = \"http://h\"\n{rest}\n");
    check_refused(&two("mount = \"root\""), &[(4, "both mounted at the root")]);
    check_refused(&two("hosts = [\"h\"]"), &[(4, "belongs to the server `a`")]);
    check_refused("listen = \"h:1\"\n[[listeners]]\naddress = \"h:2\"\n", &[(1, "exclude each other")]);
    check_refused("[[listeners]]\naddress = \"h:2\"\n[[listeners]]\naddress = \"h:2\"\n", &[(4, "twice")]);
    check_refused("[[listeners]]\nhttp2 = true\ntls = { key = \"none\" }", &[(1, "address"), (3, "certificate"), (3, "no file")]);
    check_refused("[guard]\nhosts = [\"a/b\"]\norigins = [\"app.example.com\"]\n", &[(2, "no host"), (3, "no origin")]);
    check_refused("[auth]\n", &[(1, "names nobody")]);
    check_refused("[auth.jwt]\naudiences = []\nissuers = [\"i\"]\n", &[(1, "no keys"), (2, "at least one")]);
}

#[test]
fn keys_come_from_the_environment_and_from_files_and_are_never_quoted() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ops.key"), " 0123456789abcdef\n").unwrap();
    std::fs::write(folder.path().join("keys"), "# team\nci:fedcba9876543210\n").unwrap();
    let environment = |name: &str| (name == "DEV").then(|| "0000000000000000".to_owned());
    let text = r#"
[auth]
keys_file = "keys"
[[auth.keys]]
name = "ops"
key = { file = "ops.key" }
[[auth.keys]]
name = "dev"
key = { env = "DEV" }
"#;
    let (settings, complaints) = parse(text, folder.path(), &environment);
    assert_eq!(complaints, []);
    let names: Vec<_> = settings.auth.as_ref().unwrap().keys.iter().map(|key| &*key.name).collect();
    assert_eq!(names, ["ops", "dev", "ci"]);
    assert_eq!(settings.files, [folder.path().join("ops.key"), folder.path().join("keys")]);
    assert!(!format!("{settings:?}").contains("0123456789abcdef"));

    let (_, complaints) =
        parse(&text.replace("{ env = \"DEV\" }", "\"0123-secret\"").replace("ops.key", "none"), folder.path(), &environment);
    let text = format!("{complaints:?}");
    assert!(complaints.len() == 2 && complaints[0].0 == 6 && complaints[1].0 == 9, "{text}");
    assert!(text.contains("{ env = ") && !text.contains("0123-secret"), "{text}");
    std::fs::write(folder.path().join("keys"), "ci\n").unwrap();
    let (_, complaints) = parse("[auth]\nkeys_file = \"keys\"\n", folder.path(), &environment);
    assert!(complaints[0].1.contains("keys:1: a line must be NAME:KEY"), "{complaints:?}");
    for nobody in ["", "# all gone\n"] {
        std::fs::write(folder.path().join("keys"), nobody).unwrap();
        let (_, complaints) = parse("[auth]\nkeys_file = \"keys\"\n", folder.path(), &environment);
        assert!(complaints.len() == 1 && complaints[0].0 == 2 && complaints[0].1.contains("keys has no key"), "{complaints:?}");
    }
}

#[test]
fn a_file_with_keys_of_tokens_is_part_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let jwks = || {
        let text = "[auth.jwt]\njwks_file = \"jwks.json\"\nissuers = [\"i\"]\naudiences = [\"a\"]\n";
        let (settings, complaints) = parse(text, folder.path(), &no_environment);
        (settings.auth.unwrap().jwt.map(|jwt| jwt.jwks), settings.files, complaints)
    };
    for text in ["{\"keys\":[]}", "{\"keys\":[1]}"] {
        std::fs::write(&path, text).unwrap();
        let file = JwksSource::File { path: path.clone(), content: text.into() };
        assert_eq!(jwks(), (Some(file), vec![path.clone()], Vec::new()));
    }
    let unusable = [(vec![b' '; (1 << 20) + 1], "more than 1048576 bytes"), (vec![0xff], "UTF-8")];
    for (content, part) in unusable {
        std::fs::write(&path, content).unwrap();
        let (found, _, complaints) = jwks();
        assert!(found.is_none() && complaints.len() == 1 && complaints[0].1.contains(part), "{complaints:?}");
    }
}

#[test]
fn authorization_servers_are_the_issuers_unless_tokens_go_on() {
    let check = |rest: &str, expected: &[&str]| {
        let auth = sound(&format!(
            "[auth]\n{rest}issuers = [\"https://login.example/\", \"us\"]\naudiences = [\"a\"]\njwks_url = \"http://h/\"\n"
        ))
        .auth;
        assert_eq!(auth.unwrap().jwt.unwrap().authorization_servers, expected, "{rest}");
    };
    check("[auth.jwt]\n", &["https://login.example/"]);
    check("pass_authorization = true\n[auth.jwt]\n", &[]);
    check("pass_authorization = true\n[auth.jwt]\nauthorization_servers = [\"http://h/x\"]\n", &["http://h/x"]);
    let jwt = |servers: &str| {
        format!("[auth.jwt]\nauthorization_servers = {servers}\njwks_url = \"http://h/\"\nissuers = [\"i\"]\naudiences = [\"a\"]\n")
    };
    check_refused(&jwt("[]"), &[(2, "at least one")]);
    check_refused(&jwt("[\"login\", \"https://h/?a\", \"https://h/#a\"]"), &[(2, "http://"), (2, "a query"), (2, "a fragment")]);
}

#[test]
fn every_key_of_the_table_is_read() {
    for section in SECTIONS {
        for key in section.keys {
            let list = if section.prefix == "listeners.tls." { "[[listeners]]" } else { "" };
            // No form takes a list of lists.
            let text = format!("{list}\n{}\n{} = [[1]]\n", section.header().unwrap_or_default(), key.name);
            let (_, complaints) = parsed(&text);
            let named = format!("`{}{}` ", section.prefix, key.name);
            assert!(complaints.iter().any(|(line, text)| *line == 3 && text.starts_with(&named)), "{named}: {complaints:?}");
        }
    }
}
