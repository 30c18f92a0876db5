//! Tests of the policy: what a whole message becomes.

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use watchgate_plugin::matching::apply_to_json;

use super::{Counts, Decision, Header, Policy};
use crate::class::Class;
use crate::config::Config;
use crate::detect::tests::{PEM, SECRETS};

const AWS: &str = "AKIAIOSFODNN7EXAMPLE";
const AWS_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn policy(config: serde_json::Value) -> Policy {
    Policy::new(serde_json::from_value::<Config>(config).unwrap())
}

/// What becomes of a body: the new one, or `denied: REASON`.
fn outcome(policy: &Policy, body: &[u8], headers: &[(&str, &str)], is_opaque: bool) -> String {
    let headers: Vec<_> = headers.iter().map(|(name, value)| Header { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
    let result = match policy.decide(body, &headers, || is_opaque, &mut Counts::default()) {
        Decision::Pass => body.to_vec(),
        Decision::Edit(edits) => {
            assert!(!is_opaque && !edits.is_empty(), "edits are for JSON");
            apply_to_json(body, &edits)
        }
        Decision::Replace(body) => body,
        Decision::Deny(reason) => format!("denied: {reason}").into_bytes(),
    };
    String::from_utf8_lossy(&result).into_owned()
}

fn check(body: &str, expected: &str) {
    assert_eq!(outcome(&policy(serde_json::json!({})), body.as_bytes(), &[], false), expected, "{body}");
}

fn check_opaque(body: &str, expected: &str) {
    assert_eq!(outcome(&policy(serde_json::json!({})), body.as_bytes(), &[], true), expected, "{body}");
}

#[test]
fn masks_in_values_and_keys_however_written() {
    check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    check(&format!(r#"{{"a":"key {AWS}!"}}"#), r#"{"a":"key [REDACTED:aws_key]!"}"#);
    check(&format!(r#"{{"{AWS}":1}}"#), r#"{"[REDACTED:aws_key]":1}"#);
    check(r#"{"a":"\u0041KIAIOSFODNN7EXAMPLE"}"#, r#"{"a":"[REDACTED:aws_key]"}"#);
    check(&format!(r#"{{"a":"x\n{AWS}\n"}}"#), r#"{"a":"x\n[REDACTED:aws_key]\n"}"#);
    check(&format!(r#"{{"a":"{}"}}"#, PEM.replace('\n', "\\n")), r#"{"a":"[REDACTED:private_key]"}"#);
    check(r#"{"a":"-----BEGIN PRIVATE KEY-----\nMIIE","b":"x"}"#, r#"{"a":"[REDACTED:private_key]","b":"x"}"#);
    check(r#"{"a":"bob@example.com, eve@example.org"}"#, r#"{"a":"[REDACTED:email], [REDACTED:email]"}"#);
}

#[test]
fn sees_what_raw_line_breaks_cut() {
    for at in 1..AWS.len() {
        let body = |line_break: &str| format!("{{\"a\":\"key {}{line_break}{}!\"}}", &AWS[..at], &AWS[at..]);
        for line_break in ["\n", "\r\n"] {
            let becomes = outcome(&policy(serde_json::json!({})), body(line_break).as_bytes(), &[], false);
            assert!(becomes.starts_with("denied: "), "{at}: {becomes}");
        }
    }
    check("{\"a\":\n\"x\",\r\n\"b\":1}\n", "{\"a\":\n\"x\",\r\n\"b\":1}\n");
    check("{\"a\":\"two\nlines\"}", "{\"a\":\"two\nlines\"}");
}

#[test]
fn follows_json_inside_strings() {
    check(r#"{"text":"{\"a\":\"\\u0041KIAIOSFODNN7EXAMPLE\"}"}"#, r#"{"text":"{\"a\":\"[REDACTED:aws_key]\"}"}"#);
    check(&format!(r#"{{"text":"{{\"a\":\"x\\n{AWS}\"}}"}}"#), r#"{"text":"{\"a\":\"x\\n[REDACTED:aws_key]\"}"}"#);
    check(r#"{"text":"\"x\\nbob@example.com\""}"#, r#"{"text":"\"x\\n[REDACTED:email]\""}"#);
    check(r#"{"text":"\"\\\\u0041KIAIOSFODNN7EXAMPLE\""}"#, r#"{"text":"\"[REDACTED:aws_key]\""}"#);
    check(
        &format!(r#"{{"text":"{{\"SecretAccessKey\": \"{AWS_SECRET}\"}}"}}"#),
        r#"{"text":"{\"SecretAccessKey\": \"[REDACTED:aws_key]\"}"}"#,
    );
}

#[test]
fn knows_secrets_by_the_name_of_their_member() {
    check(&format!(r#"{{"secretAccessKey":"{AWS_SECRET}"}}"#), r#"{"secretAccessKey":"[REDACTED:aws_key]"}"#);
    check(&format!(r#"{{"aws_s\u0065cret":["{}"]}}"#, AWS_SECRET.replace('/', "\\/")), r#"{"aws_s\u0065cret":["[REDACTED:aws_key]"]}"#);
    check(&format!(r#"{{"secretAccessKey":1,"b":"{AWS_SECRET}"}}"#), &format!(r#"{{"secretAccessKey":1,"b":"{AWS_SECRET}"}}"#));
    let azure = format!("{}==", "Ab3+".repeat(21) + "xy");
    check(&format!(r#"{{"accountKey":"{azure}"}}"#), r#"{"accountKey":"[REDACTED:azure_key]"}"#);
}

#[test]
fn follows_a_private_key_through_several_strings() {
    check(
        r#"["-----BEGIN PRIVATE KEY-----","MIIEvQIBADANBgkqhkiG9w0B","AQEFAASCBKcwggSjAgEA","-----END PRIVATE KEY-----","MIIEvQIBADANBgkqhkiG9w0B"]"#,
        r#"["[REDACTED:private_key]","[REDACTED:private_key]","[REDACTED:private_key]","[REDACTED:private_key]","MIIEvQIBADANBgkqhkiG9w0B"]"#,
    );
    check(
        r#"["-----BEGIN PRIVATE KEY-----","a word, and","MIIEvQIBADANBgkqhkiG9w0B"]"#,
        r#"["[REDACTED:private_key]","a word, and","MIIEvQIBADANBgkqhkiG9w0B"]"#,
    );
}

#[test]
fn replaces_card_numbers_that_are_numbers() {
    check(
        r#"{"id":4111111111111111,"x":[4111111111111111, -4111111111111111, 4111111111111111.5],"m":"bob@example.com\n"}"#,
        r#"{"id":4111111111111111,"x":["[REDACTED:card]", -4111111111111111, 4111111111111111.5],"m":"[REDACTED:email]\n"}"#,
    );
    check(
        r#"{"p":{"id":4111111111111111,"progressToken":4111111111111111}}"#,
        r#"{"p":{"id":"[REDACTED:card]","progressToken":4111111111111111}}"#,
    );
    check("4111111111111111", r#""[REDACTED:card]""#);
}

/// With `config`, `body` becomes `expected`.
fn check_config(config: serde_json::Value, body: &str, expected: &str) {
    assert_eq!(outcome(&policy(config), body.as_bytes(), &[], false), expected, "{body}");
}

#[test]
fn does_what_the_settings_say() {
    let body = format!(r#"["{AWS}","bob@example.com"]"#);
    check_config(serde_json::json!({"email": "off"}), &body, r#"["[REDACTED:aws_key]","bob@example.com"]"#);
    check_config(serde_json::json!({"default": "off", "email": "mask"}), &body, &format!(r#"["{AWS}","[REDACTED:email]"]"#));
    check_config(serde_json::json!({"aws_key": "deny"}), &body, "denied: aws_key found");
    check_config(serde_json::json!({"default": "hash"}), &body, r#"["[aws_key:1a5d44a2]","[email:5ff860bf]"]"#);
    check_config(serde_json::json!({"default": "off"}), &body, &body);
    for wrong in [serde_json::json!({"aws": "mask"}), serde_json::json!({"email": "hide"})] {
        assert!(serde_json::from_value::<Config>(wrong).is_err());
    }
}

#[test]
fn declares_triggers_only_where_they_are_sound() {
    let triggers = |config| serde_json::from_value::<Config>(config).unwrap().triggers();
    assert_eq!(triggers(serde_json::json!({})), Ok(Vec::new()));
    assert!(triggers(serde_json::json!({"use_triggers": true})).unwrap_err().contains("email"));
    assert!(triggers(serde_json::json!({"use_triggers": true, "email": "off"})).unwrap_err().contains("card"));
    let sound = triggers(serde_json::json!({"use_triggers": true, "email": "off", "card": "off", "jwt": "off"})).unwrap();
    assert!(sound.contains(&"AKIA") && !sound.contains(&"eyJ"));
}

#[test]
fn searches_opaque_bodies_as_text_and_joined() {
    check_opaque("<p>nothing\r\nto see</p>", "<p>nothing\r\nto see</p>");
    check_opaque(&format!("<p>{AWS}\nbob@example.com</p>"), "<p>[REDACTED:aws_key]\n[REDACTED:email]</p>");
    check_opaque(PEM, "[REDACTED:private_key]");
    check_opaque("AKIAIOSF\r\nODNN7EXAMPLE", "denied: aws_key cut by line breaks or hidden by escapes");
    check_opaque("{\"a\":\"\\u0041KIAIOSFODNN7EXAMPLE\"", "denied: aws_key cut by line breaks or hidden by escapes");
    check_opaque("at x = 1\n@app.route(x)", "at x = 1\n@app.route(x)");
    let jwt = SECRETS[14].0;
    check_opaque(&format!("{}\n{}", &jwt[..60], &jwt[60..]), "[REDACTED:jwt]");
    // JSON that is not JSON-RPC is searched as JSON.
    check_opaque(r#"{"a":"\u0041KIAIOSFODNN7EXAMPLE\n"}"#, r#"{"a":"[REDACTED:aws_key]\n"}"#);
    let bytes = [b"\xff\xfe ", AWS.as_bytes(), b" \xff"].concat();
    let policy = policy(serde_json::json!({}));
    assert_eq!(
        policy.decide(&bytes, &[], || true, &mut Counts::default()),
        Decision::Replace(b"\xff\xfe [REDACTED:aws_key] \xff".to_vec())
    );
}

#[test]
fn denies_a_header_that_the_body_does_not_explain() {
    let policy = policy(serde_json::json!({}));
    let header = [("mcp-param-mail", "bob@example.com")];
    let check = |body: &str, expected: &str| assert_eq!(outcome(&policy, body.as_bytes(), &header, false), expected, "{body}");
    check(r#"{"mail":"bob@example.com"}"#, r#"{"mail":"[REDACTED:email]"}"#);
    check(r#"{"mail":"\u0062ob@example.com"}"#, r#"{"mail":"[REDACTED:email]"}"#);
    check(r#"{"mail":"eve@example.com"}"#, "denied: header mcp-param-mail holds email that the body does not");
    check("{}", "denied: header mcp-param-mail holds email that the body does not");
    assert_eq!(outcome(&policy, b"{}", &[("mcp-name", "search")], false), "{}");
}

#[test]
fn refuses_what_is_not_the_json_it_was_said_to_be() {
    let reason = outcome(&policy(serde_json::json!({})), format!("{{\"{AWS}").as_bytes(), &[], false);
    assert!(reason.starts_with("denied: not JSON"), "{reason}");
}

#[test]
fn counts_what_it_finds() {
    let mut counts = Counts::default();
    let body = format!(r#"["{AWS}","{AWS}","bob@example.com",4111111111111111]"#);
    policy(serde_json::json!({})).decide(body.as_bytes(), &[], || false, &mut counts);
    let found: Vec<_> = Class::ALL.into_iter().map(|class| counts[class.index()]).collect();
    assert_eq!(found, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
}

#[test]
fn copes_with_huge_and_deep_bodies() {
    let many = format!("[{}1]", "\"bob@example.com\",".repeat(70_000));
    let masked = outcome(&policy(serde_json::json!({})), many.as_bytes(), &[], false);
    assert!(!masked.contains('@') && serde_json::from_str::<serde_json::Value>(&masked).is_ok());
    let deep = format!("{}\"{AWS}\"{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!outcome(&policy(serde_json::json!({})), deep.as_bytes(), &[], false).contains(AWS));
}

proptest! {
    #[test]
    fn what_comes_out_holds_no_secret_and_stays_json(
        parts in prop::collection::vec((prop::sample::select(SECRETS.to_vec()), "[ \n\"\\\\,:éA-Za-z0-9]{0,12}"), 1..5),
        wrapped in 0..3_u8,
    ) {
        let text: String = parts.iter().map(|((secret, _), filler)| format!("{filler} {secret} ")).collect();
        // JSON inside strings, as deep as asked.
        let value = (0..wrapped).fold(serde_json::json!({ "text": text }), |inner, _| serde_json::json!({ "inner": inner.to_string() }));
        let policy = policy(serde_json::json!({}));
        let result = outcome(&policy, value.to_string().as_bytes(), &[], false);
        let mut shown: serde_json::Value = serde_json::from_str(&result).unwrap();
        for _ in 0..wrapped {
            shown = serde_json::from_str(shown["inner"].as_str().unwrap()).unwrap();
        }
        for ((secret, _), _) in &parts {
            prop_assert!(!shown["text"].as_str().unwrap().contains(secret), "{}", result);
        }
        prop_assert_eq!(outcome(&policy, result.as_bytes(), &[], false), result);
    }

    #[test]
    fn survives_anything(body in any::<Vec<u8>>(), text in any::<String>(), is_opaque in any::<bool>()) {
        let policy = policy(serde_json::json!({}));
        outcome(&policy, &body, &[("mcp-name", &text)], is_opaque);
        outcome(&policy, format!("{text}{AWS}\n").as_bytes(), &[], is_opaque);
    }
}
