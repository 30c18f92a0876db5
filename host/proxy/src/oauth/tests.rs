//! What names the server names the gateway afterwards; what names anything else does not.

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::server_config::{EndpointConfig, Forwarded, Mount, ServerConfig};

/// `https://gw.example/weather` stands for a server mounted at `/weather`.
fn mounted(url_path: &str) -> OauthRewrite {
    rewrite_for(url_path, Mount::Prefix, "https://gw.example/weather", Forwarded::Off)
}

fn rewrite_for(url_path: &str, mount: Mount, public_url: &str, forwarded: Forwarded) -> OauthRewrite {
    let mut server = ServerConfig::new("weather", EndpointConfig::http([127, 0, 0, 1].into(), 1), url_path, mount);
    server.public_url = Some(public_url.to_owned());
    server.forwarded = forwarded;
    OauthRewrite::new(public_url, Mounting::of(&server), url_path, vec!["up:3001".into(), "up2:3001".into()]).unwrap()
}

fn check(rewrite: &OauthRewrite, url: &str, expected: Option<&str>) {
    let host = HeaderValue::from_static("gw.example");
    assert_eq!(rewrite.public(url, Some(&host)).as_deref(), expected, "{url}");
}

#[test]
fn a_server_that_keeps_its_paths_changes_its_origin() {
    for public_url in ["https://gw.example", "https://gw.example/", "https://gw.example/mcp"] {
        let root = rewrite_for("/mcp", Mount::Root, public_url, Forwarded::Off);
        check(&root, "http://up:3001/mcp", Some("https://gw.example/mcp"));
        check(&root, "http://UP2:3001", Some("https://gw.example"));
        check(&root, "http://up:3001/", Some("https://gw.example/"));
        check(
            &root,
            "http://up:3001/.well-known/oauth-protected-resource/mcp",
            Some("https://gw.example/.well-known/oauth-protected-resource/mcp"),
        );
        check(&root, "http://gw.example/mcp?x#y", Some("https://gw.example/mcp?x#y"));
        check(&root, "https://gw.example/mcp", None);
        for foreign in ["https://evil.example/mcp", "http://up:3002/mcp", "http://up:3001.evil.example/", "/mcp", "urn:x", ""] {
            check(&root, foreign, None);
        }
    }
}

#[test]
fn a_mounted_servers_urls_are_below_its_mount() {
    let below_mcp = mounted("/mcp");
    check(&below_mcp, "http://up:3001/mcp", Some("https://gw.example/weather"));
    check(&below_mcp, "http://up:3001/mcp/", Some("https://gw.example/weather"));
    check(&below_mcp, "http://up:3001", Some("https://gw.example/weather"));
    check(&below_mcp, "http://up:3001/", Some("https://gw.example/weather"));
    check(&below_mcp, "http://up:3001/mcp/x", Some("https://gw.example/weather/x"));
    check(&below_mcp, "http://gw.example/mcp", Some("https://gw.example/weather"));
    check(&below_mcp, "http://up:3001/custom/metadata.json", None);
    check(
        &below_mcp,
        "http://up:3001/.well-known/oauth-protected-resource/mcp",
        Some("https://gw.example/weather/.well-known/oauth-protected-resource/mcp"),
    );
    let origin = mounted("");
    check(&origin, "http://up:3001/mcp", Some("https://gw.example/weather/mcp"));
    check(&origin, "http://up:3001", Some("https://gw.example/weather"));
    check(&origin, "http://up:3001/custom/metadata.json", Some("https://gw.example/weather/custom/metadata.json"));
    check(&mounted("/sse"), "http://up:3001/sse", Some("https://gw.example/weather"));
}

#[test]
fn a_server_that_knows_its_public_url_is_believed() {
    for url_path in ["", "/mcp"] {
        let rewrite = mounted(url_path);
        for path in ["/weather", "/weather/mcp", "/.well-known/oauth-protected-resource/weather/mcp", "/weather/.well-known/x"] {
            check(&rewrite, &format!("https://gw.example{path}"), None);
            check(&rewrite, &format!("http://gw.example{path}"), Some(&format!("https://gw.example{path}")));
        }
    }
    let told = rewrite_for("", Mount::Prefix, "https://gw.example/tools/weather", Forwarded::Both);
    check(&told, "http://gw.example/weather/mcp", Some("https://gw.example/tools/weather/mcp"));
}

fn check_bad(public_url: &str) {
    let result = OauthRewrite::new(public_url, mounted("").mounting, "", Vec::new());
    assert_eq!(result.err(), Some(BadPublicUrl), "{public_url}");
}

#[test]
fn public_urls_that_clients_could_not_use_are_refused() {
    for bad in [
        "",
        "/weather",
        "gw.example",
        "ftp://gw.example",
        "https://",
        "https://gw.example?x",
        "https://gw.example#x",
        "https://u@gw.example",
        "https://gw .example",
    ] {
        check_bad(bad);
    }
}

fn check_document(body: &str, place: DocumentPlace, expected: Option<&str>) {
    let new = mounted("/mcp").document(body.as_bytes(), place, None).map(|new| String::from_utf8(new).unwrap());
    assert_eq!(new.as_deref(), expected, "{body}");
}

