//! Claims of honest proxies and of clients that lie.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Context, client_ip, element, host_for, write_forwarded};
use crate::config::ClientAddresses;
use crate::server_config::{Forwarded, HostHeader};

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// The connection comes from 10.0.0.1.
fn check_ip(trusted_hops: u8, fields: &[(&str, &str)], expected: &str) {
    let found = client_ip(&ClientAddresses { trusted_hops }, "10.0.0.1".parse().unwrap(), &headers(fields));
    assert_eq!(found.to_string(), expected, "{trusted_hops} {fields:?}");
}

#[test]
fn without_trusted_hops_only_the_connection_counts() {
    check_ip(0, &[], "10.0.0.1");
    check_ip(0, &[("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")], "10.0.0.1");
    let mapped = client_ip(&ClientAddresses::default(), "::ffff:10.0.0.1".parse().unwrap(), &HeaderMap::new());
    assert_eq!(mapped.to_string(), "10.0.0.1");
}

#[test]
fn the_entry_of_the_outermost_trusted_proxy_counts() {
    let x = "x-forwarded-for";
    check_ip(1, &[(x, "1.2.3.4")], "1.2.3.4");
    check_ip(1, &[(x, "6.6.6.6, 1.2.3.4")], "1.2.3.4");
    check_ip(2, &[(x, "6.6.6.6, 1.2.3.4, 10.0.0.2")], "1.2.3.4");
    check_ip(2, &[(x, "6.6.6.6"), (x, "1.2.3.4"), (x, "10.0.0.2")], "1.2.3.4");
    check_ip(2, &[(x, "6.6.6.6, 1.2.3.4"), (x, ",10.0.0.2 ,")], "1.2.3.4");
    check_ip(1, &[(x, "1.2.3.4:5678")], "1.2.3.4");
    check_ip(1, &[(x, "2001:db8::1")], "2001:db8::1");
    check_ip(1, &[(x, "[2001:db8::1]")], "2001:db8::1");
    check_ip(1, &[(x, "[2001:db8::1]:443")], "2001:db8::1");
    check_ip(1, &[(x, "::ffff:1.2.3.4")], "1.2.3.4");
    // Proxies append to one of the two; the other is the client's.
    check_ip(1, &[(x, "1.2.3.4"), ("forwarded", "for=6.6.6.6")], "1.2.3.4");
}

#[test]
fn forwarded_is_read_where_the_other_is_missing() {
    let f = "forwarded";
    check_ip(1, &[(f, "for=1.2.3.4;proto=https")], "1.2.3.4");
    check_ip(1, &[(f, "for=6.6.6.6, proto=https; For = \"1.2.3.4:80\"")], "1.2.3.4");
    check_ip(1, &[(f, "by=x;for=\"[2001:db8::1]:4711\"")], "2001:db8::1");
    check_ip(2, &[(f, "for=6.6.6.6"), (f, "for=1.2.3.4, for=10.0.0.2")], "1.2.3.4");
    // A quote that the client opened and never closed.
    check_ip(1, &[(f, "for=\"6.6.6.6, for=1.2.3.4")], "1.2.3.4");
    check_ip(1, &[(f, "for=6.6.6.6;x=\"\\"), (f, "for=1.2.3.4")], "1.2.3.4");
}

#[test]
fn what_is_no_address_falls_back_to_the_connection() {
    for text in [
        "unknown",
        "_hidden",
        "",
        ",",
        "1.2.3",
        "1.2.3.4:",
        "1.2.3.4:99999",
        "[1.2.3.4]",
        "[::1",
        "fe80::1%eth0",
        "1.2.3.4 5.6.7.8",
        "\u{ff}",
        "localhost",
    ] {
        check_ip(1, &[("x-forwarded-for", text)], "10.0.0.1");
        check_ip(1, &[("forwarded", &format!("for={text}"))], "10.0.0.1");
    }
    check_ip(1, &[("forwarded", "proto=https")], "10.0.0.1");
    check_ip(1, &[("forwarded", "for=\"1.2.3.4")], "10.0.0.1");
    check_ip(1, &[], "10.0.0.1");
    check_ip(3, &[("x-forwarded-for", "6.6.6.6, 1.2.3.4")], "10.0.0.1");
    check_ip(255, &[("x-forwarded-for", &"6.6.6.6,".repeat(200))], "10.0.0.1");
}

fn check_written(forwarded: Forwarded, trusted_hops: u8, prefix: Option<&str>, before: &[(&str, &str)], after: &[(&str, &str)]) {
    let mut written = headers(before);
    let host = HeaderValue::from_static("mcp.test:8080");
    let context = Context { peer: "::ffff:1.2.3.4".parse().unwrap(), scheme: "https", host: Some(&host), prefix };
    write_forwarded(&mut written, forwarded, &ClientAddresses { trusted_hops }, context);
    let written: Vec<_> =
        written.iter().map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
    let expected: Vec<_> = after.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(written, expected, "{forwarded:?} {trusted_hops} {before:?}");
}

