//! What a wrong start says: everything that is wrong at once, in clear lines, with its exit code.

use watchgate_tests::gateway::Exit;
use watchgate_tests::{Gateway, GatewayOptions, Scripted};

use crate::messages::answer;

const ANY_PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

/// Whether one line of `text` has all of `words`, each between characters that do not belong to it.
fn says(text: &str, words: &[&str]) -> bool {
    let whole = |line: &str, word: &str| {
        line.match_indices(word).any(|(at, _)| {
            let outside = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
            outside(line[..at].chars().next_back()) && outside(line[at + word.len()..].chars().next())
        })
    };
    text.lines().any(|line| words.iter().all(|word| whole(line, word)))
}

fn refused(args: &[&str], options: GatewayOptions) -> Exit {
    let exit = Gateway::run_to_exit(args, &options).unwrap();
    assert!(!exit.stdout.contains("listening"), "it started something:\n{}", exit.stdout);
    exit
}

#[test]
fn a_file_with_three_mistakes_names_all_three() {
    let config = "[proxy]\nhead_timeuot = \"1s\"\ndrain_timeout = \"fast\"\n\n[servers.a]\nurl = 5\n";
    let exit = refused(&ANY_PORTS, GatewayOptions::config(config));
    assert_eq!(exit.code, Some(64), "{exit:?}");
    // A misspelt key comes with the nearest that exists.
    for words in [
        ["watchgate.toml", "2", "head_timeuot", "head_timeout"].as_slice(),
        &["watchgate.toml", "3", "drain_timeout"],
        &["watchgate.toml", "6", "url"],
    ] {
        assert!(says(&exit.stderr, words), "no line says {words:?}:\n{}", exit.stderr);
    }
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let exit = refused(&ANY_PORTS, GatewayOptions::config("[proxy]\nhead_timeout = \n"));
    assert_eq!(exit.code, Some(64), "{exit:?}");
    assert!(says(&exit.stderr, &["watchgate.toml", "2"]), "{}", exit.stderr);
}

#[test]
fn a_wrong_flag_is_refused() {
    for args in [["--upstream", "not a url"], ["--upstream", "ftp://127.0.0.1"], ["--nonsense", "1"]] {
        let exit = refused(&[ANY_PORTS.as_slice(), &args].concat(), GatewayOptions::default());
        assert_eq!(exit.code, Some(64), "{args:?}: {exit:?}");
        assert!(!exit.stderr.is_empty());
    }
}

/// One clear line on stderr, naming what it is about, and a failure.
#[track_caller]
fn assert_one_line(exit: &Exit, naming: &str) {
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    assert_eq!(exit.stderr.lines().count(), 1, "{}", exit.stderr);
    assert!(exit.stderr.contains(naming), "{naming} is not in: {}", exit.stderr);
}

#[test]
fn two_gateways_on_one_port() {
    let upstream = Scripted::start(answer);
    let first = Gateway::before(&upstream.url());
    for taken in [first.traffic, first.admin].map(|address| address.to_string()) {
        let listen = ["--upstream", &upstream.url(), "--listen", &taken, "--admin", "127.0.0.1:0"];
        assert_one_line(&Gateway::run_to_exit(&listen, &GatewayOptions::default()).unwrap(), &taken);
        let admin = ["--upstream", &upstream.url(), "--listen", "127.0.0.1:0", "--admin", &taken];
        assert_one_line(&Gateway::run_to_exit(&admin, &GatewayOptions::default()).unwrap(), &taken);
    }
    assert_eq!(first.admin_get("/health/live").status(), 200);
}

#[test]
fn an_access_log_that_cannot_be_written() {
    let upstream = Scripted::start(answer);
    let url = upstream.url();
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("no/such/folder/access.log"), directory.path().to_owned()] {
        let path = path.to_str().unwrap();
        let args = [ANY_PORTS.as_slice(), &["--upstream", &url, "--access-log", path]].concat();
        assert_one_line(&refused(&args, GatewayOptions::default()), path);
    }
}

/// Whoever starts it again and again need not: the configuration must be changed.
#[test]
fn a_file_that_is_named_and_of_no_use() {
    let upstream = Scripted::start(answer);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let named = path.to_str().unwrap();
    let servers = format!("[servers.a]\nurl = \"{}\"\n", upstream.url());
    let tokens = format!("[auth.jwt]\njwks_file = \"{named}\"\nissuers = [\"i\"]\naudiences = [\"a\"]\n");
    let keys = format!("[auth]\nkeys_file = \"{named}\"\n");
    let listener = format!("[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = \"{named}\", key = \"{named}\" }}\n");
    for (content, config) in [("{\"keys\":[]}", tokens), ("", keys), ("no PEM", listener)] {
        std::fs::write(&path, content).unwrap();
        let options = GatewayOptions { listeners_of_file: true, ..GatewayOptions::config(&format!("{config}{servers}")) };
        let exit = refused(&["--admin", "127.0.0.1:0"], options);
        assert_one_line(&exit, named);
        assert_eq!(exit.code, Some(64), "{exit:?}");
    }
    let collector = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/ca.pem")];
    let environment = collector.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let exit = refused(&ANY_PORTS, GatewayOptions { environment, ..GatewayOptions::config(&servers) });
    assert_one_line(&exit, "/no/such/ca.pem");
    assert_eq!(exit.code, Some(64), "{exit:?}");
}

#[test]
fn a_plugin_folder_given_by_flag_must_exist() {
    let upstream = Scripted::start(answer);
    let url = upstream.url();
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("plugins");
    let missing = missing.to_str().unwrap();
    let args = [ANY_PORTS.as_slice(), &["--upstream", &url, "--plugins", missing]].concat();
    assert_one_line(&refused(&args, GatewayOptions::default()), missing);
}

#[test]
fn the_default_plugin_folder_may_be_missing() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    assert!(!gateway.directory().join("plugins").exists());
    assert_eq!(gateway.admin_get("/health/ready").status(), 200);
}
