//! A key on its way from a client to a server: in arguments, names, mirrored headers, answers, and in what is no message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use watchgate_tests::{Received, leaked, wait_until};

use crate::guarded::{Guarded, KEY, MASK, Seen};

/// What a client of 2026-07-28 sends with a `tools/call`.
const MODERN: [(&str, &str); 2] = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call")];

fn call(arguments: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"store","arguments":{arguments}}}}}"#)
}

fn body(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// The message was forwarded, with the mask where the key was.
#[track_caller]
fn masked(what: &str, (received, seen): (Option<Received>, Seen)) -> Received {
    let received = received.unwrap_or_else(|| panic!("{what}: not forwarded but answered with {}", seen.body));
    assert!(String::from_utf8_lossy(&received.body).contains(MASK), "{what}: {}", String::from_utf8_lossy(&received.body));
    assert_eq!(seen.status, 200, "{what}");
    received
}

/// The message was not forwarded, and the client was told.
#[track_caller]
fn denied(what: &str, (received, seen): (Option<Received>, Seen)) {
    assert!(received.is_none(), "{what}: forwarded");
    let error: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!((seen.status, &error["id"], &error["error"]["code"]), (200, &json!(1), &json!(-31001)), "{what}: {error}");
}

#[test]
fn in_the_id_that_a_client_gives_its_request() {
    let mut guarded = Guarded::start("");
    // Of digits alone, as ids often are.
    let card = "4539578763621486";
    let mut found = 0.0;
    for id in [KEY.to_owned(), card.to_owned(), format!("order-{KEY}")] {
        guarded.send(&[("X-Request-ID", &id)], call("{}").as_bytes());
        found += 1.0;
    }
    wait_until("the policy has seen each of them", || {
        let metrics = guarded.gateway.metrics();
        (metrics.metric("redact_secrets_found_total", &[("plugin", "redact-secrets")]) >= found).then_some(())
    });
    guarded.assert_no_trace(&[KEY, card]);
}

#[test]
fn in_messages_of_every_kind() {
    let mut guarded = Guarded::start("");
    let escaped = KEY.replace('A', r"\u0041");
    let messages = [
        ("an argument", call(&format!(r#"{{"key":"{KEY}"}}"#))),
        ("an escaped argument", call(&format!(r#"{{"key":"{escaped}"}}"#))),
        ("the name of an argument", call(&format!(r#"{{"{escaped}":1}}"#))),
        ("JSON in an argument", call(&format!(r#"{{"json":"{{\"key\":\"\\u0041{}\"}}"}}"#, &KEY[1..]))),
        ("a tool's name", format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{KEY}"}}}}"#)),
        ("a resource", format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"file:///{escaped}"}}}}"#)),
        (
            "a prompt's argument",
            format!(r#"{{"method":"prompts/get","params":{{"name":"p","arguments":{{"k":"{KEY}"}}}},"jsonrpc":"2.0","id":1}}"#),
        ),
        ("an answer to the server", format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":{{"type":"text","text":"{KEY}"}}}}}}"#)),
        (
            "a notification",
            format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":1,"reason":"{KEY}"}}}}"#),
        ),
        ("an unknown method", format!(r#"{{"jsonrpc":"2.0","id":1,"method":"example/store","params":["{escaped}"]}}"#)),
        ("JSON that is no message", format!(r#"{{"key":"{escaped}"}}"#)),
        ("text", format!("key={KEY}")),
        ("a batch", format!("[{},{}]", call(&format!(r#"{{"key":"{KEY}"}}"#)), call(&format!(r#"{{"key":"{escaped}"}}"#)))),
    ];
    for (what, message) in &messages {
        let forwarded = guarded.asked(what, &[], message.as_bytes());
        masked(what, forwarded);
    }
    // What is not UTF-8 may be read in another encoding, in which no policy has seen it.
    let (received, seen) = guarded.asked("not UTF-8", &[], &[b"\xff ", KEY.as_bytes()].concat());
    assert_eq!((received.is_none(), seen.status), (true, 403));
    // Neither may change, so the message cannot go on.
    let method = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{KEY}"}}"#);
    denied("a method", guarded.asked("a method", &[], method.as_bytes()));
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn in_an_id_the_message_is_denied() {
    let mut guarded = Guarded::start("");
    let message = call("{}").replace("\"id\":1", &format!("\"id\":\"{KEY}\""));
    let (received, seen) = guarded.asked("an id", &[], message.as_bytes());
    assert!(received.is_none());
    // It is the client's own id, without which it could not tell what was denied.
    assert_eq!(serde_json::from_str::<Value>(&seen.body).unwrap()["id"], KEY);
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn in_headers_that_mirror_the_body() {
    let mut guarded = Guarded::start("");
    let encoded = |text: &str| format!("=?base64?{}?=", STANDARD.encode(text));
    let with = |headers: &[(&'static str, &str)]| -> Vec<(String, String)> {
        MODERN.iter().chain(headers).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let accented = format!("caf\u{e9} {KEY}");
    let escaped = KEY.replace('A', r"\u0041");
    let named = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{escaped}"}}}}"#);
    let argument = |text: &str| call(&format!(r#"{{"a":[{{"key":"{text}"}}]}}"#));
    let cases = [
        ("Mcp-Name", with(&[("Mcp-Name", KEY)]), named.clone(), MASK.to_owned()),
        ("Mcp-Name in base 64", with(&[("Mcp-Name", &encoded(KEY))]), named, MASK.to_owned()),
        ("Mcp-Param", with(&[("Mcp-Name", "store"), ("Mcp-Param-Key", KEY)]), argument(KEY), MASK.to_owned()),
        ("Mcp-Param and an escape", with(&[("mcp-param-key", KEY)]), argument(&escaped), MASK.to_owned()),
        (
            "Mcp-Param in base 64",
            with(&[("MCP-PARAM-KEY", &encoded(&accented))]),
            argument(&accented),
            encoded(&format!("caf\u{e9} {MASK}")),
        ),
    ];
    for (what, headers, message, expected) in &cases {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let forwarded = guarded.asked(what, &headers, message.as_bytes());
        let received = masked(what, forwarded);
        let name = if what.starts_with("Mcp-Name") { "mcp-name" } else { "mcp-param-key" };
        assert_eq!(received.head.header(name), Some(expected.as_str()), "{what}: {received:?}");
        assert_eq!(received.head.header("mcp-method"), Some("tools/call"));
        assert_eq!(body(&received)["id"], 1);
    }
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn in_headers_that_cannot_follow() {
    let mut guarded = Guarded::start("");
    let encoded = format!("=?base64?{}?=", STANDARD.encode(format!("my {KEY}")));
    let broken = format!("=?base64?{KEY}*?=");
    let clean = call(r#"{"key":"nothing"}"#);
    let holding = call(&format!(r#"{{"key":"{KEY}"}}"#));
    let longer = format!("{KEY}, twice");
    for (what, name, value, message) in [
        ("a header without its value in the body", "Mcp-Param-Key", KEY, &clean),
        ("the same in base 64", "Mcp-Param-Key", encoded.as_str(), &clean),
        ("a name that is not the body's", "Mcp-Name", KEY, &clean),
        ("a header that says more than the body", "Mcp-Param-Key", longer.as_str(), &holding),
        ("a name where an argument holds the key", "Mcp-Name", KEY, &holding),
    ] {
        denied(what, guarded.asked(what, &[&MODERN[..], &[(name, value)]].concat(), message.as_bytes()));
    }
    // The server itself would have to refuse this one, and says so in the same way.
    let (received, seen) =
        guarded.asked("base 64 that is none", &[&MODERN[..], &[("Mcp-Param-Key", broken.as_str())]].concat(), clean.as_bytes());
    assert!(received.is_none() && seen.body.contains("-32020"), "{}", seen.body);
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn that_the_server_sends_back_is_gone_already() {
    let mut guarded = Guarded::start("");
    let (received, _) = guarded.asked("an argument", &[], call(&format!(r#"{{"key":"{KEY}"}}"#)).as_bytes());
    let echoed = received.unwrap().body;
    let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": String::from_utf8(echoed).unwrap()}]}});
    let seen = guarded.answered("an echo", 200, "application/json", &[result.to_string().as_bytes()]);
    assert_eq!(seen.body, result.to_string(), "the mask itself is no secret");
    assert_eq!(leaked(seen.body.as_bytes(), KEY), None);
}

#[test]
fn with_the_access_log_on_stdout() {
    let upstream = watchgate_tests::Scripted::start(crate::messages::answer);
    let folder = watchgate_tests::PluginFolder::with("redact-secrets", &watchgate_tests::plugins::stock("redact-secrets"), "");
    let args = ["--upstream", &upstream.url(), "--plugins", folder.path(), "--access-log", "-", "--log-format", "json"];
    let mut gateway = watchgate_tests::Gateway::start(&args, watchgate_tests::GatewayOptions::default());
    let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{KEY}","arguments":{{"k":"{KEY}"}}}}}}"#);
    gateway.call("POST", "/mcp", &[], message.as_bytes());
    wait_until("an access line", || gateway.stdout().contains("\"access\"").then_some(()));
    assert_eq!(leaked(gateway.stdout().as_bytes(), KEY), None, "{}", gateway.stdout());
    let log = gateway.whole_log();
    assert_eq!(leaked(log.as_bytes(), KEY), None, "{log}");
}