const CLAIMED: &[(&str, &str)] = &[
    ("accept", "a"),
    ("x-forwarded-for", "6.6.6.6"),
    ("x-real-ip", "6.6.6.6"),
    ("b", "1"),
    ("forwarded", "for=6.6.6.6"),
    ("x-forwarded-prefix", "/evil"),
    ("b", "2"),
    ("x-forwarded-port", "1"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "evil.test"),
    ("z", "z"),
];

#[test]
fn off_touches_nothing() {
    for hops in [0, 1] {
        let mut written = headers(CLAIMED);
        let context = Context { peer: "1.2.3.4".parse().unwrap(), scheme: "http", host: None, prefix: Some("/x") };
        write_forwarded(&mut written, Forwarded::Off, &ClientAddresses { trusted_hops: hops }, context);
        assert_eq!(written, headers(CLAIMED));
    }
}

#[test]
fn a_clients_claims_are_replaced() {
    check_written(
        Forwarded::XForwarded,
        0,
        None,
        CLAIMED,
        &[
            ("accept", "a"),
            ("x-forwarded-for", "1.2.3.4"),
            ("b", "1"),
            ("b", "2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "mcp.test:8080"),
            ("z", "z"),
        ],
    );
    check_written(
        Forwarded::Forwarded,
        0,
        Some("/weather"),
        CLAIMED,
        &[("accept", "a"), ("b", "1"), ("b", "2"), ("forwarded", "for=1.2.3.4;host=\"mcp.test:8080\";proto=https"), ("z", "z")],
    );
    check_written(
        Forwarded::Both,
        0,
        Some("/weather"),
        &[("a", "a"), ("z", "z")],
        &[
            ("a", "a"),
            ("z", "z"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "mcp.test:8080"),
            ("x-forwarded-prefix", "/weather"),
            ("forwarded", "for=1.2.3.4;host=\"mcp.test:8080\";proto=https"),
        ],
    );
}

#[test]
fn what_trusted_proxies_said_is_continued() {
    check_written(
        Forwarded::Both,
        1,
        Some("/weather"),
        &[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "7.7.7.7, 8.8.8.8"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "public.test"),
            ("x-forwarded-prefix", "/outer/"),
            ("forwarded", "for=8.8.8.8"),
            ("x-real-ip", "8.8.8.8"),
        ],
        &[
            ("x-forwarded-for", "6.6.6.6, 7.7.7.7, 8.8.8.8, 1.2.3.4"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "public.test"),
            ("x-forwarded-prefix", "/outer/weather"),
            ("forwarded", "for=8.8.8.8, for=1.2.3.4;host=\"mcp.test:8080\";proto=https"),
            ("x-real-ip", "8.8.8.8"),
        ],
    );
    check_written(
        Forwarded::XForwarded,
        1,
        None,
        &[],
        &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "mcp.test:8080")],
    );
}

#[test]
fn an_element_cannot_be_broken_out_of() {
    let check = |peer: &str, host: Option<&str>, expected: &str| {
        let host = host.map(|host| HeaderValue::from_bytes(host.as_bytes()).unwrap());
        let peer = peer.parse().unwrap();
        assert_eq!(element(peer, &Context { peer, scheme: "http", host: host.as_ref(), prefix: None }), expected);
    };
    check("2001:db8::1", Some("a.test"), "for=\"[2001:db8::1]\";host=a.test;proto=http");
    check("1.2.3.4", Some("[::1]:80"), "for=1.2.3.4;host=\"[::1]:80\";proto=http");
    check("1.2.3.4", Some("a\";for=6.6.6.6"), "for=1.2.3.4;proto=http");
    check("1.2.3.4", Some("a, for=6.6.6.6"), "for=1.2.3.4;proto=http");
    check("1.2.3.4", Some("\u{fc}"), "for=1.2.3.4;proto=http");
    check("1.2.3.4", Some(""), "for=1.2.3.4;proto=http");
    check("1.2.3.4", None, "for=1.2.3.4;proto=http");
}

#[test]
fn the_host_follows_the_setting() {
    let check = |setting: HostHeader, client: Option<&'static str>, is_tls: bool, expected: &str| {
        let client = client.map(HeaderValue::from_static);
        let host = host_for(&setting, client.as_ref(), &HeaderValue::from_static("endpoint:1"), is_tls);
        assert_eq!(host, expected, "{setting:?} {is_tls}");
    };
    check(HostHeader::Auto, Some("client"), false, "client");
    check(HostHeader::Auto, Some("client"), true, "endpoint:1");
    check(HostHeader::Auto, None, false, "endpoint:1");
    check(HostHeader::Preserve, Some("client"), true, "client");
    check(HostHeader::Preserve, None, true, "endpoint:1");
    check(HostHeader::Upstream, Some("client"), false, "endpoint:1");
    check(HostHeader::Fixed("fixed.test".to_owned()), Some("client"), true, "fixed.test");
    check(HostHeader::Fixed("fi\nxed".to_owned()), Some("client"), true, "endpoint:1");
}
