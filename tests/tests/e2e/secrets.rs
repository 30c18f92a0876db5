//! A key in a server's answer crosses in every shape there is, and arrives in none.

use serde_json::Value;
use watchgate_tests::leaked;

use crate::guarded::{Guarded, KEY, MASK};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Messages with the key at `@`.
const ANSWERS: [(&str, &str); 9] = [
    ("a tool's text", r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"the key is @, keep it"}]}}"#),
    ("a tool's failure", r#"{"result":{"content":[{"type":"text","text":"@"}],"isError":true},"jsonrpc":"2.0","id":1}"#),
    ("structured content", r#"{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"a":[{"id":"@"}]}}}"#),
    ("a member's name", r#"{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"@":1}}}"#),
    ("JSON in a string", r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"{\"id\":\"@\"}"}]}}"#),
    ("behind a line break", r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"first\n@\nlast"}]}}"#),
    ("an error's message", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"not for @"}}"#),
    ("an error's data", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no","data":{"request":"@"}}}"#),
    ("metadata", r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"example.com/trace":"@"},"content":[]}}"#),
];

/// The key as JSON may spell it, in strings that are JSON texts of their own too.
fn spellings() -> [String; 7] {
    let escaped = |prefix: &str, which: fn(usize) -> bool| {
        let spell = |(at, byte): (usize, u8)| if which(at) { format!("{prefix}{byte:04x}") } else { char::from(byte).to_string() };
        KEY.bytes().enumerate().map(spell).collect::<String>()
    };
    [
        KEY.to_owned(),
        escaped(r"\u", |at| at == 0),
        escaped(r"\u", |at| at == KEY.len() - 1),
        escaped(r"\u", |at| at % 2 == 1),
        escaped(r"\u", |_| true),
        escaped(r"\u", |_| true).replace('a', "A").replace('b', "B"),
        escaped(r"\\u", |at| at < 4),
    ]
}

fn filled(template: &str, spelling: &str) -> String {
    template.replace('@', spelling)
}

fn event(data: &str) -> String {
    format!("id: 7\nevent: message\ndata: {data}\n\n")
}

/// The data of the only event in a stream.
#[track_caller]
fn data(stream: &str) -> String {
    let lines: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("data:")).collect();
    assert!(!lines.is_empty(), "no data in {stream:?}");
    lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The message arrived, and the mask stands where the key stood.
#[track_caller]
fn assert_masked(what: &str, message: &str) {
    let parsed: Value = serde_json::from_str(message).unwrap_or_else(|error| panic!("{what}: {error}: {message}"));
    assert_eq!(parsed["id"], 1, "{what}: {message}");
    assert!(message.contains(MASK), "{what}: {message}");
}

