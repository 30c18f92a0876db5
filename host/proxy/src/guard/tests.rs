//! Who gets past the lists, and who does not.

use http::{Request, Version};

use super::*;

const IN: Result<(), Stranger> = Ok(());
const HOST: Result<(), Stranger> = Err(Stranger::Host);
const ORIGIN: Result<(), Stranger> = Err(Stranger::Origin);

/// `target` as in the request line; fields as `name: value`.
fn check(guard: &GuardConfig, target: &str, fields: &[&str], expected: Result<(), Stranger>) {
    let mut request = Request::builder().uri(target).version(Version::HTTP_11);
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    assert_eq!(Guard::new(guard).check(&parts), expected, "{target} {fields:?}");
}

fn config(hosts: &[&str], origins: &[&str]) -> GuardConfig {
    let owned = |entries: &[&str]| (!entries.is_empty()).then(|| entries.iter().map(|&entry| entry.to_owned()).collect());
    GuardConfig { hosts: owned(hosts), origins: owned(origins) }
}

#[test]
fn an_open_guard_lets_everything_in() {
    for fields in [&[][..], &["host: a", "host: b"], &["origin: null"], &["host: \u{fc}"], &["origin: x", "origin: y"]] {
        check(&GuardConfig::OPEN, "/mcp", fields, IN);
    }
}

#[test]
fn on_loopback_only_names_and_pages_of_this_machine() {
    let guard = GuardConfig::loopback();
    for host in [
        "localhost",
        "localhost:8080",
        "LOCALHOST:1",
        "localhost.",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "[0:0:0:0:0:0:0:1]:9",
        "localhost:",
    ] {
        check(&guard, "/mcp", &[&format!("host: {host}")], IN);
    }
    for host in [
        "evil.test",
        "localhost.evil.test",
        "xlocalhost",
        "localhost@evil.test",
        "evil.test@localhost",
        "evil.test:80@localhost",
        "localhost, evil.test",
        "127.0.0.1.evil.test",
        "127.0.0.2",
        "::1",
        "[::1",
        "[::1]x",
        "[::2]",
        "[::1%25lo]",
        "localhost:80:80",
        "localhost:x",
        "localhost:99999",
        "localhost:+80",
        ":80",
        "",
        "localhost/",
        "local\u{131}host",
        "*",
    ] {
        check(&guard, "/mcp", &[&format!("host: {host}")], HOST);
    }
    for origin in ["http://localhost", "https://localhost:3000", "http://127.0.0.1:6274", "http://[::1]:6274", "HTTP://LocalHost"] {
        check(&guard, "/mcp", &["host: localhost", &format!("origin: {origin}")], IN);
    }
    for origin in [
        "null",
        "http://evil.test",
        "http://localhost.evil.test",
        "http://localhost@evil.test",
        "http://evil.test http://localhost",
        "http://localhost http://evil.test",
        "http://localhost/path",
        "ftp://localhost",
        "localhost",
        "http://",
        "",
        "\u{ff}",
    ] {
        check(&guard, "/mcp", &["host: localhost", &format!("origin: {origin}")], ORIGIN);
    }
    check(&guard, "/mcp", &["host: localhost", "origin: http://localhost", "origin: http://localhost"], ORIGIN);
    check(&guard, "/mcp", &["host: evil.test", "origin: http://evil.test"], HOST);
    check(&guard, "/mcp", &[], HOST);
}

