//! Which server a request goes to.

use watchgate_tests::{Gateway, GatewayOptions, Scripted};

use crate::messages::{answer, tool_call};

fn targets(upstream: &Scripted) -> Vec<String> {
    upstream.requests().iter().map(|request| request.head.target().to_owned()).collect()
}

/// Sends one request to each path; each server must have seen exactly what the paths say.
fn check(gateway: &Gateway, a: &Scripted, b: &Scripted) {
    for path in ["/a/mcp", "/b/mcp?x=/a/", "/a/b/mcp", "/b/", "/a/%61/deep//x"] {
        assert_eq!(gateway.post(path, &tool_call(1, "t")).status(), 200, "{path}");
    }
    assert_eq!(targets(a), ["/mcp", "/b/mcp", "/%61/deep//x"]);
    assert_eq!(targets(b), ["/mcp?x=/a/", "/"]);
}

#[test]
fn named_servers_are_mounted_under_their_names_by_flags() {
    let (a, b) = (Scripted::start(answer), Scripted::start(answer));
    let (first, second) = (format!("a={}", a.url()), format!("b={}", b.url()));
    let gateway = Gateway::start(&["--upstream", &first, "--upstream", &second], GatewayOptions::default());
    check(&gateway, &a, &b);
}

#[test]
fn named_servers_are_mounted_under_their_names_by_the_file() {
    let (a, b) = (Scripted::start(answer), Scripted::start(answer));
    let config = format!("[servers.a]\nurl = \"{}\"\n\n[servers.b]\nurl = \"{}\"\n", a.url(), b.url());
    check(&Gateway::start(&[], GatewayOptions::config(&config)), &a, &b);
}

#[test]
fn a_path_of_no_server_goes_nowhere_and_is_no_404() {
    let a = Scripted::start(answer);
    let gateway = Gateway::start(&["--upstream", &format!("a={}", a.url())], GatewayOptions::default());
    for path in ["/", "/mcp", "/ab/mcp", "/A/mcp", "//a/mcp", "/%61/mcp"] {
        let reply = gateway.post(path, &tool_call(1, "t"));
        // Clients of two eras read 400 and 404 as "speak the other one".
        assert!(reply.status() >= 500, "{path}: {}", reply.status());
        assert_eq!(reply.json().unwrap()["error"]["data"]["source"], "watchgate", "{path}");
    }
    assert_eq!(targets(&a), Vec::<String>::new());
}

#[test]
fn a_single_server_gets_every_path() {
    let upstream = Scripted::start(answer);
    let gateway = Gateway::before(&upstream.url());
    for path in ["/", "/mcp", "/a/b?c=d", "/.well-known/oauth-authorization-server"] {
        assert_eq!(gateway.post(path, &tool_call(1, "t")).status(), 200, "{path}");
    }
    assert_eq!(targets(&upstream), ["/", "/mcp", "/a/b?c=d", "/.well-known/oauth-authorization-server"]);
}