#[test]
fn in_a_document_and_in_an_event_however_it_is_spelled() {
    let mut guarded = Guarded::start("");
    for (what, template) in ANSWERS {
        for spelling in spellings() {
            let message = filled(template, &spelling);
            let seen = guarded.answered(what, 200, JSON, &[message.as_bytes()]);
            assert_masked(what, &seen.body);
            assert!(seen.is_whole && seen.status == 200, "{what}");
            let seen = guarded.answered(what, 200, EVENTS, &[event(&message).as_bytes()]);
            assert_masked(what, &data(&seen.body));
            assert!(seen.is_whole && seen.body.starts_with("id: 7\n"), "{what}: {}", seen.body);
        }
    }
    let found = guarded.gateway.metrics().metric("redact_secrets_found_total", &[("class", "aws_key"), ("plugin", "redact-secrets")]);
    let sent = ANSWERS.len() * spellings().len() * 2;
    assert!(found >= sent as f64, "{sent} keys were sent, {found} found");
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn split_between_any_two_bytes() {
    let mut guarded = Guarded::start("");
    for spelling in &spellings()[..2] {
        let message = filled(ANSWERS[0].1, spelling);
        for at in 1..message.len() {
            let (first, last) = message.as_bytes().split_at(at);
            let seen = guarded.answered("a document in two pieces", 200, JSON, &[first, last]);
            assert_masked("a document in two pieces", &seen.body);
        }
        let stream = event(&message);
        for at in 1..stream.len() {
            let (first, last) = stream.as_bytes().split_at(at);
            let seen = guarded.answered("an event in two pieces", 200, EVENTS, &[first, last]);
            assert_masked("an event in two pieces", &data(&seen.body));
        }
    }
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn byte_by_byte() {
    let mut guarded = Guarded::start("");
    for spelling in spellings() {
        let message = filled(ANSWERS[0].1, &spelling);
        let bytes: Vec<&[u8]> = message.as_bytes().chunks(1).collect();
        assert_masked("a document", &guarded.answered("a document byte by byte", 200, JSON, &bytes).body);
        let stream = event(&message);
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_masked("an event", &data(&guarded.answered("an event byte by byte", 200, EVENTS, &bytes).body));
    }
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn over_several_data_lines() {
    let mut guarded = Guarded::start("");
    // Line feeds between the tokens of the message.
    let tokens = filled(ANSWERS[0].1, KEY).replace(",\"", ",\n\"").replace(":{", ":\n{");
    for line_end in ["\n", "\r\n", "\r"] {
        let lines: String = tokens.lines().map(|line| format!("data: {line}{line_end}")).collect();
        let stream = format!(": hello{line_end}{lines}{line_end}");
        let seen = guarded.answered("tokens on lines of their own", 200, EVENTS, &[stream.as_bytes()]);
        assert_masked("tokens on lines of their own", &data(&seen.body.replace('\r', "\n")));
        assert!(seen.body.starts_with(": hello"), "{}", seen.body);
    }
    // Line feeds inside the key: what a lenient client reads together is no JSON and no mask can be put there.
    let message = filled(ANSWERS[0].1, KEY);
    let start = message.find(KEY).unwrap();
    for at in start..=start + KEY.len() {
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = format!("data: {}{line_end}data: {}{line_end}{line_end}", &message[..at], &message[at..]);
            guarded.answered("a key over two lines", 200, EVENTS, &[stream.as_bytes()]);
        }
    }
    let each: String = message.chars().map(|character| format!("data: {character}\n")).collect();
    guarded.answered("each character on a line of its own", 200, EVENTS, &[each.as_bytes(), b"\n"]);
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn in_any_message_of_a_stream() {
    let mut guarded = Guarded::start("");
    let stream: String = [
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"@"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"@"}}]}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":0,"progress":1}}"#,
        ANSWERS[0].1,
    ]
    .iter()
    .map(|template| event(&filled(template, &spellings()[1])))
    .collect();
    let seen = guarded.answered("a stream", 200, EVENTS, &[stream.as_bytes()]);
    assert_eq!(seen.body.matches("\n\n").count(), 4, "{}", seen.body);
    assert_eq!(seen.body.matches(MASK).count(), 3, "{}", seen.body);
    let without = stream.replace(&spellings()[1], MASK);
    assert_eq!(seen.body, without, "something else than the key changed");
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn in_half_an_event() {
    let mut guarded = Guarded::start("");
    let message = filled(ANSWERS[0].1, KEY);
    for rest in ["", "\n", "\r"] {
        let stream = format!("{}data: {message}{rest}", event("{}"));
        let seen = guarded.answered("a stream without its last blank line", 200, EVENTS, &[stream.as_bytes()]);
        assert!(!seen.is_whole, "half an event was held back, and the stream looks finished: {}", seen.body);
    }
    let seen = guarded.answered("half a document", 200, JSON, &[&message.as_bytes()[..message.len() - 2]]);
    assert_ne!(seen.body, message[..message.len() - 2]);
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn in_a_batch() {
    let mut guarded = Guarded::start("");
    let batch = format!("[{},\n {}]", filled(ANSWERS[0].1, KEY), filled(ANSWERS[6].1, &spellings()[4]).replace("\"id\":1", "\"id\":2"));
    for (content_type, text) in [(JSON, batch.clone()), (EVENTS, format!("data: {}\n\n", batch.replace('\n', "\ndata: ")))] {
        let seen = guarded.answered("a batch", 200, content_type, &[text.as_bytes()]);
        let body = if content_type == JSON { seen.body } else { data(&seen.body) };
        let messages: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&messages[0]["id"], &messages[1]["id"]), (&Value::from(1), &Value::from(2)));
        assert_eq!(body.matches(MASK).count(), 2, "{body}");
    }
    guarded.answered("a batch that is cut", 200, JSON, &[&batch.as_bytes()[..batch.len() - 1]]);
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn in_what_is_no_message_at_all() {
    let mut guarded = Guarded::start("");
    let page = format!("<html><h1>500</h1><pre>aws_access_key_id = {KEY}\n</pre></html>");
    for (what, status, content_type) in
        [("a page", 500, "text/html"), ("a page that says it is JSON", 502, JSON), ("text", 200, "text/plain"), ("no type", 403, "")]
    {
        let seen = guarded.answered(what, status, content_type, &[page.as_bytes()]);
        assert_eq!((seen.status, seen.body), (status, page.replace(KEY, MASK)), "{what}");
    }
    let message = filled(ANSWERS[0].1, KEY);
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}"{KEY}"{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"text":"{}{KEY}"}}}}"#, "x".repeat(17 << 20));
    let hostile: [(&str, Vec<u8>); 8] = [
        ("a key cut by a line break", page.replace(KEY, &format!("{}\r\n{}", &KEY[..7], &KEY[7..])).into_bytes()),
        ("behind a byte order mark", [b"\xef\xbb\xbf", message.as_bytes()].concat()),
        ("not UTF-8", [b"\xff\xfe ", message.as_bytes()].concat()),
        (
            "not UTF-8 inside a string",
            message.replace("the key", "\u{1}").into_bytes().iter().map(|b| if *b == 1 { 0xff } else { *b }).collect(),
        ),
        ("two documents", [message.as_bytes(), message.as_bytes()].concat()),
        ("100 000 deep", deep.into_bytes()),
        ("over the cap", wide.into_bytes()),
        ("JSON, but no JSON-RPC", format!(r#"{{"error":"{}"}}"#, spellings()[1]).into_bytes()),
    ];
    for (what, body) in &hostile {
        guarded.answered(what, 200, JSON, &[body]);
        guarded.answered(what, 500, "text/plain", &[body]);
        let lines: Vec<u8> = body.split(|byte| *byte == b'\n').flat_map(|line| [b"data: ", line, b"\n"].concat()).collect();
        guarded.answered(what, 200, EVENTS, &[&lines, b"\n"]);
    }
    assert_eq!(guarded.gateway.admin_get("/health/live").status(), 200);
    guarded.assert_no_trace(&[KEY]);
}

#[test]
fn secrets_of_every_class() {
    // In two parts, so that scanners of repositories see no key.
    let (slack, stripe) = (["xoxb-", "482910573648-7Gh2Kq9LmN4pRs6TvWx"].concat(), ["sk_", "live_9aB3cD5eF7gH1iJ2kL4mN6oP"].concat());
    let secrets = [
        ("aws_key", KEY),
        ("gcp_key", "AIzaSyD3kQ9xW7vN2mB5cL8pR4tY6uE1oA0sGhJ"),
        ("github_token", "ghp_q7W2e9R4t6Y1u8I3o5P0a7S2d4F6g8H1j3K5"),
        ("slack_token", &slack),
        ("stripe_key", &stripe),
        ("ai_key", "sk-proj-4fG7hJ2kL9mN3pQ6rS8tV1wX5yZ0aB"),
        ("bearer_token", "b3Nq8ZtV1kR5xY7wLm2P"),
        ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"),
        ("private_key", "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAK7"),
        ("email", "ada.lovelace@analytical-engine.org"),
        ("card", "4929 1234 5678 9015"),
    ];
    let mut guarded = Guarded::start("");
    for (class, secret) in secrets {
        let text = match class {
            "bearer_token" => format!("Authorization: Bearer {secret}"),
            "private_key" => format!(r"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"),
            _ => format!("it is {secret}."),
        };
        for (content_type, body) in [(JSON, filled(ANSWERS[0].1, &text)), (EVENTS, event(&filled(ANSWERS[0].1, &text)))] {
            let seen = guarded.answered(class, 200, content_type, &[body.as_bytes()]);
            assert_eq!(leaked(&seen.bytes, secret), None, "{class}: {}", seen.body);
            assert!(seen.body.contains(&format!("[REDACTED:{class}]")), "{class}: {}", seen.body);
        }
    }
    guarded.assert_no_trace(&secrets.map(|(_, secret)| secret));
}

#[test]
fn with_classes_that_deny_or_hash() {
    let mut guarded = Guarded::start("[config]\naws_key = \"deny\"\nemail = \"hash\"\n");
    let seen = guarded.answered("denied", 200, JSON, &[filled(ANSWERS[0].1, KEY).as_bytes()]);
    let error: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!((seen.status, &error["id"], &error["error"]["code"]), (200, &Value::from(1), &Value::from(-31001)));
    let email = "ada.lovelace@analytical-engine.org";
    let seen = guarded.answered("hashed", 200, JSON, &[filled(ANSWERS[0].1, email).as_bytes()]);
    assert!(seen.body.contains("[email:") && !seen.body.contains(email), "{}", seen.body);
    let denials = guarded.gateway.metrics().metric("watchgate_plugin_denials_total", &[("plugin", "redact-secrets")]);
    assert!(denials >= 1.0, "{denials}");
    guarded.assert_no_trace(&[KEY, email]);
}