#[test]
fn the_target_names_the_host_where_it_has_one() {
    let guard = config(&["mcp.example.com"], &[]);
    check(&guard, "http://mcp.example.com/mcp", &[], IN);
    check(&guard, "http://mcp.example.com/mcp", &["host: MCP.example.com:80"], IN);
    check(&guard, "https://mcp.example.com/mcp", &["host: mcp.example.com:443"], IN);
    check(&guard, "http://mcp.example.com:8080/mcp", &["host: mcp.example.com:8080"], IN);
    check(&guard, "http://mcp.example.com:8080/mcp", &["host: mcp.example.com"], HOST);
    check(&guard, "https://mcp.example.com/mcp", &["host: mcp.example.com:80"], HOST);
    check(&guard, "http://evil.test/mcp", &["host: mcp.example.com"], HOST);
    check(&guard, "http://mcp.example.com/mcp", &["host: evil.test"], HOST);
    check(&guard, "http://mcp.example.com/mcp", &["host: mcp.example.com, evil.test"], HOST);
    check(&guard, "http://user@mcp.example.com/mcp", &[], HOST);
    check(&guard, "/mcp", &["host: mcp.example.com", "host: mcp.example.com"], HOST);
    check(&guard, "/mcp", &["host: mcp.example.com", "host: evil.test"], HOST);
}

#[test]
fn wildcards_stand_for_one_label_or_more() {
    let guard = config(&["*.example.com", "::1"], &["https://*.example.com", "null", "https://app.test:8443", "https://plain.test:443"]);
    for host in ["a.example.com", "a.b.Example.COM:1", "a.example.com.", "[::1]"] {
        check(&guard, "/", &[&format!("host: {host}")], IN);
    }
    for host in
        ["example.com", ".example.com", "aexample.com", "a.example.com.evil.test", "evil.test/.example.com", "evil.test#.example.com"]
    {
        check(&guard, "/", &[&format!("host: {host}")], HOST);
    }
    for origin in ["https://a.example.com", "https://a.example.com:444", "null", "https://app.test:8443", "https://plain.test"] {
        check(&guard, "/", &["host: b.example.com", &format!("origin: {origin}")], IN);
    }
    for origin in [
        "http://a.example.com",
        "https://example.com",
        "https://app.test",
        "https://app.test:84",
        "http://plain.test",
        "Null",
        "https://evil.test?.example.com",
    ] {
        check(&guard, "/", &["host: b.example.com", &format!("origin: {origin}")], ORIGIN);
    }
}

#[test]
fn a_star_takes_every_legal_host_and_any_origin_at_all() {
    let guard = config(&["*"], &["*"]);
    check(&guard, "/", &["host: anything.test", "origin: null"], IN);
    check(&guard, "/", &["host: anything.test", "origin: a", "origin: b"], IN);
    check(&guard, "/", &["host: any thing"], HOST);
    check(&guard, "/", &[], HOST);
}

#[test]
fn pages_of_the_host_itself_are_always_let_in() {
    let guard = GuardConfig { hosts: None, origins: Some(Vec::new()) };
    let check = |target: &str, host: &str, origin: &str, expected| {
        check(&guard, target, &[&format!("host: {host}"), &format!("origin: {origin}")], expected);
    };
    check("/mcp", "mcp.test", "http://mcp.test", IN);
    check("/mcp", "MCP.test:80", "http://mcp.test", IN);
    check("/mcp", "mcp.test", "https://mcp.test", IN);
    check("/mcp", "10.0.0.7:8080", "http://10.0.0.7:8080", IN);
    check("http://mcp.test/mcp", "mcp.test", "http://mcp.test", IN);
    check("/mcp", "10.0.0.7:8080", "http://10.0.0.7", ORIGIN);
    check("/mcp", "mcp.test:8080", "https://mcp.test", ORIGIN);
    check("/mcp", "mcp.test", "http://app.test", ORIGIN);
    check("/mcp", "mcp.test", "ftp://mcp.test", ORIGIN);
    check("/mcp", "null", "null", ORIGIN);
}

#[test]
fn an_empty_list_lets_nobody_in() {
    let guard = GuardConfig { hosts: Some(Vec::new()), origins: None };
    check(&guard, "/", &["host: localhost"], HOST);
    let guard = GuardConfig { hosts: None, origins: Some(vec!["nonsense".to_owned(), "http://a:x".to_owned()]) };
    check(&guard, "/", &["origin: nonsense"], ORIGIN);
    check(&guard, "/", &["origin: http://a:x"], ORIGIN);
    check(&guard, "/", &["host: x"], IN);
}