#[test]
fn only_the_resource_of_a_document_changes() {
    let check = |body, expected| {
        check_document(body, DocumentPlace::WellKnown, Some(expected));
        check_document(body, DocumentPlace::Elsewhere, Some(expected));
    };
    check(
        r#"{ "authorization_servers": ["http://up:3001/mcp"], "x": {"resource": "http://up:3001/mcp"},"resource" : "http://up:3001/mcp" }"#,
        r#"{ "authorization_servers": ["http://up:3001/mcp"], "x": {"resource": "http://up:3001/mcp"},"resource" : "https://gw.example/weather" }"#,
    );
    check(
        r#"{"resource":"http:\/\/up:3001\/mcp\/\u0078","authorization_servers":[]}"#,
        r#"{"resource":"https://gw.example/weather/x","authorization_servers":[]}"#,
    );
    check_document(r#"{"resource":"http://up:3001/mcp"}"#, DocumentPlace::WellKnown, Some(r#"{"resource":"https://gw.example/weather"}"#));
}

#[test]
fn what_is_no_metadata_of_the_server_stays() {
    for body in [
        "",
        "{",
        "null",
        r#"["resource"]"#,
        r#""http://up:3001/mcp""#,
        r#"{"resource":1,"authorization_servers":[]}"#,
        r#"{"resource":{"resource":"http://up:3001/mcp"},"authorization_servers":[]}"#,
        r#"{"resource":"https://evil.example/mcp","authorization_servers":[]}"#,
        r#"{"resource":"http://up:3001/mcp","authorization_servers":[]} x"#,
        "{\"resource\":\"http://up:3001/\u{7f}\",\"authorization_servers\":[]}",
    ] {
        check_document(body, DocumentPlace::WellKnown, None);
    }
    check_document(r#"{"resource":"http://up:3001/mcp"}"#, DocumentPlace::Elsewhere, None);
    check_document(r#"{"resource":"http://up:3001/mcp","authorization_servers":"x"}"#, DocumentPlace::Elsewhere, None);
}

fn check_place(method: Method, path: &str, status: u16, content_type: &'static str, expected: Option<DocumentPlace>) {
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    let status = StatusCode::from_u16(status).unwrap();
    assert_eq!(document_place(&method, path, status, &headers), expected, "{method} {path} {status}");
}

#[test]
fn documents_are_known_by_where_they_are() {
    let (json, well_known) = ("application/json; charset=utf-8", "/.well-known/oauth-protected-resource");
    check_place(Method::GET, well_known, 200, json, Some(DocumentPlace::WellKnown));
    check_place(Method::GET, &format!("{well_known}/mcp"), 200, json, Some(DocumentPlace::WellKnown));
    check_place(Method::GET, &format!("{well_known}s"), 200, json, Some(DocumentPlace::Elsewhere));
    check_place(Method::GET, "/custom.json", 200, json, Some(DocumentPlace::Elsewhere));
    check_place(Method::POST, well_known, 200, json, None);
    check_place(Method::GET, well_known, 404, json, None);
    check_place(Method::GET, "/mcp", 200, "text/event-stream", None);
}

#[test]
fn challenges_of_all_fields_are_rewritten() {
    let mut headers = HeaderMap::new();
    for value in ["Basic realm=x", "Bearer resource_metadata=\"http://up:3001/.well-known/oauth-protected-resource/mcp\", scope=\"a\""] {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
    }
    headers.append("x", HeaderValue::from_static("Bearer resource_metadata=\"http://up:3001/x\""));
    let before = headers.clone();
    assert!(mounted("/mcp").challenges(&mut headers, None));
    let values: Vec<_> = headers.values().collect();
    let expected = "Bearer resource_metadata=\"https://gw.example/weather/.well-known/oauth-protected-resource/mcp\", scope=\"a\"";
    assert_eq!(values, ["Basic realm=x", expected, before["x"].to_str().unwrap()]);
    assert!(!mounted("/mcp").challenges(&mut headers, None));
}

proptest! {
    #[test]
    fn a_rewritten_document_differs_in_one_value(path in "(/[a-z]{1,3}){0,3}", other in "\\PC{0,20}") {
        let body = serde_json::json!({"a": other, "resource": format!("http://up:3001{path}"), "resource_": other, "authorization_servers": [other]});
        let new = mounted("").document(body.to_string().as_bytes(), DocumentPlace::Elsewhere, None).unwrap();
        let mut expected = body;
        expected["resource"] = format!("https://gw.example/weather{path}").into();
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&new).unwrap(), expected);
    }

    #[test]
    fn any_text_is_taken(url in "(https?:)?(//)?(up:3001|gw.example|x)?\\PC{0,30}", url_path in "(/(mcp|sse))?/?") {
        if let Some(public) = mounted(&url_path).public(&url, Some(&HeaderValue::from_static("gw.example"))) {
            prop_assert!(public.starts_with("https://gw.example/"), "{}", public);
        }
    }
}
